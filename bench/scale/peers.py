"""Peers: the brokers that one node sends to, here virtual hosts of one RabbitMQ."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from brokers import Measured
from measure import MeasureError
from miros_mesh import MeshConfig
from miros_mesh.link.ports import Broker
from processes import cpu_s
from scale import units
from scale.actors import Burst, Rest
from scale.axes import Axis, Take
from scale.crowd import Crowd, Speaker, spoken
from scale.growth import Metric, Point

# Together, at all peers.
DELIVERIES = 20_000
MOST_EVENTS = 5_000
WARM_UP = Burst(200)
REST = Rest(2.0)


@contextmanager
def opened(counts: tuple[int, ...]) -> Iterator[Take]:
    """A process that hears at each virtual host, as long as the axis lives."""
    with ExitStack() as stack:
        topic = f"bench.{secrets.token_hex(4)}"
        places: list[MeshConfig] = []
        crowds: list[Crowd] = []

        def take(broker: Measured, peers: int) -> Point:
            if not places:
                places.extend(_places(broker, max(counts)))
                crowds.extend(Crowd(stack, place, topic, 1) for place in places)
                for crowd in crowds:
                    crowd.started()
            return _measured(broker, places[:peers], crowds[:peers], topic)

        yield take


def _places(broker: Measured, peers: int) -> list[MeshConfig]:
    another: Callable[[], MeshConfig] | None = broker.another
    if another is None:
        raise MeasureError("virtual hosts are made at a server of our own alone")
    return [another() for _ in range(peers)]


def _measured(broker: Measured, places: list[MeshConfig], crowds: list[Crowd], topic: str) -> Point:
    home, *others = places
    brokers = [Broker(each.brokers[0].redacted, (each.brokers[0],)) for each in others]
    burst = Burst(min(DELIVERIES // len(places), MOST_EVENTS))
    with ExitStack() as stack:
        speaker = Speaker(stack, home, topic, brokers)
        started = speaker.started()
        spoken(speaker, crowds, WARM_UP)
        before_s, broker_before_s = speaker.cpu_s(), cpu_s(broker.pid)
        sent, heard = spoken(speaker, crowds, burst)
        spent_s, broker_s = speaker.cpu_s() - before_s, cpu_s(broker.pid) - broker_before_s
        idle = speaker.rest(REST)
    last_ns = max(each.last_ns for each in heard)
    per_s = burst.events / ((last_ns - sent.first_ns) / 1e9)
    return {
        "start_s": started.start_s,
        "threads": started.threads,
        "memory": started.memory,
        "per_s": per_s,
        "deliveries_per_s": per_s * len(places),
        "cpu_s": spent_s / burst.events,
        "broker_s": broker_s / burst.events,
        "idle": idle,
    }


AXIS = Axis(
    name="peers",
    what="peers of a node",
    counts=(1, 2, 3, 5, 7, 10),
    quick=(1, 2, 3),
    metrics=(
        Metric("start_s", "start, all connected", units.SECONDS),
        Metric("threads", "threads", units.NUMBER),
        Metric("memory", "memory", units.MEBIBYTES),
        Metric("per_s", "events/s", units.NUMBER, good=True, plotted=True),
        Metric("deliveries_per_s", "deliveries/s", units.NUMBER, good=True, plotted=True),
        Metric("cpu_s", "CPU of the sender, an event", units.MICROSECONDS, plotted=True),
        Metric("broker_s", "  of the broker", units.MICROSECONDS),
        Metric("idle", "idle, share of a core", units.PERCENT),
    ),
    limit_s=45.0,
    open=opened,
    suits=lambda broker: broker.another is not None,
)
