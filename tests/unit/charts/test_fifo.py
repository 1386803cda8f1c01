"""A chart's queue: what is handled, what caused it, and what has no place."""

from __future__ import annotations

import threading
from typing import NamedTuple

import pytest
from miros import Event, signals
from miros.hsm import HsmWithQueues

from miros_mesh.charts.fifo import HIGH_WATER, ChartQueue
from miros_mesh.networks.arrival import Arrival
from miros_mesh.observer import Span
from miros_mesh.wire.envelope import Envelope
from support.sealed import inbox

PREFIX = "1ncarn/chart"


def arrival(sequence: int = 1, cause: str | None = None) -> Arrival:
    fields = "afar", "sender", "2ncarn", sequence, "knock", b"", 0.0, cause
    return Arrival(Envelope(*fields), inbox(), payload=sequence)


class Chart:
    """The calls that miros makes on a chart's thread, and what the queue says of them."""

    def __init__(self) -> None:
        self.finished: list[Arrival | None] = []
        self.crowded_out: list[Arrival] = []
        self.ended: list[BaseException | None] = []
        self.queue = ChartQueue(
            self.finished.append, self.crowded_out.append, lambda _: _EndedSpan(self.ended)
        )
        self.queue.begin(PREFIX)
        self.queue.end_of_start()

    def handle(self) -> Event:
        self.queue.wait()
        taken: Event = self.queue.popleft()
        self.queue.task_done()
        return taken


class _EndedSpan(Span):
    def __init__(self, ended: list[BaseException | None]) -> None:
        self._ended = ended

    def end(self, *, error: BaseException | None = None, **_: object) -> None:
        self._ended.append(error)


def test_a_received_event_is_made_of_its_arrival_by_the_chart_and_settled_after_its_run() -> None:
    chart, received = Chart(), arrival(7)
    chart.queue.append(received)

    event = chart.handle()

    assert (event.signal_name, event.payload) == ("knock", 7)
    assert event.signal == signals.knock
    assert chart.finished == [received]
    assert chart.ended == [None]


def test_the_name_of_a_received_event_is_the_object_that_the_programs_literals_are() -> None:
    chart, name = Chart(), "".join(["spelt", "_by_", "the_network"])
    fields = "afar", "sender", "2ncarn", 1, name, b"", 0.0
    chart.queue.append(Arrival(Envelope(*fields), inbox()))

    event = chart.handle()

    # By `is`, as miros' cancel_events compares them.
    assert event.signal_name is "spelt_by_the_network"  # noqa: F632
    assert Event(signal=event.signal).signal_name is "spelt_by_the_network"  # noqa: F632


def test_a_received_event_is_known_while_it_is_handled_and_on_its_thread_alone() -> None:
    chart = Chart()
    chart.queue.append(arrival(7, cause="c/c/1"))
    chart.queue.popleft()

    current = chart.queue.current
    assert current
    assert (current.id, current.cause) == ("2ncarn/sender/7", "c/c/1")
    elsewhere: list[object] = []
    other = threading.Thread(target=lambda: elsewhere.append(chart.queue.current))
    other.start()
    other.join()
    assert elsewhere == [None]

    chart.queue.task_done()
    assert chart.queue.current is None


def test_what_a_handler_posts_is_caused_by_the_event_that_it_handles() -> None:
    chart = Chart()
    chart.queue.append(arrival(7))
    chart.queue.popleft()
    posted = Event(signal="own")
    chart.queue.append(posted)
    chart.queue.task_done()

    chart.queue.popleft()

    assert chart.queue.current
    assert chart.queue.current.cause == "2ncarn/sender/7"
    # The program's own object is left alone: it may post it again from elsewhere.
    assert "mesh_cause" not in vars(posted)


class _Knock(Event):
    """An event of a program's own class, which says more."""

    def __init__(self, door: str) -> None:
        super().__init__(signal="knock", payload=door)
        self["door"] = door

    def told(self) -> str:
        return f"{self.payload}, {self['door']}"


class _Looks(NamedTuple):
    """What miros takes for an event."""

    signal: int
    signal_name: str
    payload: object = None


