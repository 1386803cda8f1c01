"""Charts of one process: their start, what they take, and events that all or one of them hear."""

from __future__ import annotations

import secrets
import statistics
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

from brokers import Measured
from processes import cpu_s
from scale import units
from scale.actors import Burst, Rest
from scale.axes import Axis, Take
from scale.crowd import Crowd, Speaker, spoken
from scale.growth import Metric, Point

# Together, of all charts of a process.
DELIVERIES = 20_000
MOST_EVENTS, FEWEST_EVENTS = 4_000, 20
WARM_UP = Burst(10)
ALONE = Burst(30, every_s=0.01)
# As long as most of what is done at intervals: bindings every 2 s, heartbeats every 5 s.
REST = Rest(5.0)
# Each of them leaves a queue behind, of the kind that RabbitMQ takes most time for.
MOST_NAMED = 100
EXPIRES_S = 60


@contextmanager
def opened(_: tuple[int, ...]) -> Iterator[Take]:
    """Nothing outlives a point: each has fresh processes. In the first round they rest, too."""
    rested: set[tuple[str, int]] = set()

    def take(broker: Measured, charts: int) -> Point:
        first = (broker.title, charts) not in rested
        rested.add((broker.title, charts))
        return _measured(broker, charts, REST if first else None)

    yield take


def _measured(broker: Measured, charts: int, rest: Rest | None) -> Point:
    """Start so many charts, and let one of another process send to them."""
    topic = f"bench.{secrets.token_hex(4)}"
    burst = Burst(max(min(DELIVERIES // charts, MOST_EVENTS), FEWEST_EVENTS))
    with ExitStack() as stack:
        before_s = cpu_s(broker.pid)
        crowd = Crowd(stack, broker.config, topic, charts)
        point = asdict(crowd.started())
        if broker.pid:
            point["start_broker_s"] = cpu_s(broker.pid) - before_s
        speaker = Speaker(stack, broker.config, topic)
        speaker.started()
        spoken(speaker, [crowd], WARM_UP)
        first, (all_hear,) = spoken(speaker, [crowd], burst)
        before_s = speaker.cpu_s()
        _, (one_hears,) = spoken(speaker, [crowd], ALONE, to_all=False)
        spent_s = speaker.cpu_s() - before_s + one_hears.cpu_s
        if rest:
            point["idle"] = crowd.rest(rest)
        crowd.end()
    if charts <= MOST_NAMED:
        point["named_s"] = _start_by_name(broker, topic, charts)
    deliveries = charts * burst.events
    return point | {
        "per_s": deliveries / ((all_hear.last_ns - first.first_ns) / 1e9),
        "cpu_s": all_hear.cpu_s / deliveries,
        "one_cpu_s": spent_s / ALONE.events,
        "one_way_s": statistics.median(one_hears.ways_s),
    }


def _start_by_name(broker: Measured, topic: str, charts: int) -> float:
    """How long as many take in a node whose queues outlive it."""
    # At a broker of others they are not there for long.
    config = broker.config.overridden(node_name=topic, queue_expires_s=EXPIRES_S)
    with ExitStack() as stack:
        crowd = Crowd(stack, config, topic, charts)
        start_s = crowd.started().start_s
        crowd.end()
    return start_s


AXIS = Axis(
    name="charts",
    what="charts of a process",
    counts=(1, 3, 10, 30, 100, 300, 1_000),
    quick=(1, 3, 10),
    metrics=(
        Metric("start_s", "start", units.SECONDS, plotted=True),
        Metric("start_cpu_s", "CPU of the start", units.SECONDS),
        Metric("start_broker_s", "  of the broker", units.SECONDS),
        Metric("named_s", "start, node with a name", units.SECONDS),
        Metric("threads", "threads", units.NUMBER),
        Metric("memory", "memory", units.MEBIBYTES, plotted=True),
        Metric("per_s", "deliveries/s, all hear", units.NUMBER, good=True, plotted=True),
        Metric("cpu_s", "CPU of a delivery", units.MICROSECONDS),
        Metric("one_cpu_s", "CPU of an event for one", units.MICROSECONDS),
        Metric("one_way_s", "its way", units.MILLISECONDS),
        Metric("idle", "idle, share of a core", units.PERCENT, plotted=True),
    ),
    limit_s=240.0,
    open=opened,
)
