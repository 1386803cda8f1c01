"""A frame while it is being filled: shared by all peers' outboxes and sealed once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence


class Frame:
    """Encoded messages under one routing key, until somebody takes it to send.

    An idle publisher takes a frame with one message; behind a busy one the same frame fills up, so
    that sealing, publishing and confirming are paid once for many.
    """

    def __init__(
        self,
        network: str,
        exchange: str,
        routing_key: str,
        seal: Callable[[Sequence[bytes]], bytes],
        *,
        expendable: bool = False,
        counted: bool = True,
        max_events: int,
        max_bytes: int,
    ) -> None:
        self.network = network
        self.exchange = exchange
        self.routing_key = routing_key
        self.expendable = expendable
        self.counted = counted
        self._seal = seal
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._messages: list[bytes] = []
        self._size_bytes = 0
        self._events = 0
        self._open = True
        self._sealed: bytes | None = None
        self._lock = threading.Lock()

    @property
    def events(self) -> int:
        """How many messages it holds; the library's own are no events."""
        return self._events if self.counted else 0

    @property
    def size_bytes(self) -> int:
        """Their size before sealing."""
        return self._size_bytes

    def add(self, encoded: bytes) -> bool:
        """Take a message; False when the frame is closed or full. An empty frame takes any size."""
        return self.add_all((encoded,)) == 1

    def add_all(self, encoded: Sequence[bytes]) -> int:
        """Take as many of the messages as fit, in order; how many."""
        with self._lock:
            before = self._events
            for each in encoded if self._open else ():
                if not self._fits(each):
                    break
                self._messages.append(each)
                self._events += 1
                self._size_bytes += len(each)
            return self._events - before

    def close(self) -> None:
        """Grow no more."""
        with self._lock:
            self._open = False

    def seal(self) -> bytes:
        """Close, and give the bytes to send: the same at every call, whoever asks first."""
        with self._lock:
            self._open = False
            if self._sealed is None:
                self._sealed = self._seal(self._messages)
                self._messages = []
            return self._sealed

    def _fits(self, encoded: bytes) -> bool:
        if not self._messages:
            return True
        return (
            self._events < self._max_events and self._size_bytes + len(encoded) <= self._max_bytes
        )
