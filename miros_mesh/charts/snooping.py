"""A chart's part in the snoop networks: what it records, and where it shows the others' records."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from miros import ActiveObject

from miros_mesh.charts.fifo import ChartQueue, Mark
from miros_mesh.networks.snoop.records import Step
from miros_mesh.node.session import Session, SnoopCallback, Stream
from miros_mesh.text import encodable, logger_of
from miros_mesh.wire.envelope import ChartStatus

logger = logger_of(__name__)


class ChartSnoop:
    """Records the steps of one chart, in the streams that are enabled; from any thread."""

    def __init__(
        self,
        chart: ActiveObject,
        queue: ChartQueue,
        callbacks: dict[Stream, SnoopCallback | None],
    ) -> None:
        self._chart = chart
        self._queue = queue
        self._callbacks = callbacks
        # The streams that are enabled. Both are changed under `_switching` alone, and read by the
        # chart's thread and by that of the callbacks without it.
        self._colors: dict[Stream, bool] = {}
        self._session: Session | None = None
        # Held until the node knows of the change, so that it ends as the last call says. Nothing is
        # waited for under it. Reentrant, since a signal may interrupt the thread that has it.
        self._switching = threading.RLock()
        # Used on the thread that starts the chart, and after that on the chart's own; set by a
        # thread that enables the trace before the chart's uses it.
        self._last_trace: object = None
        self._warned = False

    def enable(self, stream: Stream, *, color: bool) -> None:
        """Take part in a stream; at once when the chart has started. Raises `LinkError`."""
        with self._switching:
            if stream == "trace" and "trace" not in self._colors:
                # What the chart did before is not of now.
                self._last_trace = self._latest_trace()
            self._colors[stream] = color
            session = self._session
            if session:
                self._watch(session, stream)
        if session:
            session.consume(stream)

    def disable(self, stream: Stream) -> None:
        """Take part in a stream no more; waits until what was recorded is in the outbox."""
        with self._switching:
            self._colors.pop(stream, None)
            session = self._session
            if session is None:
                return
            session.end_records(stream)
        # While the stream is shown, so that the chart's own last records are printed.
        session.flush_records()
        with self._switching:
            # Unless it was enabled again meanwhile, or the chart has left.
            if stream in self._colors or self._session is not session:
                return
            session.unwatch(stream)
            if not self._colors:
                session.take_no_part()

    def join(self, session: Session) -> None:
        """Take part in the streams that are enabled. Raises the `LinkError` that prevents it."""
        with self._switching:
            self._session = session
            enabled = list(self._colors)
            for stream in enabled:
                self._watch(session, stream)
        for stream in enabled:
            session.consume(stream)

    def leave(self) -> None:
        """Stop recording: the chart has left its node."""
        with self._switching:
            self._session = None

    def scribble(self, text: str, mark: Mark | None) -> None:
        """Record a note in the trace stream, or in the spy stream when only that one is enabled."""
        if self._colors:
            stream: Stream = "trace" if "trace" in self._colors else "spy"
            self._record(stream, 1, _scribble, text, time.time(), mark)

    def record_steps(self) -> None:
        """Record what the last run to completion did; called on the chart's thread."""
        if not self._colors:
            return
        # Made here, and not for each event of a chart that shows nothing.
        mark = self._queue.current
        if not (self._chart.instrumented and self._chart.spied_on):
            self._warn()
            return
        if "spy" in self._colors:
            # A copy: miros clears it at the next event, and the recorder's thread makes the records
            # later.
            lines = tuple(self._chart.rtc.spy)
            self._record("spy", len(lines), _spy, lines, time.time(), mark)
        if "trace" in self._colors:
            self._record_trace(mark)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "chart %s shows nothing in the snoop networks: its state functions are not "
                "decorated; put @spy_on above each (from miros import spy_on)",
                self._chart.name,
            )

    def _record_trace(self, mark: Mark | None) -> None:
        latest = self._latest_trace()
        # miros adds none for an event that is ignored, or handled without a transition. A new one
        # is known by its identity, since a full ring of traces keeps its length.
        if latest is None or latest is self._last_trace:
            return
        self._last_trace = latest
        self._record("trace", 1, _trace, latest, mark)

    def _latest_trace(self) -> Any:
        traces = self._chart.full.trace
        return traces[-1] if traces else None

    def _watch(self, session: Session, stream: Stream) -> None:
        session.watch(
            stream,
            self._status,
            color=self._colors[stream],
            callback=self._callbacks[stream],
            wanted=lambda: stream in self._colors,
        )

    def _status(self) -> ChartStatus:
        # On the recorder's thread, while the chart works: each value is true for itself, and they
        # need not be of the same moment.
        chart, queue = self._chart, self._queue
        thread = chart.thread
        # Before its start a chart is in no state.
        state = getattr(chart.state, "fun", None)
        return ChartStatus(
            chart.name,
            encodable(getattr(state, "__name__", "")),
            queue.handled,
            encodable(queue.last_signal),
            dead=thread is not None and not thread.is_alive(),
        )

    def _record(
        self, stream: Stream, amount: int, steps: Callable[..., list[Step]], *facts: Any
    ) -> None:
        # Another thread may stop the chart meanwhile.
        if session := self._session:
            session.record(stream, amount, steps, *facts)


def _scribble(text: str, now: float, mark: Mark | None) -> list[Step]:
    return [Step("scribble", now, text, cause=mark.id if mark else None)]


def _spy(lines: tuple[str, ...], now: float, mark: Mark | None) -> list[Step]:
    event_id, cause = _ids(mark)
    return [Step("spy", now, str(line), event_id=event_id, cause=cause) for line in lines]


def _trace(latest: Any, mark: Mark | None) -> list[Step]:
    signal, start, end = latest.signal or "start_at", latest.start_state, latest.end_state
    when = latest.datetime.timestamp() if latest.datetime else time.time()
    text = f"e->{signal}() {start}->{end}"
    return [Step("trace", when, text, signal, start, end, *_ids(mark))]


def _ids(mark: Mark | None) -> tuple[str | None, str | None]:
    return (mark.id, mark.cause) if mark else (None, None)
