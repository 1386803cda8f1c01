"""Backlogs: what a broker keeps while a named node is away, and how it goes when that is back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import backlog
from brokers import Measured
from measure import MeasureError
from scale import units
from scale.axes import Axis, Take
from scale.growth import Metric, Point

EXPIRES_S = 900


@contextmanager
def opened(_: tuple[int, ...]) -> Iterator[Take]:
    """Nothing outlives a point: each has fresh processes."""
    yield take


def take(broker: Measured, events: int) -> Point:
    """Let so many events wait, and have them handled."""
    # At a broker of others its queue is not there for long.
    config = broker.config.overridden(queue_expires_s=EXPIRES_S)
    waited = backlog.receiver_away(replace(broker, config=config), events)
    if waited.lost or waited.doubled or waited.late:
        raise MeasureError(f"{waited.lost} lost, {waited.doubled} doubled, {waited.late} too late")
    point = {
        "sent_per_s": waited.accumulated_per_s,
        "drained_per_s": waited.drained_per_s,
        "sender": waited.sender_mib * units.MIB,
        "receiver": waited.receiver_mib * units.MIB,
    }
    return point if waited.stored_mib is None else point | {"stored": waited.stored_mib * units.MIB}


AXIS = Axis(
    name="backlog",
    what="events of a backlog",
    counts=(10_000, 30_000, 100_000, 300_000),
    quick=(1_000, 2_000, 4_000),
    metrics=(
        Metric("sent_per_s", "sent/s, confirmed", units.NUMBER, good=True),
        Metric("drained_per_s", "drained/s", units.NUMBER, good=True, plotted=True),
        Metric("sender", "memory of the sender", units.MEBIBYTES, plotted=True),
        Metric("receiver", "memory of the receiver", units.MEBIBYTES),
        Metric("stored", "stored", units.MEBIBYTES),
    ),
    limit_s=90.0,
    open=opened,
)
