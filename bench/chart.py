"""States of charts that are measured: one that counts what it hears, and one that hears nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from miros import Event, return_status, signals, spy_on

Send = Callable[[Event], None]

# With the number and the time around it, an event of about 200 bytes.
FILLER = "x" * 160


@spy_on
def counting(chart: Any, event: Event) -> Any:
    """The chart's one state."""
    if event.signal == signals.bench:
        chart.tally.count(event.payload)
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


@spy_on
def silent(chart: Any, _: Event) -> Any:
    """A state that leaves everything to the top."""
    chart.temp.fun = chart.top
    return return_status.SUPER
