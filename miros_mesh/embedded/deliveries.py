"""What a channel has handed out, and the acknowledgements that wait to be stored."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Final

from amqp.exceptions import PreconditionFailed

from miros_mesh.embedded.store import Place, Store

_GATHERED: Final = 64
_GATHER_S: Final = 0.05


class Deliveries:
    """The tags of one channel: each names a message of a queue until it is settled."""

    def __init__(self) -> None:
        self._places: dict[int, Place] = {}
        self._unsettled: defaultdict[int, set[int]] = defaultdict(set)
        self._last_tag = 0

    def unsettled(self, queue: int) -> set[int]:
        """The live set of what was handed out of one queue."""
        return self._unsettled[queue]

    def add(self, queue: int, message: int) -> int:
        """A message is handed out; returns its tag."""
        self._last_tag += 1
        self._places[self._last_tag] = (queue, message)
        return self._last_tag

    def take(self, tag: int, *, multiple: bool = False) -> list[Place]:
        """Settle one tag, or all up to it (0: all there are)."""
        if multiple:
            tags = [known for known in self._places if known <= tag or not tag]
        elif tag in self._places:
            tags = [tag]
        else:
            raise PreconditionFailed(f"PRECONDITION_FAILED - unknown delivery tag {tag}")
        places = [self._places.pop(known) for known in tags]
        for queue, message in places:
            self._unsettled[queue].discard(message)
        return places


class Acknowledgements:
    """Stored one by one while they are rare, and together when they come in a burst.

    A burst ends with the next drain, so a kill costs a repetition of a few dozen messages at most.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[Place] = []
        self._stored_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, places: list[Place]) -> None:
        """These are handled."""
        self._waiting += places
        calm = time.monotonic() - self._stored_at > _GATHER_S
        if calm or len(self._waiting) >= _GATHERED:
            self.flush()

    def flush(self) -> None:
        """Store what waits."""
        if self._waiting:
            self._store.settle(self._waiting)
            self._waiting = []
            self._stored_at = time.monotonic()
