"""What a chart tells the snoop networks, and how it shows what the others tell."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Literal

from miros import ActiveObject

from miros_mesh.charts.fifo import Mark
from miros_mesh.errors import MeshError
from miros_mesh.networks import Snoop, Step
from miros_mesh.node import Node
from miros_mesh.wire import SnoopRecord

logger = logging.getLogger(__name__)

Stream = Literal["trace", "spy"]
SnoopCallback = Callable[[SnoopRecord], None]


class ChartSnoop:
    """The snoop streams that one chart takes part in."""

    def __init__(self, chart: ActiveObject, callbacks: dict[Stream, SnoopCallback | None]) -> None:
        self._chart = chart
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
            cause = mark.id if mark else None
            self._tell(stream, Step("scribble", time.time(), text, cause=cause))

    def tell_steps(self, mark: Mark | None) -> None:
        """What the last run to completion did."""
        if not self._colors or not self._chart.instrumented:
            return
        if "spy" in self._colors:
            now = time.time()
            for line in list(self._chart.rtc.spy):
                self._tell("spy", _step(mark, kind="spy", time=now, text=line))
        if "trace" in self._colors:
            self._tell_trace(mark)

    def _tell_trace(self, mark: Mark | None) -> None:
        traces = self._chart.full.trace
        if not traces or traces[-1] is self._last_trace:
            return
        latest: Any = traces[-1]
        self._last_trace = latest
        signal = latest.signal or "start_at"
        step = _step(
            mark,
            kind="trace",
            time=latest.datetime.timestamp() if latest.datetime else time.time(),
            text=f"e->{signal}() {latest.start_state}->{latest.end_state}",
            signal=signal,
            from_state=latest.start_state,
            to_state=latest.end_state,
        )
        self._tell("trace", step)

    def _watch(self, node: Node, stream: Stream) -> None:
        callback = self._callbacks[stream]
        printing = node.screen.colored if self._colors[stream] else node.screen.plain
        watcher = node.screen.calling(callback) if callback else printing
        node.watch(_snoop(node, stream), self._chart.name, watcher)

    def _tell(self, stream: Stream, step: Step) -> None:
        """A step that cannot be sent must not end the chart."""
        # Another thread may stop the chart meanwhile.
        node = self._node
        if node is None:
            return
        try:
            _snoop(node, stream).tell(self._chart.name, step)
        except MeshError as error:
            logger.warning("chart %s: a snoop record was not sent: %s", self._chart.name, error)


def _snoop(node: Node, stream: Stream) -> Snoop:
    return node.trace if stream == "trace" else node.spy


def _step(mark: Mark | None, **facts: Any) -> Step:
    return Step(event_id=mark.id if mark else None, cause=mark.cause if mark else None, **facts)
