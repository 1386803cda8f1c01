"""What a chart defers is not handled yet: nothing of it is lost, and nothing acknowledged."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from miros import Event

from miros_mesh import MeshConfig, NetworkedActiveObject
from support.actor import Actor
from support.charts_at_work import KEY, Ground, Heard, Launch, Recorder, event
from support.deferring import BUSY, DROP, FREE, WORK, Worker, busy
from support.waiting import wait_until

MANY = 700
ROOM = 100
FRAMES_AHEAD = 30
STAYS_S = 0.5
DEFERRING = Path(__file__).parent / "programs" / "deferring.py"


@pytest.fixture
def hire() -> Iterator[Callable[[MeshConfig], Worker]]:
    """Start a worker; it stops after the test."""
    with ExitStack() as running:

        def start(config: MeshConfig) -> Worker:
            worker = Worker("worker", config=config)
            worker.start_at(busy)
            running.callback(worker.stop)
            return worker

        yield start


Hire = Callable[[MeshConfig], Worker]


@pytest.mark.parametrize("frame_events", [1, 100])
def test_seven_hundred_deferred_events_are_all_handled_in_order(
    ground: Ground, launch: Launch, hire: Hire, frame_events: int
) -> None:
    worker = hire(ground.node("worker"))
    sender = launch("sender", ground.node("sender", frame_events=frame_events))
    for number in range(MANY):
        sender.transmit(event(WORK, number))
    # Given as many deferred as there is room for, at the chart or ahead of the acknowledgement,
    # and nothing on its way: what comes behind the word that frees it is before what is recalled
    wait_until(lambda: worker.deferred >= FRAMES_AHEAD and _stays(lambda: worker.deferred))
    # When it is free
    worker.free()
    # Then
    wait_until(lambda: len(worker.done) >= MANY)
    assert worker.done == list(range(MANY))
    assert worker.deferred == 0


def _stays(amount: Callable[[], int]) -> bool:
    """Whether an amount is the same after a while."""
    before = amount()
    threading.Event().wait(STAYS_S)
    return amount() == before


def test_deferred_events_count_against_the_room_of_the_inbox(
    ground: Ground, launch: Launch, hire: Hire, caplog: pytest.LogCaptureFixture
) -> None:
    worker = hire(ground.node("worker"))
    sender = launch("sender", ground.node("sender"))
    with caplog.at_level(logging.WARNING, "miros_mesh"):
        for number in range(MANY):
            sender.transmit(event(WORK, number))
        # As many as there is room for or, where a slow machine has sent each alone, frames ahead
        wait_until(lambda: worker.deferred >= FRAMES_AHEAD)
        wait_until(lambda: "received events, which are not acknowledged" in caplog.text)
        wait_until(lambda: _stays(lambda: worker.deferred))
    # One may have been handled, and so in no place, while the room was counted
    assert FRAMES_AHEAD <= worker.deferred <= ROOM + 1


def test_what_was_deferred_before_a_stop_comes_again_under_the_node_name(
    ground: Ground, launch: Launch, hire: Hire
) -> None:
    config = ground.node("worker")
    worker = hire(config)
    sender = launch("sender", ground.node("sender", frame_events=1))
    for number in range(10):
        sender.transmit(event(WORK, number))
    wait_until(lambda: worker.deferred == 10)
    # When it stops
    assert worker.stop().unhandled == 10
    # Then the next one gets them, in order
    again = hire(config)
    wait_until(lambda: again.deferred == 10)
    again.free()
    wait_until(lambda: again.done == list(range(10)))


def test_what_was_handled_behind_a_deferred_event_is_not_handled_again_after_a_stop(
    ground: Ground, launch: Launch
) -> None:
    config, done, deferring = ground.node("worker"), list[Any](), [True]

    def work(chart: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name != WORK:
            return
        if received.payload == 10 and deferring:
            chart.defer(received)
        else:
            done.append(received.payload)

    # Given a frame of which the chart has handled all but one event
    launch("worker", config, work).stop()
    sender = launch("sender", ground.node("sender"))
    for number in range(50):
        sender.transmit(event(WORK, number))
    assert sender.stop().all_confirmed
    worker = launch("worker", config, work)
    wait_until(lambda: len(done) == 49)
    # When it stops, and the next one of its name comes, twice
    assert worker.stop().unhandled == 1
    again = launch("worker", config, work)
    wait_until(lambda: len(again.defer_queue) == 1)
    again.stop()
    deferring.clear()
    last = launch("worker", config, work)
    # Then it handles that one alone, and nothing comes again
    wait_until(lambda: 10 in done)
    launch("another_sender", ground.node("sender")).transmit(event(WORK, "end"))
    wait_until(lambda: "end" in done)
    assert [each for each in done if each != 10] == [*range(10), *range(11, 50), "end"]
    assert last.stop().unhandled == 0


def test_what_was_deferred_without_a_node_name_is_counted_at_the_stop(
    ground: Ground, launch: Launch, hire: Hire
) -> None:
    told = Recorder()
    worker = hire(ground.make(observers=(told,)))
    sender = launch("sender", ground.node("sender"))
    for number in range(10):
        sender.transmit(event(WORK, number))
    wait_until(lambda: worker.deferred == 10)
    assert worker.stop().unhandled == 10
    assert ("mesh", "stopped", 10) in told.drops


def test_what_was_deferred_before_a_kill_comes_again_in_order(
    vhost_url: str, launch: Launch, tmp_path: Path, hire: Hire
) -> None:

    def config(name: str, **settings: object) -> MeshConfig:
        return MeshConfig(
            broker_url=vhost_url,
            mesh_encryption_key=KEY,
            node_name=name,
            **settings,  # type: ignore[arg-type]
        )

    sender = launch("sender", config("sender", frame_events=1))
    with Actor(DEFERRING, vhost_url) as actor:
        assert actor.heard() == {"said": "ready"}
        for number in range(20):
            sender.transmit(event(WORK, number))
        assert actor.heard() == {"said": "deferred"}
        actor.kill()
    worker = hire(config("worker"))
    worker.free()
    wait_until(lambda: len(worker.done) >= 20)
    assert worker.done == list(range(20))


def test_a_copy_of_what_is_deferred_has_nothing_to_do_with_the_chart(
    ground: Ground, launch: Launch, hire: Hire
) -> None:
    worker = hire(ground.node("worker"))
    launch("sender", ground.node("sender")).transmit(event(WORK, 1))
    wait_until(lambda: worker.deferred == 1)
    for same in (worker.defer_queue.copy(), copy.copy(worker.defer_queue)):
        assert [each.payload for each in same] == [1]
        same.clear()
    assert worker.deferred == 1


def test_what_the_chart_drops_is_settled(ground: Ground, launch: Launch, hire: Hire) -> None:
    config = ground.node("worker")
    worker = hire(config)
    sender = launch("sender", ground.node("sender", frame_events=1))
    for number in range(10):
        sender.transmit(event(WORK, number))
    wait_until(lambda: worker.deferred == 10)
    worker.post_fifo(event(DROP))
    wait_until(lambda: worker.deferred == 0)
    assert worker.stop().unhandled == 0
    # And comes no more
    again = hire(config)
    sender.transmit(event(WORK, "new"))
    wait_until(lambda: again.deferred == 1)
    assert again.defer_queue[0].payload == "new"


def test_an_event_that_is_deferred_again_is_handled_once(
    ground: Ground, launch: Launch, hire: Hire
) -> None:
    worker = hire(ground.node("worker"))
    sender = launch("sender", ground.node("sender"))
    for number in range(5):
        sender.transmit(event(WORK, number))
    wait_until(lambda: worker.deferred == 5)
    # When it is free for a moment only: the recalled events stand behind this one
    worker.free()
    worker.post_fifo(event(BUSY))
    wait_until(lambda: worker.deferred + len(worker.done) == 5 and len(worker.queue) == 0)
    worker.free()
    wait_until(lambda: len(worker.done) == 5)
    assert sorted(worker.done) == list(range(5))


def test_a_recalled_event_that_is_handed_on_settles_nothing_of_another_chart(  # noqa: PLR0915
    ground: Ground, launch: Launch
) -> None:
    """Both hear the topic: the second has a copy of its own, which comes later than the other's."""
    config, gate = ground.node("both"), threading.Event()
    first, second = Heard(), Heard()

    def receive(chart: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == "hold":
            gate.wait(60)
        else:
            second(chart, received)

    def hand_on(chart: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == FREE:
            while chart.defer_queue:
                chart.recall()
        elif chart.queue.handled <= 5:
            chart.defer(received)
        else:
            first(chart, received)
            other.post_lifo(received)

    other = launch("second", config, receive)
    other.post_fifo(event("hold"))
    chart = launch("first", config, hand_on)
    sender = launch("sender", ground.node("sender", frame_events=1))
    for number in range(5):
        sender.transmit(event(WORK, number))
    wait_until(lambda: len(chart.defer_queue) == 5)
    # When they are handed on, in front of what the other has yet to handle
    chart.post_fifo(event(FREE))
    wait_until(lambda: len(first) == 5)
    gate.set()
    # Then each has handled its own, and nothing comes again
    wait_until(lambda: len(second) == 10)
    assert (chart.stop().unhandled, other.stop().unhandled) == (0, 0)
    again = [launch(name, config, heard) for name, heard in (("first", first), ("second", second))]
    sender.transmit(event(WORK, "new"))
    wait_until(lambda: first.payloads[5:] == ["new"] and second.payloads[10:] == ["new"])
    assert len(again) == 2


def test_a_deferred_event_whose_handler_raises_is_set_aside_and_not_handled(
    ground: Ground, launch: Launch
) -> None:
    told, heard = Recorder(), Heard()

    def fragile(chart: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == FREE:
            while chart.defer_queue:
                chart.recall()
        elif received.payload == "bad":
            chart.defer(received)
            raise ValueError("bad")
        else:
            heard(chart, received)

    chart = launch(
        "worker",
        ground.node("worker", observers=(told,)),
        fragile,
        on_handler_error="dead_letter",
    )
    sender = launch("sender", ground.node("sender"))
    for payload in ("good", "bad", "better"):
        sender.transmit(event(WORK, payload))
    wait_until(lambda: len(heard) == 2)
    chart.post_fifo(event(FREE))
    wait_until(lambda: len(chart.queue) == 0)
    assert not chart.defer_queue
    assert heard.payloads == ["good", "better"]
    assert ("mesh", "handler", 1) in told.drops


def test_a_chart_with_much_deferred_stops_at_once(
    ground: Ground, launch: Launch, hire: Hire
) -> None:
    limit_s = 600.0
    worker = hire(ground.node("worker", drain_timeout_s=limit_s))
    sender = launch("sender", ground.node("sender"))
    for number in range(2 * ROOM):
        sender.transmit(event(WORK, number))
    wait_until(lambda: worker.deferred >= ROOM)
    began = time.monotonic()
    worker.stop()
    assert time.monotonic() - began < limit_s / 2