def test_what_a_handler_posts_is_handled_as_what_it_is() -> None:
    chart = Chart()
    posted = _Knock("front"), _Looks(signals.own, "own")
    chart.queue.append(Event(signal="first"))
    chart.queue.popleft()
    chart.queue.append(posted[0])
    chart.queue.appendleft(posted[1])
    chart.queue.task_done()

    looks: object = chart.handle()
    knock = chart.queue.popleft()

    assert looks == posted[1]
    assert type(knock) is _Knock
    assert knock.told() == "front, front"
    assert chart.queue.current
    assert chart.queue.current.cause == f"{PREFIX}/local-1"


def test_what_only_looks_like_an_event_is_told_apart_too() -> None:
    chart = Chart()
    chart.queue.append(_Looks(signals.own, "own"))
    chart.queue.popleft()

    assert chart.queue.current
    assert chart.queue.current.id == f"{PREFIX}/local-1"
    assert chart.queue.current.cause is None


def test_the_events_of_a_chart_are_told_apart_by_their_ids() -> None:
    chart = Chart()
    ids = []
    for _ in range(3):
        chart.queue.append(Event(signal="own"))
        chart.queue.popleft()
        assert chart.queue.current
        ids.append(chart.queue.current.id)
        chart.queue.task_done()

    assert ids == [f"{PREFIX}/local-{n}" for n in (1, 2, 3)]
    assert chart.queue.handled == 3


def test_a_received_event_gives_its_place_in_a_full_queue_to_one_of_the_chart_and_is_told() -> None:
    chart, last = Chart(), arrival(1)
    for _ in range(HsmWithQueues.QUEUE_SIZE - 1):
        chart.queue.append(Event(signal="own"))
    chart.queue.append(last)

    chart.queue.append(Event(signal="newest"))

    assert chart.crowded_out == [last]
    assert chart.queue.deque[-1].signal_name == "newest"
    assert len(chart.queue) == HsmWithQueues.QUEUE_SIZE


def test_a_received_event_takes_no_place_and_none_behind_it_gets_before_it() -> None:
    chart, first, second = Chart(), arrival(1), arrival(2)
    for _ in range(HsmWithQueues.QUEUE_SIZE - 1):
        chart.queue.append(Event(signal="own"))

    chart.queue.append(first)
    chart.queue.append(second)

    held: list[object] = [*chart.queue.deque]
    assert chart.crowded_out == [second]
    assert held[-1] is first
    assert len(chart.queue) == HsmWithQueues.QUEUE_SIZE


def test_the_room_for_received_events_ends_far_before_that_for_the_charts_own() -> None:
    chart = Chart()
    assert chart.queue.room == HIGH_WATER < HsmWithQueues.QUEUE_SIZE
    for _ in range(HIGH_WATER + 1):
        chart.queue.append(Event(signal="own"))

    assert chart.queue.room == -1


def test_the_span_of_an_event_whose_handler_raised_ends_with_the_error() -> None:
    chart, error = Chart(), ValueError("broken")
    chart.queue.append(arrival())
    chart.queue.popleft()

    chart.queue.broken_off(error)

    assert chart.ended == [error]
    assert chart.finished == []


def test_what_waits_or_is_handled_is_to_do_until_it_is_done() -> None:
    chart = Chart()
    chart.queue.append(Event(signal="own"))
    chart.queue.append(Event(signal="own"))
    assert (chart.queue.to_do, chart.queue.done) == (2, 0)
    chart.queue.popleft()
    assert (chart.queue.to_do, chart.queue.done) == (2, 0)
    chart.queue.task_done()
    assert (chart.queue.to_do, chart.queue.done) == (1, 1)
    chart.queue.popleft()
    chart.queue.broken_off(ValueError("broken"))
    chart.queue.task_done()
    assert (chart.queue.to_do, chart.queue.done) == (0, 2)


def test_a_recalled_event_is_what_it_came_by_though_another_thread_posts_at_that_moment() -> None:
    chart, received = Chart(), arrival(7)
    chart.queue.append(received)
    event = chart.queue.popleft()
    assert chart.queue.deferring(event) is received
    chart.queue.task_done()
    # Between the two steps of a recall
    chart.queue.recalled(event, received)
    other = threading.Thread(target=lambda: chart.queue.append(Event(signal="own")))
    other.start()
    other.join()
    chart.queue.append(event)

    assert [type(each) for each in chart.queue.deque] == [Event, Arrival]


def test_a_queue_that_was_emptied_behind_its_chart_has_nothing_to_do() -> None:
    chart = Chart()
    with pytest.raises(IndexError):
        chart.queue.popleft()
    assert (chart.queue.to_do, chart.queue.done) == (0, 0)
