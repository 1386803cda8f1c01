"""What a chart tells the snoop networks, and how it shows what the others tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

from miros import ActiveObject

from miros_mesh.charts.fifo import ChartQueue, Mark
from miros_mesh.networks.snoop.records import SnoopNetwork, Step
from miros_mesh.node.node import Node
from miros_mesh.wire.envelope import ChartStatus, SnoopRecord

Stream = Literal["trace", "spy"]
SnoopCallback = Callable[[SnoopRecord], None]


class ChartSnoop:
    """The snoop streams that one chart takes part in."""

    def __init__(
        self,
        chart: ActiveObject,
        queue: ChartQueue,
        callbacks: dict[Stream, SnoopCallback | None],
    ) -> None:
        self._chart = chart
        self._queue = queue
        self._callbacks = callbacks
        self._colors: dict[Stream, bool] = {}
        self._node: Node | None = None
        self._last_trace: object = None

    def enable(self, stream: Stream, *, color: bool) -> None:
        """Take part in a stream; at once when the chart has started."""
        self._colors[stream] = color
        if self._node:
            self._watch(self._node, stream)

    def join(self, node: Node) -> None:
        """The chart starts on this node. Raises the `LinkError` that keeps it from listening."""
        self._node = node
        for stream in self._colors:
            self._watch(node, stream)

    def leave(self) -> None:
        """The chart has stopped."""
        self._node = None

    def scribble(self, text: str, mark: Mark | None) -> None:
        """A note into the trace stream, or the spy stream when only that one is enabled."""
        if self._colors:
            stream: Stream = "trace" if "trace" in self._colors else "spy"
            self._tell(stream, 1, _scribble, text, time.time(), mark)

    def tell_steps(self, mark: Mark | None) -> None:
        """What the last run to completion did."""
        if not self._colors or not self._chart.instrumented:
            return
        if "spy" in self._colors:
            lines = tuple(self._chart.rtc.spy)
            self._tell("spy", len(lines), _spy, lines, time.time(), mark)
        if "trace" in self._colors:
            self._tell_trace(mark)

    def _tell_trace(self, mark: Mark | None) -> None:
        traces = self._chart.full.trace
        if not traces or traces[-1] is self._last_trace:
            return
        self._last_trace = latest = traces[-1]
        self._tell("trace", 1, _trace, latest, mark)

    def _watch(self, node: Node, stream: Stream) -> None:
        callback = self._callbacks[stream]
        printing = node.console.colored if self._colors[stream] else node.console.plain
        watcher = node.console.calling(callback) if callback else printing
        node.take_part(self._chart.name, self._pulse)
        node.watch(_snoop(node, stream), self._chart.name, watcher)

    def _pulse(self) -> ChartStatus:
        chart, queue = self._chart, self._queue
        thread = chart.thread
        # Before its start a chart is in no state.
        state = getattr(chart.state, "fun", None)
        return ChartStatus(
            chart.name,
            getattr(state, "__name__", ""),
            queue.handled,
            queue.last_signal,
            dead=thread is not None and not thread.is_alive(),
        )

    def _tell(
        self, stream: Stream, amount: int, steps: Callable[..., list[Step]], *facts: Any
    ) -> None:
        # Another thread may stop the chart meanwhile.
        if node := self._node:
            node.recorder.record(_snoop(node, stream), self._chart.name, amount, steps, *facts)


def _snoop(node: Node, stream: Stream) -> SnoopNetwork:
    return node.trace if stream == "trace" else node.spy


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
