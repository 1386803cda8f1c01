"""The bounded queue between `transmit` and one broker."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence

from miros_mesh.link.ports import Parcel
from miros_mesh.report import StopReport


class Outbox:
    """Parcels waiting to be sent, then waiting to be confirmed, in order; the expendable ones last.

    Overflow rule: when events or bytes exceed their limit the oldest waiting parcels are dropped,
    expendable ones first, then those without an event. One that is not expendable always stays: the
    newest with an event, if there is one. `put` and `grown` return what they dropped. Thread-safe;
    only `wait_empty` waits.
    """

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        # Taken itself, and not by way of the condition, which costs two calls of Python each time.
        self._lock = threading.RLock()
        """Guards everything below."""
        self._changed = threading.Condition(self._lock)
        """Notified when no event or no parcel is left."""
        # Any thread that transmits puts and grows, under the lock of its network; who has the
        # publisher's connection takes, confirms and rewinds. No lock but a parcel's is taken under
        # this one.
        self._waiting: deque[Parcel] = deque()
        self._messages: deque[Parcel] = deque()
        """Those of `_waiting` without an event, in the same order: the library's own messages."""
        self._expendable: deque[Parcel] = deque()
        # A dictionary, since a confirm would have to search a deque.
        self._unconfirmed: dict[Parcel, None] = {}
        """What `take` gave out, in that order; any of them may be confirmed next."""
        self._again: set[Parcel] = set()
        """Those of all the above that were given out before; parts of such a one among them."""
        # A parcel is counted in as `put` finds it and `grown` says, and counted out as it is when
        # it leaves: it is closed by then. One that is confirmed between its growth and `grown` is
        # counted out before it is counted in, and the sums are right after both.
        self._events = 0
        self._bytes = 0
        # Without what is expendable.
        self._sent = 0
        self._confirmed = 0
        self._dropped = 0
        self._refused = 0
        self._unroutable = 0
        self._moved_at = 0.0
        """When a parcel was put or left last (`time.monotonic`)."""

    @property
    def events(self) -> int:
        """Events and records not yet confirmed."""
        # One reference, so no lock: a metric may read it at any time.
        return self._events

    def report(self) -> StopReport:
        """Say what has become until now of the events that are a program's."""
        with self._lock:
            return StopReport(
                sent=self._sent,
                confirmed=self._confirmed,
                left_over=self._left_over,
                dropped=self._dropped,
                refused=self._refused,
                unroutable=self._unroutable,
            )

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""
        return not (self._waiting or self._expendable)

    def put(self, parcel: Parcel) -> Sequence[Parcel]:
        """Append a parcel; returns what was dropped to make room."""
        with self._lock:
            self._moved_at = time.monotonic()
            for line in self._lines_of(parcel):
                line.append(parcel)
            return self._count_in(parcel, parcel.events, parcel.size_bytes)

    def grown(self, parcel: Parcel, size_bytes: int, events: int = 1) -> Sequence[Parcel]:
        """Count events that a parcel took since it was put; returns what was dropped for them."""
        with self._lock:
            return self._count_in(parcel, events, size_bytes)

    def waiting(self) -> Sequence[Parcel]:
        """Return what waits to be sent, in the order in which it will be."""
        with self._lock:
            return [*self._waiting, *self._expendable]

    def take(self) -> Parcel | None:
        """Return the next parcel to send; it stays here, unconfirmed, until `confirm`."""
        with self._lock:
            if self.idle:
                return None
            parcel = (self._waiting or self._expendable).popleft()
            # Both lines have one order, so it is the first of the messages or none of them.
            if self._messages and self._messages[0] is parcel:
                self._messages.popleft()
            self._unconfirmed[parcel] = None
            return parcel

    def is_again(self, parcel: Parcel) -> bool:
        """Whether the broker may have a parcel already, which `take` gave out before."""
        # One step of a set, and only who has the connection asks and marks: no lock.
        return parcel in self._again

    def confirm(self, parcel: Parcel, *, routed: bool = True) -> None:
        """Forget a parcel that the broker has stored; one that is not on its way is ignored.

        It is not `routed` when the broker has no queue for it.
        """
        with self._lock:
            events = self._leave(parcel)
            self._confirmed += events
            if not routed:
                self._unroutable += events
            self._tell()

    def refuse(self, parcel: Parcel) -> None:
        """Forget a parcel that the broker refused; one that is not on its way is ignored."""
        with self._lock:
            self._refused += self._leave(parcel)
            self._tell()

    def split(self, parcel: Parcel, parts: Sequence[Parcel]) -> None:
        """Put parts of a parcel, which have all its events in order, in front of what waits.

        The parcel is forgotten; one that is not on its way is ignored.
        """
        with self._lock:
            if parcel not in self._unconfirmed:
                return
            # The sums stay as they are: the parts are closed, and have what it had.
            del self._unconfirmed[parcel]
            if parcel in self._again:
                self._again.discard(parcel)
                self._again.update(parts)
            for part in reversed(parts):
                self._line_up_first(part)

    def rewind(self) -> None:
        """Let everything that is unconfirmed wait again, before the rest and in its order."""
        with self._lock:
            # The last one first, each before the one that was put back before it.
            while self._unconfirmed:
                parcel, _ = self._unconfirmed.popitem()
                self._again.add(parcel)
                self._line_up_first(parcel)

    def wait_empty(self, timeout_s: float, patience_s: float = math.inf) -> bool:
        """Wait until everything is confirmed, for `timeout_s` at most; whether it is.

        Once no event of a program is left, the wait for the rest ends as soon as nothing of it was
        confirmed for `patience_s`.
        """
        until = time.monotonic() + timeout_s
        with self._lock:
            while not self._empty():
                limit = until if self._left_over else min(until, self._moved_at + patience_s)
                left = limit - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    @property
    def _left_over(self) -> int:
        return self._sent - self._confirmed - self._dropped - self._refused

    def _tell(self) -> None:
        if not self._left_over or self._empty():
            self._changed.notify_all()

    def _empty(self) -> bool:
        return self.idle and not self._unconfirmed

    def _leave(self, parcel: Parcel) -> int:
        """Take out what is on its way; return how many events of a program it held."""
        # The answer came twice; or after a `rewind`, and the parcel is sent again.
        if parcel not in self._unconfirmed:
            return 0
        del self._unconfirmed[parcel]
        self._moved_at = time.monotonic()
        return self._count_out(parcel)

    def _line_up_first(self, parcel: Parcel) -> None:
        for line in self._lines_of(parcel):
            line.appendleft(parcel)

    def _lines_of(self, parcel: Parcel) -> Sequence[deque[Parcel]]:
        if parcel.expendable:
            return (self._expendable,)
        return (self._waiting,) if parcel.events else (self._waiting, self._messages)

    def _count_in(self, parcel: Parcel, events: int, size_bytes: int) -> list[Parcel]:
        self._events += events
        self._bytes += size_bytes
        if not parcel.expendable:
            self._sent += events
        return self._trim()

    def _count_out(self, parcel: Parcel) -> int:
        """Return how many events of a program it held."""
        self._again.discard(parcel)
        events = parcel.events
        self._events -= events
        self._bytes -= parcel.size_bytes
        return 0 if parcel.expendable else events

    def _trim(self) -> list[Parcel]:
        dropped: list[Parcel] = []
        # What is on its way counts and stays: the broker may have stored it already.
        while self._over() and (self._expendable or len(self._waiting) > 1):
            parcel = self._least_needed()
            # First, since the count below has to be final. It is closed for all peers: the next
            # event begins a parcel of its own.
            parcel.close()
            self._dropped += self._count_out(parcel)
            dropped.append(parcel)
        return dropped

    def _least_needed(self) -> Parcel:
        """Take the expendable first, then the library's own messages, which it sends again."""
        if self._expendable:
            return self._expendable.popleft()
        if not self._messages:
            return self._waiting.popleft()
        message = self._messages.popleft()
        self._waiting.remove(message)
        return message

    def _over(self) -> bool:
        return self._events > self._max_events or self._bytes > self._max_bytes
