"""Frames that were opened a moment ago, for other queues of the process that bring the same ones.

Nothing is taken on the word of a copy: it is the same bytes, and the same keys as then. What a
queue has to say of a frame (topic, freshness) is asked of each queue.
"""

from __future__ import annotations

import threading
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

# As many frames as a consumer takes ahead: charts of one process are never further apart, unless
# one of them is slow. What it gets late is opened once more.
_MOST_FRAMES: Final = 256
_MOST_BYTES: Final = 4 * 1024 * 1024
# A sealed frame ends with what makes it whole (a tag or an HMAC), which no two frames share.
_MARK_BYTES: Final = 16


class Opened(Generic[T]):
    """What is in a frame that was opened, the same for all who receive it."""

    __slots__ = ("contents", "found", "frame", "keys", "messages")

    def __init__(self, frame: bytes, keys: object, contents: Any, messages: list[T]) -> None:
        self.frame = frame
        self.keys = keys
        """Those that have opened it; others may not."""
        self.contents = contents
        """What the codec knows of it, beside the messages."""
        self.messages = messages
        """Never changed: others have them, too."""
        self.found: Any = None
        """What a receiver has found out of the messages, for the next one."""


class RecentlyOpened(Generic[T]):
    """The last frames that were opened, bounded in number and bytes. Thread-safe."""

    def __init__(self, frames: int = _MOST_FRAMES, size_bytes: int = _MOST_BYTES) -> None:
        self._most_frames = frames
        self._most_bytes = size_bytes
        # The oldest first.
        self._frames: dict[bytes, Opened[T]] = {}
        self._bytes = 0
        # Guards the two above while they change: networks of one node are received on one thread,
        # and tests and tools may have others.
        self._lock = threading.Lock()

    def find(self, frame: bytes, keys: object) -> Opened[T] | None:
        """Return what exactly these bytes were opened to, if that was with exactly these keys."""
        known = self._frames.get(frame[-_MARK_BYTES:])
        if known is None or known.keys is not keys or known.frame != frame:
            return None
        return known

    def keep(self, opened: Opened[T]) -> None:
        """Keep a frame for the next who receives it; the oldest ones make room."""
        with self._lock:
            self._drop(opened.frame[-_MARK_BYTES:])
            self._frames[opened.frame[-_MARK_BYTES:]] = opened
            self._bytes += len(opened.frame)
            while len(self._frames) > self._most_frames or self._bytes > self._most_bytes:
                self._drop(next(iter(self._frames)))

    def _drop(self, mark: bytes) -> None:
        if gone := self._frames.pop(mark, None):
            self._bytes -= len(gone.frame)
