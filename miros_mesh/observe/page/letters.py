"""The dead letters on the page: the list, and what may be done with one where that is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from miros_mesh.dead_letters.in_json import as_json, plain
from miros_mesh.dead_letters.letter import Letter
from miros_mesh.errors import MeshError

MOST_LISTED: Final = 500


class Outcome(Protocol):
    """What became of a letter, as `DeadLetters` tells it."""

    @property
    def letter(self) -> Letter: ...

    @property
    def error(self) -> MeshError | None: ...


class Box(Protocol):
    """The dead letters of a mesh, as `DeadLetters` has them."""

    def list(self) -> Sequence[Letter]:
        """Return them, the oldest first."""

    def find(self, beginning: str) -> Letter:
        """Return the one whose id begins so."""

    def payload(self, letter: Letter, *, typed: bool) -> Any:
        """Return the payload of a letter's event."""

    def retry_all(self, *, id: set[str]) -> Iterator[Outcome]:  # noqa: A002 - the name of the filter
        """Send the events of these letters again."""

    def drop_all(self, *, id: set[str]) -> Iterator[Outcome]:  # noqa: A002 - the name of the filter
        """Remove these letters for good."""


Action = Callable[[Box, set[str]], Iterator[Outcome]]


@dataclass(frozen=True)
class Allowed:
    """What the page may show and do besides looking."""

    actions: bool = False
    """Whether dead letters may be put back and dropped."""
    payloads: bool = False
    """Whether the payload of a dead letter may be asked for."""


class LetterDesk:
    """The dead letters of the mesh of these settings; connects for each call anew."""

    def __init__(self, opened: Callable[[], AbstractContextManager[Box]]) -> None:
        self._opened = opened

    def list(self) -> dict[str, Any]:
        """Return the newest letters, without payloads. Raises the `LinkError` that prevents it."""
        with self._opened() as box:
            letters = box.list()
        newest = letters[-MOST_LISTED:]
        rows = [as_json(each) for each in reversed(newest)]
        return {"letters": rows, "more": len(letters) - len(newest)}

    def payload(self, letter: str) -> dict[str, Any]:
        """Return the payload of one letter's event. Raises the `MeshError` that prevents it."""
        with self._opened() as box:
            payload = plain(box.payload(box.find(letter), typed=False))
        # As text: what it holds need not be what JSON of a browser takes, such as NaN.
        return {"id": letter, "payload": json.dumps(payload, indent=2, default=str)}

    def retry(self, letters: Sequence[str]) -> dict[str, Any]:
        """Send the events of these letters again, as `DeadLetters.retry` does."""
        return self._each(letters, lambda box, ids: box.retry_all(id=ids))

    def drop(self, letters: Sequence[str]) -> dict[str, Any]:
        """Remove these letters for good."""
        return self._each(letters, lambda box, ids: box.drop_all(id=ids))

    def _each(self, letters: Sequence[str], act: Action) -> dict[str, Any]:
        left = set(letters)
        outcomes = []
        with self._opened() as box:
            for outcome in act(box, set(letters)):
                left.discard(outcome.letter.id)
                outcomes.append(_told(outcome.letter.id, outcome.error))
        gone = "it is not there any more, or another program looks at it"
        return {"outcomes": outcomes + [{"id": each, "error": gone} for each in sorted(left)]}


def _told(letter: str, error: MeshError | None) -> dict[str, Any]:
    return {"id": letter, "error": str(error) if error else None}
