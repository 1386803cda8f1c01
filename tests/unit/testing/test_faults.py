"""Faults by script: what they do to real frames, and that the library holds its promises."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from miros import Event

from miros_mesh import NetworkedActiveObject
from miros_mesh.errors import RoutingKeyError
from miros_mesh.testing import Fault, HandClock, MemoryMesh, SentEvent
from miros_mesh.wire.keyring import generate_key
from support.charts_at_work import Heard

FEW = 6
LIMIT_S = 10.0


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def a(
    mesh: MemoryMesh, join: Callable[..., NetworkedActiveObject], heard: Heard
) -> NetworkedActiveObject:
    """Who sends; `b` knows it, and has handled what is in `heard`."""
    join("b", heard)
    return known(mesh, join("a", Heard()), heard)


def known(mesh: MemoryMesh, a: NetworkedActiveObject, heard: Heard) -> NetworkedActiveObject:
    # A stream begins with the first event that is heard of it.
    send(a, "first")
    mesh.settle()
    heard.clear()
    return a


def send(chart: NetworkedActiveObject, *payloads: Any, signal: str = "ping") -> None:
    for payload in payloads:
        chart.transmit(Event(signal=signal, payload=payload))


def test_without_a_script_all_comes(mesh: MemoryMesh, a: Any, heard: Heard) -> None:
    send(a, *range(FEW))
    mesh.settle()
    assert heard.payloads == list(range(FEW))


def test_what_is_lost_comes_late_and_in_its_place(mesh: MemoryMesh, a: Any, heard: Heard) -> None:
    lost = mesh.faults.lose("ping", times=1)
    send(a, 1)
    mesh.settle()
    assert heard == []
    assert [(each.signal, each.payload, each.sender) for each in lost.struck] == [
        ("ping", 1, "a/a")
    ]
    # The next event shows that one is missing, which the library asks for
    send(a, 2)
    mesh.settle()
    assert heard.payloads == [1, 2]


def test_a_sender_learns_nothing_of_a_loss(mesh: MemoryMesh, a: Any) -> None:
    mesh.faults.lose()
    send(a, 1)
    mesh.settle()
    report = a.stop()
    assert (report.confirmed, report.left_over) == (2, 0)


def test_what_comes_twice_is_handled_once(mesh: MemoryMesh, a: Any, heard: Heard) -> None:
    doubled = mesh.faults.double("ping")
    send(a, *range(FEW))
    mesh.settle()
    assert heard.payloads == list(range(FEW))
    assert len(doubled.struck) == FEW


def test_what_changes_places_is_handled_in_order(mesh: MemoryMesh, a: Any, heard: Heard) -> None:
    mesh.faults.reorder("ping", of=3)
    send(a, *range(FEW))
    mesh.settle()
    assert heard.payloads == list(range(FEW))


def test_what_waits_for_the_last_of_its_group_comes_when_that_is_lifted(
    mesh: MemoryMesh, a: Any, heard: Heard
) -> None:
    fault = mesh.faults.reorder(of=3)
    send(a, 1, 2)
    mesh.settle()
    assert heard == []
    fault.lift()
    mesh.settle()
    assert heard.payloads == [1, 2]


def test_a_delay_goes_by_the_clock(
    mesh: MemoryMesh, clock: HandClock, a: Any, heard: Heard
) -> None:
    mesh.faults.delay("ping", by_s=5, times=1)
    send(a, 1)
    mesh.advance(4.9)
    assert heard == []
    mesh.advance(0.1)
    assert heard.payloads == [1]
    assert clock.timers == 0


def test_what_comes_after_it_was_asked_for_is_a_copy(
    mesh: MemoryMesh, a: Any, heard: Heard
) -> None:
    mesh.faults.delay("ping", by_s=5, times=1)
    send(a, 1, 2)
    mesh.settle()
    assert heard.payloads == [1, 2]
    mesh.advance(5)
    assert heard.payloads == [1, 2]


def test_a_delay_needs_a_clock() -> None:
    with pytest.raises(ValueError, match="HandClock"):
        MemoryMesh().faults.delay(by_s=1)


def test_what_is_held_comes_in_order_when_it_is_let_go(
    mesh: MemoryMesh, a: Any, heard: Heard
) -> None:
    fault = mesh.faults.hold("ping")
    send(a, *range(FEW))
    mesh.settle()
    assert heard == []
    mesh.faults.lift()
    send(a, FEW)
    mesh.settle()
    assert heard.payloads == list(range(FEW + 1))
    assert len(fault.struck) == FEW


@pytest.mark.parametrize(
    "chosen",
    [
        {"what": "ping"},
        {"what": lambda event: event.signal == "ping" and event.payload == "meant"},
        {"sender": "a"},
        {"sender": "a/a"},
        {"topic": "miros.mesh"},
        {"topic": "miros.#"},
        {"to": ""},
        {},
    ],
)
def test_an_event_that_is_meant_is_met(mesh: MemoryMesh, a: Any, chosen: dict[str, Any]) -> None:
    lost = mesh.faults.lose(**chosen)
    send(a, "meant")
    mesh.settle()
    assert [each.payload for each in lost.struck] == ["meant"]


@pytest.mark.parametrize(
    "chosen",
    [
        {"what": "pong"},
        {"what": lambda event: event.payload != "spared"},
        {"sender": "b"},
        {"sender": "a/b"},
        {"topic": "miros"},
        {"what": "ping", "sender": "b"},
        {"to": "b/b"},
        {"times": 0},
    ],
)
def test_an_event_that_is_not_meant_is_spared(
    mesh: MemoryMesh, a: Any, heard: Heard, chosen: dict[str, Any]
) -> None:
    lost = mesh.faults.lose(**chosen)
    send(a, "spared")
    mesh.settle()
    assert not lost.struck
    assert heard.payloads == ["spared"]


@pytest.mark.parametrize(
    ("chosen", "met"),
    [
        ({"to": "b/b"}, True),
        ({"what": lambda event: event.to == "b/b" and not event.topic}, True),
        ({"sender": "a/a"}, True),
        ({"to": "a/a"}, False),
        # It has no topic that others could hear
        ({"topic": "#"}, False),
    ],
)
def test_an_event_for_one_chart_alone_is_met_too(
    mesh: MemoryMesh, a: Any, heard: Heard, chosen: dict[str, Any], met: bool
) -> None:
    held = mesh.faults.hold(**chosen)
    a.transmit(Event(signal="ping", payload=1), to="b/b")
    mesh.settle()
    assert (len(held.struck), heard.payloads) == ((1, []) if met else (0, [1]))
    held.lift()
    mesh.settle()
    assert heard.payloads == [1]


def test_each_event_meets_one_fault_the_first_that_is_for_it(
    mesh: MemoryMesh, a: Any, heard: Heard
) -> None:
    first, second = mesh.faults.hold("ping", times=1), mesh.faults.lose(times=1)
    send(a, 1, 2)
    mesh.settle()
    assert heard == []
    assert [[each.payload for each in fault.struck] for fault in (first, second)] == [[1], [2]]


def test_a_fault_that_is_lifted_strikes_no_more(mesh: MemoryMesh, a: Any, heard: Heard) -> None:
    lost = mesh.faults.lose("ping")
    send(a, 1)
    mesh.settle()
    lost.lift()
    send(a, 2)
    mesh.settle()
    assert len(lost.struck) == 1
    assert heard.payloads == [1, 2]


def test_what_a_function_of_the_script_raises_is_raised_to_the_test(
    mesh: MemoryMesh, a: Any, heard: Heard
) -> None:
    def wrong(event: SentEvent) -> bool:
        raise LookupError(event.signal)

    mesh.faults.lose(wrong)
    send(a, 1)
    with pytest.raises(LookupError, match="ping"):
        mesh.settle()
    assert heard.payloads == [1]
    mesh.settle()


def test_a_pattern_that_is_none_is_refused_where_it_is_written(mesh: MemoryMesh) -> None:
    with pytest.raises(RoutingKeyError):
        mesh.faults.lose(topic="a" * 300)


def test_the_words_of_the_library_are_spared(
    mesh: MemoryMesh, join: Callable[..., NetworkedActiveObject]
) -> None:
    lost = mesh.faults.lose()
    join("c", Heard()).stop()
    mesh.settle()
    assert not lost.struck


def test_nodes_with_keys_of_their_own_are_met_too(mesh: MemoryMesh, a: Any) -> None:
    a.change_mesh_encryption_key(generate_key())
    lost = mesh.faults.lose("ping")
    send(a, 1)
    mesh.settle()
    assert len(lost.struck) == 1


def test_of_a_frame_of_several_events_those_are_harmed_that_are_meant(
    mesh: MemoryMesh, join: Callable[..., NetworkedActiveObject], heard: Heard
) -> None:
    join("b", heard)
    a = known(mesh, join("a", Heard()), heard)
    # Given a publisher that is held up by the first event, while a frame fills behind it
    full = threading.Event()
    held = mesh.faults.hold(lambda event: full.wait(LIMIT_S) and event.payload in (3, 5))
    send(a, *range(FEW))
    full.set()
    mesh.settle()
    # Then the rest comes, with what lies between since that was asked for
    assert heard.payloads == [0, 1, 2, 3, 4]
    assert [each.payload for each in held.struck] == [3, 5]
    mesh.faults.lift()
    mesh.settle()
    assert heard.payloads == list(range(FEW))


FAULTS: dict[str, Callable[[MemoryMesh], Fault]] = {
    "lose": lambda mesh: mesh.faults.lose("ping", times=2),
    "double": lambda mesh: mesh.faults.double("ping", times=2),
    "delay": lambda mesh: mesh.faults.delay("ping", by_s=0.5, times=2),
    "reorder": lambda mesh: mesh.faults.reorder("ping", of=2),
}


@pytest.mark.parametrize("order", list(itertools.permutations(FAULTS)), ids="-".join)
def test_each_event_is_handled_once_and_in_order_whatever_the_broker_does(
    mesh: MemoryMesh, a: Any, heard: Heard, order: tuple[str, ...]
) -> None:
    for kind in order:
        FAULTS[kind](mesh)
    send(a, *range(12))
    # Something that no fault meets, by which a loss at the end is noticed
    send(a, "end", signal="end")
    mesh.settle()
    mesh.advance(1)
    assert heard.payloads == [*range(12), "end"]
