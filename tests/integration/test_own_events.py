"""A chart's own events: what there is no place for is told, and takes nothing of the network's."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from miros import Event

from miros_mesh import NetworkedActiveObject
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import Ground, Launch, Recorder, event
from support.waiting import wait_until

PLACES = 500


class Gated:
    """Handles nothing before the gate is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.heard: list[tuple[str, Any]] = []

    def __call__(self, _: NetworkedActiveObject, received: Event) -> None:
        self.gate.wait(60)
        self.heard.append((received.signal_name, received.payload))

    def of(self, signal: str) -> list[Any]:
        return [payload for name, payload in self.heard if name == signal]


@pytest.fixture
def memory() -> Ground:
    return Ground(MemoryMesh().config)


def test_own_events_that_find_no_place_are_counted_and_logged_once(
    memory: Ground, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    gated, told = Gated(), Recorder()
    chart = launch("busy", memory.node("one", observers=(told,)), gated)
    sender = launch("sender", memory.node("two"))
    chart.post_fifo(event("first"))
    for number in range(20):
        sender.transmit(event("afar", number))
    wait_until(lambda: len(chart.queue) == 20)
    # When 600 are posted into a chart that handles none
    for number in range(600):
        chart.post_fifo(event("own", number))
    for number in range(10):
        chart.post_lifo(event("urgent", number))
    gated.gate.set()
    # Then what was handled and what was told is all there was, and what came from afar is whole
    wait_until(lambda: len(gated.of("afar")) == 20)
    wait_until(lambda: len(chart.queue) == 0)
    lost = sum(events for network, reason, events in told.drops if reason == "chart_full")
    handled = len(gated.of("own")) + len(gated.of("urgent"))
    assert handled + lost == 610
    assert lost >= 610 - PLACES
    assert gated.of("afar") == list(range(20))
    assert caplog.text.count("its FIFO is full") == 1


def test_own_events_beyond_those_that_may_be_deferred_are_counted(
    memory: Ground, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    told = Recorder()

    def put_off(chart: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == "later":
            chart.defer(received)

    chart = launch("busy", memory.node("one", observers=(told,)), put_off)
    for number in range(PLACES + 3):
        chart.post_fifo(event("later", number))
        wait_until(lambda: len(chart.queue) == 0)
    wait_until(lambda: told.drops == [("chart", "chart_full", 1)] * 3)
    assert [each.payload for each in chart.defer_queue] == list(range(3, PLACES + 3))


def test_a_chart_without_spy_on_is_told_what_it_lacks(
    memory: Ground, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    bare = launch("bare", memory.node("one"), spied=False)
    assert "@spy_on" not in caplog.text
    bare.enable_snoop_trace_no_color()
    bare.post_fifo(event("own"))
    bare.post_fifo(event("own"))
    wait_until(lambda: caplog.text.count("put @spy_on above each") == 1)
    assert all(each.levelno <= logging.WARNING for each in caplog.records)


def test_an_unspied_chart_publishes_and_subscribes(memory: Ground, launch: Launch) -> None:
    gated = Gated()
    gated.gate.set()
    one = launch("one", memory.node("one"), gated, spied=False)
    two = launch("two", memory.node("two"), spied=False)
    one.subscribe(event("NEWS"))
    two.publish(event("NEWS", 1))
    wait_until(lambda: gated.of("NEWS") == [1])


def test_a_timer_of_a_received_event_is_cancelled(memory: Ground, launch: Launch) -> None:
    """A name off the wire, and one that the program has made, are equal and not the same."""
    ticks = list[int]()

    def ticking(chart: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == "start":
            chart.post_fifo(event("".join(("ti", "ck"))), period=0.01)
        elif received.signal_name == "tick":
            ticks.append(1)
            if len(ticks) == 3:
                chart.cancel_events(received)

    chart = launch("ticking", memory.node("one"), ticking)
    sender = launch("sender", memory.node("two"))
    sender.transmit(event("tick"))
    sender.transmit(event("start"))
    wait_until(lambda: len(ticks) >= 3)
    wait_until(lambda: not chart.posted_events_queue)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_chart_that_has_stopped_or_died_hears_nothing_more(
    memory: Ground, launch: Launch
) -> None:
    def fragile(_: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == "POISON":
            raise ValueError("poison")

    stopped, dead = (
        launch("stopped", memory.node("one")),
        launch("dead", memory.node("two"), fragile),
    )
    for chart in (stopped, dead):
        chart.subscribe(event("NEWS"))
    stopped.stop()
    dead.post_fifo(event("POISON"))
    wait_until(lambda: not (stopped.subscribed(event("NEWS")) or dead.subscribed(event("NEWS"))))
