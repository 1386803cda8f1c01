"""What a chart has to tell the snoop networks after each run to completion."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from miros_mesh.charts.fifo import Mark
from miros_mesh.networks import Step


def trace_step(trace: Any, mark: Mark | None) -> Step:
    """A transition, from miros' trace tuple."""
    signal = trace.signal or "start_at"
    return Step(
        kind="trace",
        time=trace.datetime.timestamp() if trace.datetime else time.time(),
        text=f"e->{signal}() {trace.start_state}->{trace.end_state}",
        signal=signal,
        from_state=trace.start_state,
        to_state=trace.end_state,
        event_id=mark.id if mark else None,
        cause=mark.cause if mark else None,
    )


def spy_steps(lines: list[str], mark: Mark | None) -> Iterator[Step]:
    """Every line of miros' spy of one run to completion."""
    now = time.time()
    for line in lines:
        yield Step(
            kind="spy",
            time=now,
            text=line,
            event_id=mark.id if mark else None,
            cause=mark.cause if mark else None,
        )
