"""From a chart's inbox into its FIFO, or to the callback that takes the FIFO's place."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import cast

from miros import ActiveObject, Event, signals

from miros_mesh.charts.fifo import HIGH_WATER, RESERVED_SIGNALS, Received
from miros_mesh.charts.notices import Notices
from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.inbox import Inbox
from miros_mesh.node.node import Node
from miros_mesh.observer import NO_SPAN, Observer, Span
from miros_mesh.wire.envelope import TracedEnvelope

logger = logging.getLogger(__name__)

# miros' table of signal names is slow when it is long, and never forgets one (445 us an event at
# 10,000 names), so other nodes may fill it only so far.
MOST_SIGNALS = 4096

MeshCallback = Callable[[Event], None]


class Intake:
    """Posts what arrives to one chart, or refuses it and says so."""

    def __init__(
        self, chart: ActiveObject, callback: MeshCallback | None, notices: Notices
    ) -> None:
        self._chart = chart
        self._callback = callback
        self._notices = notices
        self._observer = Observer()
        self._node: Node | None = None
        self._topic = ""
        self._inbox: Inbox | None = None
        self._calling_on = 0

    def open(self, inbox: Inbox, node: Node, topic: str) -> None:
        """The chart has started, and hears what is sent under `topic`."""
        self._inbox, self._observer = inbox, node.observer
        self._node, self._topic = node, topic
        inbox.open()

    @property
    def calling(self) -> bool:
        """Whether the caller is the callback, which its own thread cannot wait for."""
        return self._calling_on == threading.get_ident()

    def finish(self, all_fed: Callable[[], None]) -> None:
        """The chart takes the rest of the frames it has begun, and nothing more."""
        if self._inbox:
            self._inbox.finish(all_fed)
        else:
            all_fed()

    def post(self, arrival: Arrival) -> None:
        """Hand an event over; called while the FIFO has room."""
        if reason := _unwelcome(arrival.envelope.signal):
            self._observer.dropped(network="mesh", reason=reason, events=1)
            self._settle(arrival, refused=True)
            return
        latency_s = max(time.time() - arrival.envelope.sent_at, 0)
        self._observer.handed_over(chart=self._chart.name, seconds=latency_s)
        received = Received(arrival)
        if self._callback is None:
            self._chart.post_fifo(cast("Event", received))
            return
        self._call(self._callback, received)
        self._settle(arrival)

    def follow(self, arrival: Arrival) -> Span:
        """The span in which the calling thread handles the event."""
        node = self._node
        if node is None or node.tracer is None:
            return NO_SPAN
        envelope = arrival.envelope
        return node.tracer.handling(
            node=node.name,
            chart=self._chart.name,
            topic=self._topic,
            signal=envelope.signal,
            message_id=envelope.id,
            size_bytes=len(envelope.payload),
            context=envelope.trace if isinstance(envelope, TracedEnvelope) else None,
        )

    def room(self) -> int:
        """How many events may be posted now; a callback takes whatever comes."""
        return HIGH_WATER if self._callback else int(self._chart.queue.room)

    def finished(self, arrival: Arrival | None) -> None:
        """On the chart's thread: an event, received or not, has made room for another."""
        if arrival:
            self._settle(arrival)
        self._notices.feed()
        if self._inbox:
            self._inbox.feed()

    def crowded_out(self, arrival: Arrival) -> None:
        """The FIFO is full of the chart's own events: a received one waits for its place again."""
        if self._inbox:
            self._inbox.take_back(arrival)

    def _call(self, callback: MeshCallback, received: Received) -> None:
        raised: Exception | None = None
        span = self.follow(received.arrival)
        self._calling_on = threading.get_ident()
        try:
            callback(received.event())
        except Exception as error:
            raised = error
            logger.exception("on_mesh_rx of chart %s raised", self._chart.name)
        finally:
            self._calling_on = 0
            span.end(error=raised)

    def _settle(self, arrival: Arrival, *, refused: bool = False) -> None:
        if self._inbox:
            self._inbox.finished(arrival, refused=refused)


def _unwelcome(signal: str) -> str | None:
    """Why an event with this signal may not enter, in one word; None when it may."""
    if signal in RESERVED_SIGNALS:
        return "reserved_signal"
    if signal not in signals and len(signals) >= MOST_SIGNALS:
        return "signal_table_full"
    return None
