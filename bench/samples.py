"""One measurement of one column of `make bench`: fresh programs, a warm-up, a burst, then idle."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import talks
from brokers import Measured
from talks import Talk

WARM_UP_EVENTS = 1_000
SIZE = 200


@dataclass(frozen=True)
class Sizes:
    """How many events each part of a measurement sends."""

    burst: int
    paced: int


@dataclass(frozen=True)
class Sample:
    """The figures of one measurement."""

    events_per_s: float
    latency_median_s: float
    latency_p99_s: float


def measure_local(sizes: Sizes) -> Sample:
    """`post_fifo` of a miros chart, within one process."""
    return _measure(sizes, ["stock"])


def measure_mesh(
    broker: Measured, sizes: Sizes, of_roles: Mapping[str, Mapping[str, Any]] | None = None
) -> Sample:
    """`transmit` of a chart in one process to a chart in another one; a role may have settings."""
    of_roles = of_roles or {}
    return _measure(sizes, talks.BOTH, of_roles=of_roles, **talks.mesh(broker))


def _measure(sizes: Sizes, roles: Sequence[str], **settings: Any) -> Sample:
    with ExitStack() as stack:
        talk = Talk(stack, Path(sys.executable), "charts", roles, **settings)
        talk.burst(WARM_UP_EVENTS, SIZE)
        burst = talk.burst(sizes.burst, SIZE)
        ways_s = talk.idle(sizes.paced, SIZE)
    return Sample(
        events_per_s=burst.events_per_s,
        latency_median_s=statistics.median(ways_s),
        latency_p99_s=statistics.quantiles(ways_s, n=100)[98],
    )
