"""A frame while it fills: shared by all peers' outboxes and sealed once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Literal

Settled = Literal["stored", "dropped", "refused"]
"""What became of a frame at a peer."""


class Frame:
    """Encoded messages under one routing key, until a publisher takes it to send.

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
        settled: Callable[[Settled], object] | None = None,
        max_events: int,
        max_bytes: int,
    ) -> None:
        self.network = network
        self.exchange = exchange
        self.routing_key = routing_key
        self.expendable = expendable
        self.counted = counted
        self._seal = seal
        self._settled = settled
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._messages: list[bytes] = []
        self._size_bytes = 0
        self._events = 0
        self._open = True
        self._sealed: bytes | None = None
        # Guards the five above: a chart's thread adds while a publisher's thread seals.
        self._lock = threading.Lock()

    @property
    def events(self) -> int:
        """How many messages it holds; none when they are the library's own words."""
        # This and `size_bytes` without the lock: an outbox closes a frame before it counts it out.
        return self._events if self.counted else 0

    @property
    def size_bytes(self) -> int:
        """How large its messages are in bytes, before sealing."""
        return self._size_bytes

    def add_all(self, encoded: Sequence[bytes]) -> int:
        """Take as many of the messages as fit, in order; return how many.

        An empty frame takes a message of any size, a closed one takes none.
        """
        with self._lock:
            if not self._open:
                return 0
            before = self._events
            for each in encoded:
                size_bytes = self._size_bytes + len(each)
                # The codec has already refused a message that no frame may hold.
                if self._events and (
                    self._events >= self._max_events or size_bytes > self._max_bytes
                ):
                    break
                self._messages.append(each)
                self._events += 1
                self._size_bytes = size_bytes
            return self._events - before

    def close(self) -> None:
        """Take no further message; a second call does nothing."""
        with self._lock:
            self._open = False

    def seal(self) -> bytes:
        """Close the frame, and return the bytes to send: the same ones at every call."""
        with self._lock:
            self._open = False
            # Once for all peers: sealed again, the bytes would differ, since Fernet takes a new
            # initialisation vector each time.
            if self._sealed is None:
                self._sealed = self._seal(self._messages)
                self._messages = []
            return self._sealed

    def stored(self) -> None:
        """Hear that a peer has confirmed it."""
        if self._settled:
            self._settled("stored")

    def given_up(self, *, refused: bool = False) -> None:
        """Hear that a peer will not get it: dropped for want of room, or refused."""
        if self._settled:
            self._settled("refused" if refused else "dropped")
