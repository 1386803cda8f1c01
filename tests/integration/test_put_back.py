"""Dead letters of real refusals: put back when the reason is gone, and handled once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from miros import Event

from miros_mesh import NetworkedActiveObject
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.dead_letters.letter import Letter
from support.charts_at_work import KEY, OTHER_KEY, Ground, Heard, Launch, event
from support.waiting import wait_until


class Fragile:
    """A handler that fails over one signal until it is repaired."""

    def __init__(self, signal: str) -> None:
        self.heard = Heard()
        self.repaired = False
        self._signal = signal

    def __call__(self, chart: NetworkedActiveObject, event: Event) -> None:
        if event.signal_name == self._signal and not self.repaired:
            raise ZeroDivisionError("hush")
        self.heard(chart, event)


@pytest.fixture
def listed(ground: Ground) -> Callable[[int], tuple[Letter, ...]]:
    """The letters of the mesh, once there are so many."""

    def letters(count: int) -> tuple[Letter, ...]:
        found: list[Letter] = []

        def enough() -> bool:
            with DeadLetters(ground.make()) as box:
                found[:] = box.list()
            return len(found) == count

        wait_until(enough)
        return tuple(found)

    return letters


def test_what_a_handler_refused_is_handled_once_when_it_is_repaired(
    ground: Ground, launch: Launch, listed: Callable[[int], tuple[Letter, ...]]
) -> None:
    # Given a chart that fails over one event, and another one that hears the same
    door, window = Fragile("knock"), Heard()
    launch("door", ground.node("house"), door, on_handler_error="dead_letter")
    launch("window", ground.node("shed"), window)
    bell = launch("bell", ground.node("street"))
    for number in range(3):
        bell.transmit(event("ring", number))
        bell.transmit(event("knock", number))
    wait_until(lambda: len(window) == 6 and len(door.heard) == 3)

    # When it is repaired, and what it refused is put back
    letters = listed(3)
    assert {(e.signal, e.reason, e.detail, e.chart, e.node) for e in letters} == {
        ("knock", "handler", "ZeroDivisionError", "door", "house")
    }
    assert {(e.sender_chart, e.sender_node, e.content) for e in letters} == {
        ("bell", "street", "event")
    }
    door.repaired = True
    with DeadLetters(ground.make()) as box:
        assert [box.payload(each) for each in letters] == [0, 1, 2]
        assert [each.error for each in box.retry_all()] == [None] * 3

    # Then it handles each of them once, in order, and the other chart none of them again
    bell.transmit(event("last"))
    wait_until(lambda: ("last", None) in window and ("last", None) in door.heard)
    wait_until(lambda: len(door.heard) == 7)
    assert [e for e in door.heard if e[0] == "knock"] == [("knock", n) for n in range(3)]
    assert len(window) == 7
    assert listed(0) == ()


def test_what_is_refused_again_is_a_new_letter(
    ground: Ground, launch: Launch, listed: Callable[[int], tuple[Letter, ...]]
) -> None:
    door = Fragile("knock")
    launch("door", ground.node("house"), door, on_handler_error="dead_letter")
    launch("bell", ground.node("street")).transmit(event("knock", 1))
    (first,) = listed(1)
    with DeadLetters(ground.make()) as box:
        box.retry(first)
        wait_until(lambda: [each.id for each in box.list()] not in ([], [first.id]))
        (again,) = box.list()
        assert again.signal == "knock"
        door.repaired = True
        box.retry(again)
    wait_until(lambda: door.heard == [("knock", 1)])
    assert listed(0) == ()


@pytest.mark.parametrize("ground", ["rabbitmq"], indirect=True)
def test_a_frame_of_an_unknown_key_is_handled_once_its_chart_has_the_key(
    ground: Ground, launch: Launch
) -> None:
    # Given a chart that has not the sender's key
    house = ground.node("house")
    door = launch("door", house)
    bell = launch("bell", ground.node("street").overridden(mesh_encryption_key=OTHER_KEY))
    bell.transmit(event("knock", 1))
    with DeadLetters(ground.make()) as box:
        # The goodbye of the door is a letter of the bell, and sealed for us.
        wait_until(lambda: box.list(chart="door"))
        door.stop()
        assert {(e.content, e.reason) for e in box.list(chart="door")} == {
            ("frame", "undecryptable")
        }

        # When it comes back with both keys, and the frame is put back
        heard = Heard()
        launch("door", house.overridden(mesh_encryption_key=(KEY, OTHER_KEY)), heard)
        assert not [each.error for each in box.retry_all(chart="door") if each.error]

        # Then it handles what is in it
        wait_until(lambda: heard == [("knock", 1)])
        assert box.list(chart="door") == ()
