"""A mesh is at rest when nothing is on its way and no chart has anything to do, and not before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from miros import Event

from miros_mesh import MeshClient, NetworkedActiveObject
from miros_mesh.testing import HandClock, MemoryMesh
from support.charts_at_work import Heard, alone

LIMIT_S = 10.0
ROUNDS, FEW = 200, 20

Join = Callable[..., NetworkedActiveObject]


def ping(number: int) -> Event:
    return Event(signal="ping", payload=number)


def test_an_empty_mesh_is_at_rest(mesh: MemoryMesh) -> None:
    mesh.settle(0)


def test_events_that_cause_events_are_waited_for_to_the_last(mesh: MemoryMesh, join: Join) -> None:
    heard: list[int] = []

    def answer(chart: NetworkedActiveObject, event: Event) -> None:
        heard.append(event.payload)
        if event.payload:
            chart.transmit(ping(event.payload - 1))

    a = join("a", answer)
    join("b", answer)
    for _ in range(5):
        heard.clear()
        a.transmit(ping(20))
        mesh.settle()
        assert heard == list(range(20, -1, -1))


def test_local_events_and_published_ones_are_waited_for(mesh: MemoryMesh, join: Join) -> None:
    heard = Heard()

    def pass_on(chart: NetworkedActiveObject, event: Event) -> None:
        step = {"first": chart.post_fifo, "second": chart.publish, "third": chart.transmit}
        if act := step.get(event.signal_name):
            names = [*step, "last"]
            following = names[names.index(event.signal_name) + 1]
            act(Event(signal=following, payload=event.payload))

    a = join("a", pass_on)
    a.subscribe(Event(signal="third"))
    join("b", heard)
    for number in range(ROUNDS):
        a.post_fifo(Event(signal="first", payload=number))
        mesh.settle()
        assert heard == [("last", number)]
        heard.clear()


def test_a_handler_that_is_at_work_is_waited_for(mesh: MemoryMesh, join: Join) -> None:
    at_work, go = threading.Event(), threading.Event()

    def work(_: NetworkedActiveObject, __: Event) -> None:
        at_work.set()
        assert go.wait(LIMIT_S)

    a = join("a", work)
    a.post_fifo(ping(1))
    assert at_work.wait(LIMIT_S)
    with pytest.raises(AssertionError, match=r"not at rest within 0\.01 s: 1 event.* a/a"):
        mesh.settle(0.01)
    go.set()
    mesh.settle()


def test_a_callback_in_place_of_a_chart_is_waited_for(mesh: MemoryMesh, join: Join) -> None:
    heard: list[Any] = []
    probe = NetworkedActiveObject(
        "probe",
        config=mesh.config(node_name="probe"),
        on_mesh_rx=lambda event: heard.append(event.payload),
    )

    a = join("a", Heard())
    probe.start_at(alone(Heard()))
    try:
        for number in range(ROUNDS):
            a.transmit(ping(number))
        mesh.settle()
        assert heard == list(range(ROUNDS))
    finally:
        probe.stop()


def test_what_a_chart_has_deferred_is_not_waited_for(mesh: MemoryMesh, join: Join) -> None:
    def put_off(chart: NetworkedActiveObject, event: Event) -> None:
        if event.signal_name == "ping":
            chart.defer(event)
        elif event.signal_name == "recall":
            chart.recall()

    a, b = join("a", put_off), join("b", Heard())
    for number in range(FEW):
        b.transmit(ping(number))
    mesh.settle()
    assert len(a.defer_queue) == FEW
    # And what it recalls is waited for
    a.post_fifo(Event(signal="recall"))
    mesh.settle()
    assert len(a.defer_queue) == FEW


def test_what_waits_for_a_client_to_ask_is_not_waited_for(mesh: MemoryMesh, join: Join) -> None:
    a = join("a", Heard())
    with MeshClient(mesh.config(node_name="client")) as client, client.events("#") as events:
        for number in range(FEW):
            a.transmit(ping(number))
        mesh.settle()
        # All have come: none of these waits for anything
        assert [next(events).payload for _ in range(FEW)] == list(range(FEW))
        mesh.settle()


def test_the_question_of_a_client_is_answered_at_rest(mesh: MemoryMesh, join: Join) -> None:
    def answer(chart: NetworkedActiveObject, event: Event) -> None:
        chart.reply(Event(signal="pong", payload=event.payload))

    join("a", answer)
    with MeshClient(mesh.config(node_name="client")) as client:
        assert client.request(ping(7), to="a/a", timeout_s=LIMIT_S).payload == 7
        mesh.settle()


def test_other_meshes_are_not_waited_for(join: Join, clock: HandClock) -> None:
    at_work, go = threading.Event(), threading.Event()

    def work(_: NetworkedActiveObject, __: Event) -> None:
        at_work.set()
        assert go.wait(LIMIT_S)

    join("a", work).post_fifo(ping(1))
    assert at_work.wait(LIMIT_S)
    MemoryMesh().settle(0)
    go.set()


def test_a_mesh_without_a_clock_is_not_advanced() -> None:
    with pytest.raises(ValueError, match="HandClock"):
        MemoryMesh().advance(1)


@pytest.mark.parametrize(
    "how",
    [
        {"group_mode": "standby"},
        {"group_mode": "share"},
        {"group_mode": "share", "partition_by": lambda event: event.payload % 7},
    ],
    ids=["standby", "share", "partition_by"],
)
def test_what_a_group_is_sent_is_waited_for_until_a_member_has_handled_it(
    how: dict[str, Any], mesh: MemoryMesh, join: Join
) -> None:
    heard: list[int] = []
    members = [
        NetworkedActiveObject(
            "till", config=mesh.config(node_name=name), rx_routing_key="orders", group="g", **how
        )
        for name in ("one", "two")
    ]
    for member in members:
        member.start_at(alone(lambda _, event: heard.append(event.payload)))
    try:
        shop = join("shop", Heard())
        for number in range(FEW):
            shop.transmit(ping(number), routing_key="orders")
            mesh.settle()
            assert heard == list(range(number + 1))
    finally:
        for member in members:
            member.stop()
