"""Time-outs and times to live by a clock that a test turns: hours pass in milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from miros import Event

from miros_mesh import NetworkedActiveObject
from miros_mesh.observer import Observer
from miros_mesh.signals import RequestTimedOut, RequestUnroutable
from miros_mesh.testing import HandClock, MemoryMesh

Join = Callable[..., NetworkedActiveObject]
HOUR_S = 3600.0
# A time-out by the time of the machine would take an hour; this only tells the two apart.
SOON_S = 30.0


class Answers(list[tuple[str, Any, str | None]]):
    """What a chart that asks has handled: signal, payload, and the id of what it answers."""

    def __call__(self, chart: NetworkedActiveObject, event: Event) -> None:
        received = chart.received
        self.append((event.signal_name, event.payload, received.reply_to if received else None))


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def asker(join: Join, answers: Answers) -> NetworkedActiveObject:
    return join("asker", answers)


@pytest.fixture
def asked(join: Join) -> list[Any]:
    """The questions that were handled, and answered, by `oracle`."""
    handled: list[Any] = []

    def answer(chart: NetworkedActiveObject, event: Event) -> None:
        if event.signal_name == "question":
            handled.append(event.payload)
            chart.reply(Event(signal="answer", payload=event.payload))

    join("oracle", answer)
    return handled


def ask(chart: NetworkedActiveObject, payload: Any = None, **how: Any) -> str:
    how = {"to": "oracle/oracle", "timeout_s": HOUR_S, **how}
    return chart.request(Event(signal="question", payload=payload), **how)


def test_an_answer_in_time_leaves_no_timer(
    mesh: MemoryMesh, clock: HandClock, asker: Any, asked: list[Any], answers: Answers
) -> None:
    request = ask(asker, 1)
    mesh.settle()
    assert answers == [("answer", 1, request)]
    assert clock.timers == 0


def test_a_question_that_is_lost_times_out_when_its_time_is_over_and_not_before(
    mesh: MemoryMesh, clock: HandClock, asker: Any, asked: list[Any], answers: Answers
) -> None:
    began = time.monotonic()
    mesh.faults.lose("question")
    request = ask(asker)
    mesh.advance(HOUR_S - 0.1)
    assert answers == []
    mesh.advance(0.1)
    assert answers == [("REQUEST_TIMED_OUT", RequestTimedOut(request, "question"), None)]
    assert clock.timers == 0
    assert time.monotonic() - began < SOON_S


def test_an_answer_that_comes_too_late_is_dropped(
    mesh: MemoryMesh, asker: Any, asked: list[Any], answers: Answers
) -> None:
    mesh.faults.delay("answer", by_s=HOUR_S + 1)
    ask(asker, 1)
    mesh.advance(HOUR_S)
    mesh.advance(1)
    assert asked == [1]
    assert [signal for signal, _, _ in answers] == ["REQUEST_TIMED_OUT"]


def test_a_question_that_comes_long_after_its_time_is_not_handled(
    mesh: MemoryMesh, asker: Any, asked: list[Any], answers: Answers
) -> None:
    mesh.faults.delay("question", by_s=2 * HOUR_S)
    ask(asker, 1)
    mesh.advance(2 * HOUR_S)
    assert asked == []
    assert [signal for signal, _, _ in answers] == ["REQUEST_TIMED_OUT"]


def test_a_question_that_reaches_no_one_needs_no_time(
    mesh: MemoryMesh, clock: HandClock, asker: Any, answers: Answers
) -> None:
    request = ask(asker, to="nowhere/oracle")
    mesh.settle()
    told = RequestUnroutable(request, "question")
    assert ("REQUEST_UNROUTABLE", told, None) in answers
    assert clock.timers == 0


def test_a_question_that_is_cancelled_leaves_no_timer(
    mesh: MemoryMesh, clock: HandClock, asker: Any, asked: list[Any], answers: Answers
) -> None:
    mesh.faults.lose("question")
    assert asker.cancel_request(ask(asker))
    mesh.advance(2 * HOUR_S)
    assert answers == []
    assert clock.timers == 0


def test_a_thousand_questions_time_out_in_the_order_of_their_times(
    mesh: MemoryMesh, clock: HandClock, asker: Any, asked: list[Any], answers: Answers
) -> None:
    mesh.faults.lose("question")
    # Fewer than a FIFO has places, at a time
    for hour in range(10):
        requests = [ask(asker, timeout_s=HOUR_S + (37 * n) % 100) for n in range(100)]
        assert clock.timers == 100
        answers.clear()
        mesh.advance(HOUR_S + 100)
        told = [payload.id for _, payload, _ in answers]
        assert told == sorted(requests, key=lambda id_: (37 * requests.index(id_)) % 100), hour
    assert clock.timers == 0


@pytest.mark.parametrize(("late_s", "handled"), [(4.9, ["news"]), (5.1, [])])
def test_an_event_is_handled_as_long_as_it_is_no_older_than_its_time_to_live(
    mesh: MemoryMesh, join: Join, late_s: float, handled: list[str]
) -> None:
    heard: list[Any] = []
    join("reader", lambda _, event: heard.append(event.payload))
    writer = join("writer", lambda *_: None)
    mesh.faults.delay("story", by_s=late_s)
    writer.transmit(Event(signal="story", payload="news"), ttl_s=5)
    mesh.advance(late_s)
    assert heard == handled


@pytest.mark.parametrize(
    ("reader_ahead_s", "handled"),
    [(0.0, ["news"]), (4.0, ["news"]), (6.0, []), (-600.0, ["news"])],
)
def test_clocks_that_disagree_cost_what_they_disagree_by(
    mesh: MemoryMesh,
    clock: HandClock,
    join: Join,
    reader_ahead_s: float,
    handled: list[str],
) -> None:
    heard: list[Any] = []
    other = HandClock(wall=clock.wall() + reader_ahead_s)
    join("reader", lambda _, event: heard.append(event.payload), clock=other)
    writer = join("writer", lambda *_: None)
    writer.transmit(Event(signal="story", payload="news"), ttl_s=5)
    mesh.settle()
    assert heard == handled


def test_a_clock_that_was_put_right_costs_nothing_after_two_minutes(
    mesh: MemoryMesh, clock: HandClock, join: Join
) -> None:
    heard: list[Any] = []
    behind = HandClock(wall=clock.wall() - 20)
    join("reader", lambda _, event: heard.append(event.payload), clock=behind)
    writer = join("writer", lambda *_: None)
    for payload, reader_s, writer_s in (("first", 0, 0), ("soon", 20, 0), ("later", 120, 120)):
        behind.advance(reader_s)
        mesh.advance(writer_s)
        writer.transmit(Event(signal="story", payload=payload), ttl_s=5)
        mesh.settle()
    # Right after it the reader cannot know that the writer is ahead of it no longer.
    assert heard == ["first", "later"]


def test_the_time_that_an_event_takes_is_that_of_the_clock(join: Join, mesh: MemoryMesh) -> None:
    class Took(Observer):
        def __init__(self) -> None:
            self.seconds: list[float] = []

        def handed_over(self, *, chart: str, seconds: float) -> None:
            self.seconds.append(seconds)

    took, long_ago = Took(), HandClock(wall=1_000_000_000)
    join("reader", lambda *_: None, clock=long_ago, observers=(took,))
    writer = join("writer", lambda *_: None, clock=long_ago)
    writer.transmit(Event(signal="story"))
    mesh.settle()
    assert took.seconds == [0]


def test_a_chart_that_stops_leaves_no_timer(
    mesh: MemoryMesh, clock: HandClock, asker: Any, asked: list[Any]
) -> None:
    mesh.faults.lose("question")
    ask(asker)
    asker.stop()
    assert clock.timers == 0
