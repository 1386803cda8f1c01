"""Which frames a node has sealed itself, so that it need not open those that come back."""

from __future__ import annotations

import threading

# The end of a sealed frame is its signature (HMAC-SHA256), which no two frames share.
_MARK_BYTES = 32
# Minutes of snooping. An echo that was forgotten is opened like a frame of another node.
_REMEMBERED_FRAMES = 10_000


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
