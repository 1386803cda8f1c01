"""What a chart has deferred: its own events, and received ones, which are not handled yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from miros_mesh.networks.arrival import Arrival

# As many as miros keeps of all (`HsmWithQueues.QUEUE_SIZE`, 4.2.1).
MOST_OWN: Final = 500


class DeferredEvents(deque[Any]):
    """miros' `defer_queue`, of which no received event falls out.

    miros' own forgets the oldest beyond 500, in silence. Of a chart's own events this one does the
    same, and tells `lost`. Received ones have no limit here: they take room in the inbox, which
    feeds no more of them then.

    `deferring` says what an event came by that is deferred now; `recalled` takes both when it is
    recalled. What leaves in any other way the chart has `dropped`. What an event came by is known
    here alone: the event may be posted again, or given to other charts, as any other.

    For the chart's thread, but for `received` and `deliveries`.
    """

    def __init__(
        self,
        deferring: Callable[[Any], Arrival | None],
        recalled: Callable[[Any, Arrival], object],
        *,
        lost: Callable[[Any], object],
        dropped: Callable[[Arrival], object],
    ) -> None:
        super().__init__()
        self._deferring = deferring
        self._recalled = recalled
        self._lost = lost
        self._dropped = dropped
        # By the identity of the events, which live as long as they are here.
        self._arrivals: dict[int, Arrival] = {}
        self._recalling = False

    @property
    def received(self) -> int:
        """How many of them were received; on any thread."""
        return len(self._arrivals)

    @property
    def deliveries(self) -> int:
        """How many deliveries wait for one of them, at least, before they are acknowledged."""
        # A copy first, which no other thread interrupts.
        arrivals = list(self._arrivals.values())
        return len({id(ticket) for arrival in arrivals for ticket in arrival.tickets})

    def append(self, event: Any) -> None:
        """Defer an event (miros' `defer`)."""
        super().append(event)
        if arrival := self._deferring(event):
            self._arrivals[id(event)] = arrival
        elif len(self) - self.received > MOST_OWN:
            oldest = next(each for each in self if id(each) not in self._arrivals)
            super().remove(oldest)
            self._lost(oldest)

    @contextmanager
    def recalling(self) -> Iterator[None]:
        """Let `popleft` take an event to be posted again, and not to be dropped."""
        self._recalling = True
        try:
            yield
        finally:
            self._recalling = False

    def popleft(self) -> Any:
        """Take the oldest event (miros' `recall`), or drop it."""
        return self._gone(super().popleft())

    def pop(self) -> Any:  # type: ignore[override]
        """Drop the newest event, and return it."""
        return self._gone(super().pop())

    def remove(self, event: Any) -> None:
        """Drop an event. Raises `ValueError` for one that is not deferred."""
        # By identity: all events of miros are equal, as empty dictionaries.
        place = next((at for at, each in enumerate(self) if each is event), None)
        if place is None:
            raise ValueError(f"{event!r} is not deferred")
        del self[place]
        self._gone(event)

    def clear(self) -> None:
        """Drop all events: the received ones count as handled."""
        while self:
            self.pop()

    def copy(self) -> deque[Any]:  # type: ignore[override]
        """Return the events as they are now, in a deque that has nothing to do with the chart."""
        return deque(self)

    __copy__ = copy  # type: ignore[assignment]

    def forget(self, arrival: Arrival) -> None:
        """Keep a received event no more, of which another account is given."""
        for place, event in enumerate(self):
            if self._arrivals.get(id(event)) is arrival:
                del self[place]
                del self._arrivals[id(event)]
                return

    def _gone(self, event: Any) -> Any:
        if arrival := self._arrivals.pop(id(event), None):
            if self._recalling:
                self._recalled(event, arrival)
            else:
                self._dropped(arrival)
        return event
