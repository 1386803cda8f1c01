"""Letters that wait until the local store takes them, and the thread that hands them over.

Another process may hold the file, a disk may be full for a while: that must hold up no publisher.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from miros_mesh.errors import EmbeddedStoreError, LinkError
from miros_mesh.networks.letters.local import MOST_BYTES, MOST_LETTERS, LocalLetters
from miros_mesh.text import logger_of
from miros_mesh.timing.threads import OwnedThread
from miros_mesh.timing.throttle import Throttle

logger = logger_of(__name__)

# So long the letters wait after an attempt that failed.
_TRY_EVERY_S: Final = 0.5
_COMPLAIN_EVERY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class LocalLetter:
    """A sealed letter, and what may be told of it."""

    sealed: bytes
    broker: str
    signal: str
    routing_key: str
    size_bytes: int
    error: LinkError


class LetterLine:
    """A bounded line of letters before the local store of a node, with one thread. Thread-safe.

    All that waits is stored at once, and tried again until it is. Letters are lost only when the
    line is full or has ended. `stored` is called with letters that are kept and how many older ones
    went for them, `lost` with others and the reason: on the thread, or on that of the caller.
    """

    def __init__(
        self,
        store: LocalLetters,
        node: str,
        *,
        stored: Callable[[Sequence[LocalLetter], int], object],
        lost: Callable[[Sequence[LocalLetter], str], object],
    ) -> None:
        self._store = store
        self._node = node
        self._stored = stored
        self._lost = lost
        self._complaints = Throttle(_COMPLAIN_EVERY_S)
        self._line: list[LocalLetter] = []
        """The oldest first; those that are being stored are still there."""
        self._bytes = 0
        self._ended = False
        """Whether the thread takes nothing more."""
        # Guards the three above; notified when a letter comes, and at the end.
        self._changed = threading.Condition()
        self._thread = OwnedThread(f"mesh-{node}-letters", self._run, self._wake)

    def add(self, letters: Sequence[LocalLetter]) -> None:
        """Hand letters over; those for which there is no room are lost. Never waits."""
        with self._changed:
            why = "the node ends" if self._ended else "too many wait to be kept"
            taken = 0 if self._ended else self._room_for(letters)
            self._line += letters[:taken]
            self._bytes += sum(len(each.sealed) for each in letters[:taken])
            self._changed.notify_all()
        if taken:
            self._thread.start()
        if left := letters[taken:]:
            self._lost(left, why)

    def stop(self, timeout_s: float) -> None:
        """Store what waits, and end the thread; waits for it for `timeout_s` at most."""
        self._thread.stop(timeout_s)
        # Of a thread that never began, or that still waits for the disk.
        self._give_up("the node ends")

    def _room_for(self, letters: Sequence[LocalLetter]) -> int:
        room, size_bytes = MOST_LETTERS - len(self._line), self._bytes
        for place, each in enumerate(letters[:room]):
            size_bytes += len(each.sealed)
            if size_bytes > MOST_BYTES:
                return place
        return min(room, len(letters))

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        why = ""
        while letters := self._next():
            if (why := self._try(letters)) and self._thread.stopping.wait(_TRY_EVERY_S):
                # Once more, for what came meanwhile as well.
                why = self._try(self._waiting())
                break
        self._give_up(why or "the node ends")

    def _next(self) -> Sequence[LocalLetter]:
        """Wait for letters, and return all of them; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._line or self._thread.stopping.is_set())
            return tuple(self._line)

    def _waiting(self) -> Sequence[LocalLetter]:
        with self._changed:
            return tuple(self._line)

    def _try(self, letters: Sequence[LocalLetter]) -> str:
        """Store letters; return why they cannot be, if so."""
        try:
            went = self._store.add(*(each.sealed for each in letters), node=self._node)
        except EmbeddedStoreError as error:
            if self._complaints.due(str(error)):
                logger.warning("%d refused event(s) wait to be kept: %s", len(letters), error)
            return str(error)
        with self._changed:
            del self._line[: len(letters)]
            self._bytes -= sum(len(each.sealed) for each in letters)
        self._stored(letters, went)
        return ""

    def _give_up(self, why: str) -> None:
        with self._changed:
            self._ended = True
            left, self._line, self._bytes = self._line, [], 0
        if left:
            self._lost(left, why)
