"""The queue of a chart: any thread may post to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from miros import signals
from miros.activeobject import LockingDeque

_STOP: Final = signals.STOP_ACTIVE_OBJECT_SIGNAL


class Mailbox(LockingDeque):
    """miros' queue with a lock, since miros' own mixes up the order when two threads post at once.

    `locking_queue` holds one token for each event in `deque`; the chart's thread takes the token
    first, then the event. So it never wakes for nothing, and a token always finds a place.
    """

    def __init__(self) -> None:
        super().__init__()
        # Written in C: a wake of Python's `Queue` took a tenth of the time of an event. Its places
        # are those of `deque`.
        self.locking_queue = SimpleQueue()
        self._places = self.deque.maxlen
        # Guards `deque`, the tokens of `locking_queue`, which must match it, and `_closed`.
        self._changing = threading.Lock()
        self._closed = False

    def wait(self, block: bool = True, timeout: float | None = None) -> str:
        """Wait for the token of an event, and take it (miros calls it on the chart's thread)."""
        return self.locking_queue.get(block, timeout)

    def append(self, item: Any) -> None:
        """Post an event at the end (miros' `post_fifo`); in a full mailbox it is lost."""
        self.put(item)

    def put(self, item: Any, *, displace: bool = False) -> Any | None:
        """Post an event at the end, and return the event that has no place; None when all have.

        In a full mailbox that is `item` itself, or with `displace` the newest event, whose place
        `item` takes. In a closed one it is `item`.
        """
        with self._changing:
            # As `_has_place`, which is not called for each event.
            if (len(self.deque) != self._places and not self._closed) or self._has_place():
                # The event first: a thread that has the token looks at `deque` without the lock.
                self.deque.append(item)
                self.locking_queue.put("ready")
                return None
            if self._closed or not displace or self.deque[-1].signal == _STOP:
                # Not the word that ends the chart, either.
                return item
            # Without a token: the place has one already.
            lost, self.deque[-1] = self.deque[-1], item
            return lost

    def appendleft(self, item: Any) -> None:
        """Post an event at the front (miros' `post_lifo`); in a full mailbox it is lost."""
        self.put_first(item)

    def put_first(self, item: Any) -> Any | None:
        """Post an event at the front, and return it if it has no place there; None otherwise."""
        with self._changing:
            if not self._has_place():
                return item
            self.deque.appendleft(item)
            self.locking_queue.put("ready")
            return None

    def popleft(self) -> Any:
        """Take the next event (miros calls it on the chart's thread)."""
        with self._changing:
            # Not while `put` looks at the length, and then changes the last place.
            return self.deque.popleft()

    def take_if(self, wanted: Callable[[Any], bool]) -> Any | None:
        """Take the next event if it is wanted, in the place of `popleft`; None otherwise."""
        with self._changing:
            return self.deque.popleft() if self.deque and wanted(self.deque[0]) else None

    def close(self) -> list[Any]:
        """Take no event any more, and return those that were not handled."""
        with self._changing:
            self._closed = True
            # The tokens stay: the chart's thread takes each of them, and finds no event.
            left = list(self.deque)
            self.deque.clear()
            return left

    def task_done(self) -> None:
        """Nothing: no thread joins the mailbox of a chart."""

    def clear(self) -> None:
        """Drop what waits (miros' own would ask the queue for more than it can)."""
        with self._changing:
            self.deque.clear()
            with suppress(Empty):
                while True:
                    self.locking_queue.get_nowait()

    def _has_place(self) -> bool:
        # Asked first, because a full deque would drop an event at its other end without a word.
        return not self._closed and len(self.deque) != self._places
