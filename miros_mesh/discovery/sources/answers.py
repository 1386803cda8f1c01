"""What a source does with the answer of a scout while it looks at a list of hosts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from miros import Event

from miros_mesh.discovery.scout_batch import ScoutBatch
from miros_mesh.discovery.signals import AMQPConsumerCheckPayload

NETWORK_EVALUATED: Final = "network_evaluated"


class Source(Protocol):
    """The chart of a source, which posts to itself and publishes what it has found."""

    def post_fifo(self, e: Event) -> Any:
        """Post an event at the end, as miros."""

    def publish_brokers(self, live: Sequence[str], *, port: int) -> None:
        """Publish hosts with a broker; `port` is that of those which are named without one."""


def take(chart: Source, batch: ScoutBatch, check: AMQPConsumerCheckPayload, *, port: int) -> None:
    """Post `network_evaluated` with the last answer, and publish a live host at once before that.

    An answer for which the batch does not wait is left alone.
    """
    if not batch.heard(check):
        return
    if batch.complete:
        chart.post_fifo(Event(signal=NETWORK_EVALUATED))
    elif check.result:
        # Not when the last dead host of many is found dead. It alone: to tell all of them at each
        # answer would be more work than looking at them.
        chart.publish_brokers((check.ip_address,), port=port)
