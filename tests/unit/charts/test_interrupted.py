"""A handler that runs what waits before it is done: miros lets it, and each event is settled."""

from __future__ import annotations

from typing import Any

import pytest
from miros import Event, return_status, spy_on

from miros_mesh import NetworkedActiveObject
from miros_mesh.testing import MemoryMesh
from support.waiting import wait_until


@spy_on
def at_work(chart: Any, event: Event) -> Any:
    if event.signal_name in ("first", "next"):
        begun = chart.received.event_id
        if event.signal_name == "first":
            wait_until(lambda: len(chart.queue) == 3)
            chart.complete_circuit()
            chart.post_fifo(Event(signal="own"))
        chart.told.append((event.payload, begun, chart.received.event_id))
        return return_status.HANDLED
    if event.signal_name == "broken":
        raise ValueError(event.payload)
    if event.signal_name == "own":
        chart.causes.append(chart.queue.current.cause)
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


@pytest.mark.parametrize("third", ["next", "broken"])
def test_what_a_handler_runs_is_settled_and_the_handler_goes_on_with_its_own_event(
    third: str,
) -> None:
    mesh = MemoryMesh()
    sender = NetworkedActiveObject("sender", config=mesh.config(node_name="one"))
    chart: Any = NetworkedActiveObject(
        "chart", config=mesh.config(node_name="two"), on_handler_error="dead_letter"
    )
    chart.told, chart.causes = [], []
    for each in (sender, chart):
        each.start_at(at_work)
    for number, signal in enumerate(("first", "next", third, "next")):
        sender.transmit(Event(signal=signal, payload=number))
    mesh.settle()

    ran = [number for number, _, _ in chart.told]
    assert ran == [number for number in (1, 2, 3, 0) if number != 2 or third == "next"]
    assert all(begun == at_end for _, begun, at_end in chart.told)
    assert chart.causes == [chart.told[-1][1]]
    assert chart.queue.done == chart.queue.handled == 5
    assert chart.stop().unhandled == 0
    sender.stop()
