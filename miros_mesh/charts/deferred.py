"""What a chart has deferred: its own events, and received ones, which are not handled yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from miros_mesh.networks.arrival import Arrival

# As many as miros keeps of all (`HsmWithQueues.QUEUE_SIZE`, 4.2.1).
MOST_OWN: Final = 500
_ARRIVAL: Final = "mesh_arrival"


def keep_arrival(event: Any, arrival: Arrival) -> None:
    """Let a received event that is deferred remember what it came by."""
    vars(event)[_ARRIVAL] = arrival


def arrival_of(event: Any) -> Arrival | None:
    """Return what a deferred event came by; None for one of the chart's own."""
    found: Arrival | None = vars(event).get(_ARRIVAL)
    return found


class DeferredEvents(deque[Any]):
    """miros' `defer_queue`, of which no received event falls out.

    miros' own forgets the oldest beyond 500, in silence. Of a chart's own events this one does the
    same, and tells `lost`. Received ones have no limit here: they take room in the inbox, which
    feeds no more of them then. `recall` takes with `popleft`; what leaves otherwise the chart has
    `dropped`. For the chart's thread, but for `received`.
    """

    def __init__(self, lost: Callable[[Any], object], dropped: Callable[[Arrival], object]) -> None:
        super().__init__()
        self._lost = lost
        self._dropped = dropped
        self.received = 0
        """How many of them were received; read on any thread."""

    def append(self, event: Any) -> None:
        """Defer an event (miros' `defer`)."""
        super().append(event)
        if arrival_of(event):
            self.received += 1
        elif len(self) - self.received > MOST_OWN:
            oldest = next(each for each in self if not arrival_of(each))
            super().remove(oldest)
            self._lost(oldest)

    def popleft(self) -> Any:
        """Take the oldest event back (miros' `recall`)."""
        event = super().popleft()
        self.received -= arrival_of(event) is not None
        return event

    def pop(self) -> Any:  # type: ignore[override]
        """Drop the newest event, and return it."""
        event = super().pop()
        self._drop(event)
        return event

    def remove(self, event: Any) -> None:
        """Drop an event. Raises `ValueError` for one that is not deferred."""
        super().remove(event)
        self._drop(event)

    def clear(self) -> None:
        """Drop all events: the received ones count as handled."""
        while self:
            self.pop()

    def _drop(self, event: Any) -> None:
        if arrival := arrival_of(event):
            self.received -= 1
            self._dropped(arrival)
