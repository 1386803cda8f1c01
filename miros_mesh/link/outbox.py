"""The bounded queue between `transmit` and one broker."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from miros_mesh.link.ports import Parcel
from miros_mesh.report import StopReport


class Outbox:
    """Parcels waiting to be sent, then waiting to be confirmed, in order; the expendable ones last.

    Overflow rule: when events or bytes exceed their limit the oldest parcels go, expendable ones
    first, then those without an event, and the newest parcel that is not expendable always stays.
    Whoever made it too much is handed what went. Thread-safe; only `wait_empty` waits.
    """

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._waiting: deque[Parcel] = deque()
        self._expendable: deque[Parcel] = deque()
        self._unconfirmed: deque[Parcel] = deque()
        self._words = 0
        self._events = 0
        self._bytes = 0
        self._left_over = 0
        self._confirmed = 0
        self._dropped = 0
        self._changed = threading.Condition()

    @property
    def events(self) -> int:
        """Events and records not yet confirmed."""
        return self._events

    def report(self) -> StopReport:
        """What has become until now of the events that are a program's."""
        with self._changed:
            sent = self._confirmed + self._left_over + self._dropped
            return StopReport(sent, self._confirmed, self._left_over, self._dropped)

    @property
    def idle(self) -> bool:
        """Nothing waits to be sent."""
        return not (self._waiting or self._expendable)

    def put(self, parcel: Parcel) -> Sequence[Parcel]:
        """Append a parcel; returns what had to go."""
        with self._changed:
            self._line_of(parcel).append(parcel)
            self._words += _is_word(parcel)
            self._count(parcel, parcel.events, parcel.size_bytes)
            return self._trim()

    def grown(self, parcel: Parcel, size_bytes: int, events: int = 1) -> Sequence[Parcel]:
        """A parcel that was put took more events; returns what had to go."""
        with self._changed:
            self._count(parcel, events, size_bytes)
            return self._trim()

    def take(self) -> Parcel | None:
        """The next parcel to send; it stays here, unconfirmed, until `confirm`."""
        with self._changed:
            if self.idle:
                return None
            parcel = (self._waiting or self._expendable).popleft()
            self._words -= _is_word(parcel)
            self._unconfirmed.append(parcel)
            return parcel

    def confirm(self, parcel: Parcel) -> None:
        """The broker has it."""
        with self._changed:
            try:
                self._unconfirmed.remove(parcel)
            except ValueError:
                return
            self._count(parcel, -parcel.events, -parcel.size_bytes)
            self._confirmed += _reported(parcel)
            if self.idle and not self._unconfirmed:
                self._changed.notify_all()

    def rewind(self) -> None:
        """The connection is gone: what was not confirmed is sent again, first."""
        with self._changed:
            while self._unconfirmed:
                parcel = self._unconfirmed.pop()
                self._line_of(parcel).appendleft(parcel)
                self._words += _is_word(parcel)

    def wait_empty(self, timeout_s: float) -> bool:
        """Whether everything was confirmed within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.idle and not self._unconfirmed, timeout_s)

    def _line_of(self, parcel: Parcel) -> deque[Parcel]:
        return self._expendable if parcel.expendable else self._waiting

    def _count(self, parcel: Parcel, events: int, size_bytes: int) -> None:
        self._events += events
        self._bytes += size_bytes
        if not parcel.expendable:
            self._left_over += events

    def _trim(self) -> list[Parcel]:
        dropped = []
        while self._over() and (self._expendable or len(self._waiting) > 1):
            parcel = self._least_needed()
            parcel.close()
            self._count(parcel, -parcel.events, -parcel.size_bytes)
            self._dropped += _reported(parcel)
            dropped.append(parcel)
        return dropped

    def _least_needed(self) -> Parcel:
        """Take the expendable first, then the library's own words, which are said again."""
        if self._expendable:
            return self._expendable.popleft()
        if not self._words:
            return self._waiting.popleft()
        word = next(parcel for parcel in self._waiting if _is_word(parcel))
        self._waiting.remove(word)
        self._words -= 1
        return word

    def _over(self) -> bool:
        return self._events > self._max_events or self._bytes > self._max_bytes


def _is_word(parcel: Parcel) -> bool:
    """Whether it is something that the library says for itself."""
    return not (parcel.expendable or parcel.events)


def _reported(parcel: Parcel) -> int:
    return 0 if parcel.expendable else parcel.events
