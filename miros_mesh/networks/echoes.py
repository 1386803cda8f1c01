"""Which frames a node has sealed itself, known by their ends.

One that comes back need not be opened; and another node that doubts a frame is told whether it was
published just now.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from miros_mesh.wire.envelope import MAX_SEQUENCE

# A sealed frame ends with what makes it whole (a tag or an HMAC), which no two frames share.
_MARK_BYTES = 32
# Minutes of snooping. An echo that was forgotten is opened like a frame of another node.
_REMEMBERED_FRAMES = 10_000
# The largest number that a message of repair has room for.
_LARGEST_MARK: Final = MAX_SEQUENCE


def mark_of(frame: bytes) -> int:
    """Return a number that tells a sealed frame from all others; never 0."""
    return int.from_bytes(frame[-8:], "big") % _LARGEST_MARK + 1


class Echoes:
    """The marks of the last frames, and how many messages each of them holds. Thread-safe."""

    def __init__(self, frames: int = _REMEMBERED_FRAMES) -> None:
        self._frames = frames
        self._sealed: dict[bytes, int] = {}
        # Guards `_sealed`: publishers' threads add to it, the subscriber's thread takes out.
        self._lock = threading.Lock()

    def expect(self, frame: bytes, messages: int) -> None:
        """Remember a frame that holds so many messages; the oldest one makes room."""
        with self._lock:
            self._sealed[frame[-_MARK_BYTES:]] = messages
            if len(self._sealed) > self._frames:
                # A dictionary keeps the order in which its keys came.
                del self._sealed[next(iter(self._sealed))]

    def take(self, frame: bytes) -> int:
        """Return how many messages an expected frame holds, and forget it; 0 for any other."""
        with self._lock:
            return self._sealed.pop(frame[-_MARK_BYTES:], 0)


class Published:
    """When the last frames were published, the last time each. Thread-safe."""

    def __init__(
        self, frames: int = _REMEMBERED_FRAMES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._frames = frames
        self._clock = clock
        self._at: dict[int, float] = {}
        # Guards `_at`: publishers' threads add to it, the subscriber's thread asks.
        self._lock = threading.Lock()

    def note(self, frame: bytes) -> None:
        """Remember that a frame is published now; the oldest one makes room."""
        mark = mark_of(frame)
        with self._lock:
            # Anew at the end, where the newest are.
            self._at.pop(mark, None)
            self._at[mark] = self._clock()
            if len(self._at) > self._frames:
                del self._at[next(iter(self._at))]

    def ages(self, marks: Iterable[int]) -> dict[int, float]:
        """Return, of those marks that are known, how many seconds ago each was published last."""
        now = self._clock()
        with self._lock:
            return {mark: now - self._at[mark] for mark in marks if mark in self._at}
