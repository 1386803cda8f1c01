"""From a chart's inbox into its FIFO, or to the callback that takes the FIFO's place."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, cast

from miros import ActiveObject, Event, signals

from miros_mesh.charts.fifo import HIGH_WATER, event_of
from miros_mesh.charts.notices import Notices
from miros_mesh.networks.arrival import Arrival, Reason
from miros_mesh.networks.inbox import origin_of
from miros_mesh.networks.network import COMPLAIN_EVERY_S
from miros_mesh.node.session import Session, Work
from miros_mesh.observer import NO_SPAN, Span
from miros_mesh.statechart import signal_table
from miros_mesh.statechart.reserved import RESERVED_SIGNALS
from miros_mesh.text import logger_of, printable
from miros_mesh.timing.throttle import Throttle
from miros_mesh.wire.envelope import Envelope, RoutedEnvelope

logger = logger_of(__name__)

# As many frames as a chart under a node name is given ahead of their acknowledgement.
MANY_DEFERRED = 30
# While more events than that wait in the FIFO, it is filled after so many, and not after each.
_FEED_EVERY = 16

MeshCallback = Callable[[Event], None]
"""Takes a received event, in place of the FIFO."""


class Intake:
    """Posts what arrives to one chart, or refuses it, counts it and says so."""

    def __init__(
        self,
        chart: ActiveObject,
        callback: MeshCallback | None,
        notices: Notices,
        *,
        outlives: bool = False,
    ) -> None:
        self._chart = chart
        self._outlives = outlives
        self._callback = callback
        self._notices = notices
        self._complaints = Throttle(COMPLAIN_EVERY_S)
        self._finishing = False
        # Set once, before its inbox is opened; read on every thread that feeds. Kept beyond the
        # chart's stop, because the chart's thread may still settle the event that it handles.
        self._session: Session | None = None
        # The thread that runs the callback at this moment, and with what; 0 is none.
        self._calling_on = 0
        self._calling_with: Arrival | None = None

    def open(self, session: Session) -> None:
        """Begin to feed a chart that has started."""
        self._session = session
        session.work = self._work
        session.open(self._notices.post)

    @property
    def calling(self) -> bool:
        """Whether the caller is the callback, which its own thread cannot wait for."""
        return self._calling_on == threading.get_ident()

    @property
    def called_with(self) -> Arrival | None:
        """What the callback was called with, when the caller is the callback."""
        return self._calling_with if self.calling else None

    def finish(self, all_fed: Callable[[], None]) -> None:
        """Feed the rest of the frames that the chart has begun and nothing more; then call back."""
        self._finishing = True
        if self._session:
            self._session.finish(all_fed)
        else:
            all_fed()

    def post(self, arrival: Arrival) -> None:
        """Hand an event over; called while the FIFO has room."""
        session = self._session
        if session is None:
            # Nothing is posted before `open`.
            return
        event = arrival.envelope
        if reason := _unwelcome(event):
            arrival.inbox.set_aside(arrival, Reason(reason))
            return
        if type(event) is RoutedEnvelope and not self._is_wanted(session, arrival):
            return
        session.handed_over(arrival.envelope)
        if self._callback is None:
            # miros only passes it on; `ChartQueue.popleft` makes the event of it.
            self._chart.post_fifo(cast("Event", arrival))
            return
        error = self._call(self._callback, arrival)
        if error and self._outlives:
            self.failed(error, arrival)
        else:
            arrival.inbox.finished(arrival)

    def _is_wanted(self, session: Session, arrival: Arrival) -> bool:
        """Whether an event is no reply, or one to an open request; that is answered then."""
        event = arrival.envelope
        # The second time for one that was posted, and crowded out.
        if not isinstance(event, RoutedEnvelope) or event.reply_to is None or arrival.answers:
            return True
        arrival.answers = session.answered(arrival, event.reply_to) is not None
        return arrival.answers

    def failed(self, error: Exception, arrival: Arrival | None) -> None:
        """Set aside the event whose handler or callback raised; count one of the chart's own."""
        session = self._session
        if session is None:
            return
        if arrival:
            poison = arrival.inbox.is_poison(arrival)
            word, times = ("poison", arrival.deliveries) if poison else ("handler", 1)
            arrival.inbox.set_aside(arrival, Reason(word, type(error).__name__, times))
        else:
            session.observer.dropped(network="chart", reason="handler", events=1)

    def follow(self, arrival: Arrival) -> Span:
        """Begin the span in which the calling thread handles the event."""
        session = self._session
        # Asked here as well, since few nodes have a tracer, and each event comes here.
        if session is None or session.node.tracer is None:
            return NO_SPAN
        return session.handling(arrival.envelope, arrival.topic)

    def room(self) -> int:
        """Return how many events may be posted now; a callback takes one after the other."""
        # It runs on the thread that feeds: nothing piles up, and what it was not called with when
        # its chart stops is not begun.
        if self._callback:
            return 1
        room = int(self._chart.queue.room)
        # The rest of the frames that it has begun a chart that stops gets all the same. First by
        # the length, since this is asked for each event, and of most charts it is none.
        if self._finishing or not self._chart.defer_queue:
            return room
        return room - self._deferred

    def finished(self, arrival: Arrival | None) -> None:
        """Settle a received event that was handled, and fill the place that has become free.

        Called on the chart's thread after each event, received or its own.
        """
        # Each event comes here, and most have nothing to move or to tell.
        if self._notices.wait:
            self._notices.feed()
        session = self._session
        if session is None:
            return
        if arrival is not None:
            arrival.inbox.finished(arrival)
        queue = self._chart.queue
        # Many at once: one at a time, each would cost as much as all of them.
        if len(queue.deque) < _FEED_EVERY or not queue.done % _FEED_EVERY:
            session.feed()
        if self._chart.defer_queue and self._deferred >= MANY_DEFERRED:
            self._complain_of_deferred()

    def dropped(self, arrival: Arrival) -> None:
        """Settle a received event that the chart had deferred, and does not want any more."""
        if session := self._session:
            arrival.inbox.finished(arrival)
            session.feed()

    def lost(self, event: Any) -> None:
        """Count an event of the chart's own for which there was no place."""
        if session := self._session:
            session.observer.dropped(network="chart", reason="chart_full", events=1)
        if times := self._complaints.due("lost"):
            logger.error(
                "chart %s: its FIFO is full, and %d of its own events are lost, the last one %s; "
                "it posts faster than it handles",
                self._chart.name,
                times,
                printable(event.signal_name),
            )

    def crowded_out(self, arrival: Arrival) -> None:
        """Take back a received event whose place one of the chart's own has taken."""
        arrival.inbox.take_back(arrival)

    def _work(self) -> Work:
        queue = self._chart.queue
        deferred: Any = self._chart.defer_queue
        return Work(queue.done, queue.to_do, deferred.deliveries, queue.at_work)

    @property
    def _deferred(self) -> int:
        """How many received events the chart has deferred."""
        return int(self._chart.defer_queue.received)  # type: ignore[attr-defined]

    def _complain_of_deferred(self) -> None:
        if self._complaints.due("deferred"):
            logger.warning(
                "chart %s has deferred %d received events, which are not acknowledged before it "
                "recalls or drops them (defer_queue.clear); behind %d of them, or as many frames "
                "as come ahead, it gets no more",
                self._chart.name,
                self._deferred,
                HIGH_WATER,
            )

    def _call(self, callback: MeshCallback, arrival: Arrival) -> Exception | None:
        raised: Exception | None = None
        span = self.follow(arrival)
        self._calling_on, self._calling_with = threading.get_ident(), arrival
        try:
            callback(event_of(arrival))
        except Exception as error:
            raised = error
            event = origin_of(arrival.envelope)
            logger.exception("on_mesh_rx of chart %s raised for %s", self._chart.name, event)
        finally:
            self._calling_on, self._calling_with = 0, None
            span.end(error=raised)
        return raised


def _unwelcome(event: Envelope) -> str | None:
    """Return why an event with this signal may not enter, in one word; None when it may."""
    if event.signal in RESERVED_SIGNALS:
        return "reserved_signal"
    # As `event_of` does: the name may be the one that stays in the table.
    if event.signal not in signals and not signal_table.bring(sys.intern(event.signal), event.node):
        return "signal_table_full"
    return None
