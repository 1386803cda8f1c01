"""The size of payloads: a chart of one process sends, one of another process hears."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from brokers import Measured
from scale import units
from scale.actors import Burst
from scale.axes import Axis, Take
from scale.crowd import Crowd, Speaker, spoken
from scale.growth import Metric, Point

# A burst ends by the number of events or by their bytes, and has enough of them for a rate.
MOST_EVENTS, FEWEST_EVENTS = 5_000, 200
MOST_BYTES = 16 * 1024 * 1024
WARM_UP = Burst(500)


@contextmanager
def opened(_: tuple[int, ...]) -> Iterator[Take]:
    """Two processes for each broker, which live as long as the axis."""
    with ExitStack() as stack:
        pairs: dict[str, tuple[Speaker, Crowd]] = {}

        def take(broker: Measured, payload_bytes: int) -> Point:
            if broker.title not in pairs:
                pairs[broker.title] = _pair(stack, broker)
            return _measured(*pairs[broker.title], payload_bytes)

        yield take


def _pair(stack: ExitStack, broker: Measured) -> tuple[Speaker, Crowd]:
    topic = f"bench.{secrets.token_hex(4)}"
    crowd = Crowd(stack, broker.config, topic, 1)
    crowd.started()
    speaker = Speaker(stack, broker.config, topic)
    speaker.started()
    spoken(speaker, [crowd], WARM_UP)
    return speaker, crowd


def _measured(speaker: Speaker, crowd: Crowd, payload_bytes: int) -> Point:
    events = max(min(MOST_BYTES // payload_bytes, MOST_EVENTS), FEWEST_EVENTS)
    sent, (heard,) = spoken(speaker, [crowd], Burst(events, payload_bytes))
    per_s = events / ((heard.last_ns - sent.first_ns) / 1e9)
    return {
        "per_s": per_s,
        "bytes_per_s": per_s * payload_bytes,
        "cpu_s": heard.cpu_s / events,
    }


AXIS = Axis(
    name="payload",
    what="bytes of a payload",
    counts=(100, 1_024, 4_096, 16_384, 65_536),
    quick=(100, 1_024, 16_384),
    metrics=(
        Metric("per_s", "events/s", units.NUMBER, good=True, plotted=True),
        Metric("bytes_per_s", "payload a second", units.MEBIBYTES, good=True, plotted=True),
        Metric("cpu_s", "CPU of the receiver, an event", units.MICROSECONDS),
    ),
    limit_s=40.0,
    open=opened,
)
