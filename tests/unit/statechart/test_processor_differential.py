"""The event processor beside that of miros: of any chart the same is seen, text for text."""

from __future__ import annotations

import threading
from datetime import datetime, tzinfo
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from miros import ActiveObject, Event, Factory, hsm, return_status, spy_on

from miros_mesh import NetworkedActiveObject, NetworkedFactory
from miros_mesh.charts.deferred import DeferredEvents
from miros_mesh.charts.fifo import ChartQueue
from miros_mesh.statechart.safe_chart import SafeChart
from miros_mesh.testing.memory import MemoryMesh
from support.random_hierarchies import Actor, Spec, outcome, played, seen_of, specs, stripped


class Unthreaded(Actor):
    """Its steps are run by the test."""

    def run_event(self, task_event: Any, fabric_task_event: Any, queue: Any) -> None:
        """End at once."""


class Stock(Unthreaded, ActiveObject):
    """miros' own."""


class StockFactory(Unthreaded, Factory):
    """miros' own."""


class Ours(Unthreaded, SafeChart):
    """The library's, with miros' queue."""


class OursFactory(Unthreaded, SafeChart, Factory):
    """The library's, with miros' queue."""


class Queued(Ours):
    """The library's, with the queues of a networked chart."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.queue = self.locking_deque = queue = ChartQueue(lambda _: None)
        self.defer_queue = DeferredEvents(
            queue.deferring, queue.recalled, lost=lambda _: None, dropped=lambda _: None
        )


class QueuedFactory(Queued, Factory):
    """The library's, with the queues of a networked chart."""


def assert_alike(spec: Spec, *, queued: bool) -> None:
    """Run both, and compare them at each step."""
    factory = spec.style == "factory"
    mine: Any
    if queued:
        mine = QueuedFactory("chart") if factory else Queued("chart")
    else:
        mine = OursFactory("chart") if factory else Ours("chart")
    stock: Any = StockFactory("chart") if factory else Stock("chart")
    # A chart of the network posts copies, which say what has caused them.
    mine.identity = stock.identity = not queued
    for ours, theirs in zip(played(mine, spec), played(stock, spec), strict=True):
        assert ours == theirs


_quick = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("queued", [False, True])
@settings(_quick, max_examples=250)
@given(spec=specs())
def test_any_chart_is_seen_to_do_what_it_does_with_miros_own(queued: bool, spec: Spec) -> None:
    assert_alike(spec, queued=queued)


@pytest.mark.parametrize("kind", [Stock, Ours])
def test_what_a_callback_of_the_trace_turns_off_is_not_shown(kind: Any) -> None:
    @spy_on
    def alone(chart: Any, event: Event) -> Any:
        if event.signal_name == "GO":
            return chart.trans(alone)
        chart.temp.fun = chart.top
        return return_status.SUPER

    def trace(_: str) -> None:
        shown.append("trace")
        chart.instrumented = False

    shown: list[str] = []
    chart = kind("chart")
    # Of the spec nothing is used.
    chart.calls, chart.spec = 0, None
    chart.start_at(alone)
    chart.live_spy = chart.live_trace = True
    chart.live_trace_callback, chart.live_spy_callback = trace, shown.append
    chart.post_fifo(Event(signal="GO"))
    chart.next_rtc()

    assert shown == ["trace"]


@pytest.mark.parametrize("kind", [Stock, Ours])
def test_a_clock_that_a_test_has_stopped_stands_still_in_the_trace(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Stopped:
            return cls(2000, 1, 1, tzinfo=tz)

    @spy_on
    def alone(chart: Any, event: Event) -> Any:
        if event.signal_name == "GO":
            return chart.trans(alone)
        chart.temp.fun = chart.top
        return return_status.SUPER

    # As programs do that replace the class in every module that has it.
    monkeypatch.setattr(hsm, "stdlib_datetime", Stopped)
    chart = kind("chart")
    chart.calls, chart.spec = 0, None
    chart.start_at(alone)
    chart.post_fifo(Event(signal="GO"))
    chart.next_rtc()

    when = "[2000-01-01 00:00:00.000000]"
    assert chart.trace().splitlines()[1:] == [
        f"{when} [chart] e->start_at() top->alone",
        f"{when} [chart] e->GO() alone->alone",
    ]


class Threaded(Actor):
    """Its own thread runs its steps, once all is posted."""

    identity = False

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.posted, self.idle = threading.Event(), threading.Event()
        self.steps: list[dict[str, Any]] = []

    def next_rtc(self: Any) -> bool:
        """Note what is seen after each step; no handler ends the chart."""
        self.posted.wait()
        self.calls = 0
        self.steps.append({"step": outcome(super().next_rtc), **seen_of(self)})
        if len(self.queue) == 0:
            self.idle.set()
        return True


class StockThreaded(Threaded, ActiveObject):
    """miros' own."""


class StockThreadedFactory(Threaded, Factory):
    """miros' own."""


class Networked(Threaded, NetworkedActiveObject):
    """A chart on the mesh."""


class NetworkedFactoryChart(Threaded, NetworkedFactory):
    """A chart on the mesh."""


def run_to_rest(chart: Any, spec: Spec) -> tuple[Any, list[dict[str, Any]], list[str]]:
    """Start a chart, post all events, and wait until it rests; what was seen and shown."""
    shown: list[str] = []
    chart.prepare(spec)
    chart.register_live_spy_callback(lambda line: shown.append(stripped(line)))
    chart.register_live_trace_callback(lambda line: shown.append(stripped(line)))
    try:
        started = outcome(lambda: chart.start_at(chart.place(spec.start)))
        if started is None:
            for signal, how in spec.events:
                post = chart.post_lifo if how == "lifo" else chart.post_fifo
                post(Event(signal=signal, payload=how))
            chart.posted.set()
            assert chart.idle.wait(60)
            # The writer of miros, which all charts of a process have together.
            chart.writer._queue.join()
        return started, list(chart.steps), shown
    finally:
        chart.posted.set()
        if chart.thread:
            chart.stop()


@settings(_quick, max_examples=15)
@given(spec=specs())
def test_so_it_is_with_charts_on_the_mesh_and_their_threads(spec: Spec) -> None:
    config = MemoryMesh().config(node_name="one")
    if spec.style == "factory":
        ours = run_to_rest(NetworkedFactoryChart("chart", config=config), spec)
        theirs = run_to_rest(StockThreadedFactory("chart"), spec)
    else:
        ours = run_to_rest(Networked("chart", config=config), spec)
        theirs = run_to_rest(StockThreaded("chart"), spec)
    assert ours == theirs


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("queued", [False, True])
@settings(_quick, max_examples=10_000)
@given(spec=specs())
def test_so_do_twenty_thousand(queued: bool, spec: Spec) -> None:
    assert_alike(spec, queued=queued)
