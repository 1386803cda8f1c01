"""Assertions over what a chart did, and failures that say what it did instead."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from miros import Event, return_status, signals, spy_on

from miros_mesh import NetworkedActiveObject, NetworkedFactory
from miros_mesh.testing import MemoryMesh, assert_spy, assert_trace, state_is
from support.charts_at_work import Heard, alone


@spy_on
def dark(lamp: Any, event: Event) -> Any:
    if event.signal == signals.switch_on:
        return lamp.trans(lit)
    lamp.temp.fun = lamp.top
    return return_status.SUPER


@spy_on
def lit(lamp: Any, event: Event) -> Any:
    if event.signal == signals.switch_off:
        return lamp.trans(dark)
    lamp.temp.fun = lamp.top
    return return_status.SUPER


@pytest.fixture
def lamp(mesh: MemoryMesh) -> Iterator[NetworkedActiveObject]:
    chart = NetworkedActiveObject("lamp", config=mesh.config())
    chart.start_at(dark)
    yield chart
    chart.stop()


@pytest.fixture
def switch(mesh: MemoryMesh, lamp: NetworkedActiveObject) -> Callable[[str], None]:
    def post(signal: str) -> None:
        lamp.post_fifo(Event(signal=signal))
        mesh.settle()

    return post


def test_a_trace_is_compared_without_times_and_indentation(
    lamp: NetworkedActiveObject, switch: Callable[[str], None]
) -> None:
    switch("switch_on")
    assert_trace(
        lamp,
        """
        e->start_at() top->dark

          e->switch_on() dark->lit
        """,
    )
    assert_trace(lamp, "[lamp] e->start_at() top->dark\n[lamp] e->switch_on() dark->lit")
    # As it was copied from a terminal, and from another time
    trace = lamp.trace()
    assert trace
    assert_trace(lamp, re.sub(r"\d\d:\d\d:\d\d", "11:22:33", trace))


def test_another_trace_is_shown_line_by_line(
    lamp: NetworkedActiveObject, switch: Callable[[str], None]
) -> None:
    switch("switch_on")
    with pytest.raises(AssertionError) as failed:
        assert_trace(lamp, "e->start_at() top->dark\ne->switch_on() dark->dark")
    lines = str(failed.value).splitlines()
    assert lines[0].startswith("chart lamp made other transitions")
    assert "- e->switch_on() dark->dark" in lines
    assert "+ e->switch_on() dark->lit" in lines
    assert "  e->start_at() top->dark" in lines


def test_the_name_of_another_chart_is_a_difference(lamp: NetworkedActiveObject) -> None:
    with pytest.raises(AssertionError, match="other transitions"):
        assert_trace(lamp, "[candle] e->start_at() top->dark")


def test_a_trace_begins_anew_when_it_is_cleared(
    lamp: NetworkedActiveObject, switch: Callable[[str], None]
) -> None:
    lamp.clear_trace()
    assert_trace(lamp, "")
    switch("switch_on")
    assert_trace(lamp, "e->switch_on() dark->lit")


def test_steps_are_compared(lamp: NetworkedActiveObject, switch: Callable[[str], None]) -> None:
    lamp.clear_spy()
    switch("hum")
    assert_spy(lamp, "hum:dark\n<- Queued:(0) Deferred:(0)")
    with pytest.raises(AssertionError, match=r"other steps .*\n\+ hum:dark\n  <- Queued"):
        assert_spy(lamp, "<- Queued:(0) Deferred:(0)")


def test_a_chart_without_a_spy_has_nothing_to_compare(mesh: MemoryMesh) -> None:
    chart = NetworkedActiveObject("blind", config=mesh.config())
    chart.start_at(alone(Heard(), spied=False))
    try:
        for compare in (assert_trace, assert_spy):
            with pytest.raises(AssertionError, match="spy_on"):
                compare(chart, "e->start_at() top->dark")
        with pytest.raises(AssertionError, match=r"is in listening and not in lit after 0 s$"):
            state_is(chart, "lit", timeout_s=0)
        state_is(chart, "listening")
    finally:
        chart.stop()


def test_a_state_is_waited_for(lamp: NetworkedActiveObject) -> None:
    state_is(lamp, "dark", timeout_s=0)
    later = threading.Timer(0.02, lambda: lamp.post_fifo(Event(signal="switch_on")))
    later.start()
    state_is(lamp, lit)
    later.join()


def test_a_state_that_does_not_come_is_told_with_the_way_to_the_one_that_did(
    lamp: NetworkedActiveObject, switch: Callable[[str], None]
) -> None:
    switch("switch_on")
    with pytest.raises(AssertionError) as failed:
        state_is(lamp, dark, timeout_s=0.01)
    first, *last = str(failed.value).splitlines()
    assert first == "chart lamp is in lit and not in dark after 0.01 s; its last transitions:"
    assert [line.partition("] ")[2] for line in last] == [
        "[lamp] e->start_at() top->dark",
        "[lamp] e->switch_on() dark->lit",
    ]


def test_states_of_a_factory_have_their_names(mesh: MemoryMesh) -> None:
    chart = NetworkedFactory("door", config=mesh.config())
    shut = (
        chart.create(state="shut")
        .catch(signal=signals.knock, handler=lambda _chart, _event: return_status.HANDLED)
        .to_method()
    )
    chart.nest(shut, parent=None)
    chart.start_at(shut)
    try:
        state_is(chart, "shut")
        state_is(chart, shut)
        assert_trace(chart, "e->start_at() top->shut")
    finally:
        chart.stop()
