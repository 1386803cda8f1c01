"""What is measured: one chart that counts, local or on the mesh, and two ways to send to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from miros import Event, return_status, signals, spy_on

Send = Callable[[Event], None]

# With the number and the time around it, an event of about 200 bytes.
FILLER = "x" * 160
PAUSE_S = 0.01


@dataclass(frozen=True)
class Result:
    """What the chart handled; times by the clock that all processes of a machine share."""

    last_ns: int
    latencies_ns: list[int]


class Tally:
    """Counts the events of one measurement on the chart's thread, and tells whether all came."""

    def __init__(self, expected: int) -> None:
        self.handled = 0
        self._expected = expected
        self._latencies_ns: list[int] = []
        self._wrong: str | None = None
        self._last_ns = 0
        self._complete = threading.Event()

    def count(self, payload: list[Any]) -> None:
        """Handle one event."""
        now = time.monotonic_ns()
        number, sent_ns, _ = payload
        self.handled += 1
        self._latencies_ns.append(now - sent_ns)
        if number != self.handled:
            self._wrong = self._wrong or f"event {number} came in place of {self.handled}"
        if self.handled == self._expected:
            self._last_ns = now
            self._complete.set()

    def result(self, limit_s: float) -> Result | str:
        """The result once every event was handled, in order, once; else what went wrong."""
        if not self._complete.wait(limit_s):
            return f"only {self.handled} of {self._expected} events were handled in {limit_s:g} s"
        return self._wrong or Result(self._last_ns, self._latencies_ns)


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


@dataclass(frozen=True)
class Task:
    """Events to send: in a burst, or one at a time with everything idle in between."""

    events: int
    paced: bool

    def run(self, send: Send) -> int:
        """Send them; the moment of the first."""
        pause = threading.Event()
        first_ns = time.monotonic_ns()
        for number in range(1, self.events + 1):
            payload = [number, time.monotonic_ns(), FILLER]
            send(Event(signal=signals.bench, payload=payload))
            if self.paced:
                pause.wait(PAUSE_S)
        return first_ns
