"""A chart that defers what it receives while it is busy, and recalls it when it is free."""

from __future__ import annotations

from typing import Any

from miros import Event, return_status, signals, spy_on

from miros_mesh import NetworkedActiveObject

WORK = "work"
FREE = "free"
BUSY = "busy"
DROP = "drop"


class Worker(NetworkedActiveObject):
    """Starts busy; `FREE` frees it, `BUSY` makes it busy again, `DROP` drops what it deferred."""

    def __init__(self, name: str, **arguments: Any) -> None:
        super().__init__(name, **arguments)
        self.done: list[Any] = []

    @property
    def deferred(self) -> int:
        return len(self.defer_queue)

    def free(self) -> None:
        """Let it recall what it has deferred, and handle it."""
        self.post_fifo(Event(signal=FREE))


@spy_on
def busy(chart: Worker, event: Event) -> int:
    if event.signal_name == WORK:
        chart.defer(event)
        return return_status.HANDLED
    if event.signal_name == DROP:
        chart.defer_queue.clear()
        return return_status.HANDLED
    if event.signal_name == FREE:
        return chart.trans(idle)
    chart.temp.fun = chart.top
    return return_status.SUPER


@spy_on
def idle(chart: Worker, event: Event) -> int:
    if event.signal == signals.ENTRY_SIGNAL:
        # Not until it returns a false value: every event of miros is false, as an empty dictionary.
        while chart.defer_queue:
            chart.recall()
        return return_status.HANDLED
    if event.signal_name == WORK:
        chart.done.append(event.payload)
        return return_status.HANDLED
    if event.signal_name == BUSY:
        return chart.trans(busy)
    chart.temp.fun = chart.top
    return return_status.SUPER
