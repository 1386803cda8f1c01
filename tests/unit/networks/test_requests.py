"""Open requests: one outcome each, whatever comes at the same time, and nothing left behind."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from miros_mesh.errors import PayloadError, PermissionDeniedError, StoppedError
from miros_mesh.link.ports import Broker
from miros_mesh.networks.hold import Hold
from miros_mesh.networks.network import UNNUMBERED
from miros_mesh.networks.requests import Outcome, Request, Requests
from miros_mesh.observer import Observer
from miros_mesh.testing.hand_clock import HandClock
from miros_mesh.timing.clock import SystemClock
from support.ports_in_hand import Shelf
from support.sealed import envelope, mesh_network
from support.waiting import wait_until

CHART, CAUSE = "asks", "a/b/1"
MANY = 20_000


class Ledger(Observer):
    def __init__(self) -> None:
        self.ended: list[tuple[str, float]] = []

    def request_ended(self, *, chart: str, outcome: str, seconds: float) -> None:
        assert chart == CHART
        self.ended.append((outcome, seconds))


class Desk:
    """A table of requests, what was sent, and what it has told."""

    def __init__(self, clock: Any = None) -> None:
        self.clock = HandClock() if clock is None else clock
        self.ledger = Ledger()
        self.requests = Requests(CHART, self.clock, self.ledger)
        self.told: list[tuple[str, str | None, Outcome]] = []
        self.sent = 0

    def ended(self, request: Request, outcome: Outcome) -> None:
        self.told.append((request.id, request.cause, outcome))

    def ask(self, timeout_s: float, meanwhile: Callable[[str], object] = lambda _: None) -> str:
        """Send a request; `meanwhile` is called once it is on its way."""

        def send(*, asked: Callable[[str], object]) -> str:
            self.sent += 1
            id_ = f"id-{self.sent}"
            asked(id_)
            meanwhile(id_)
            return id_

        return self.requests.open("question", CAUSE, timeout_s, self.ended, send)

    @property
    def outcomes(self) -> list[str]:
        return [outcome for outcome, _ in self.ledger.ended]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_first_reply_ends_it_and_a_second_one_finds_nothing(desk: Desk) -> None:
    id_ = desk.ask(2)
    desk.clock.advance(0.5)

    answered = desk.requests.answered(id_)

    assert answered is not None
    assert (answered.id, answered.signal, answered.cause) == (id_, "question", CAUSE)
    assert desk.requests.answered(id_) is None
    assert desk.ledger.ended == [("answered", 0.5)]
    assert (len(desk.requests), desk.clock.timers, desk.told) == (0, 0, [])


def test_it_ends_with_its_time_and_not_before(desk: Desk) -> None:
    id_ = desk.ask(2)

    desk.clock.advance(1.75)
    assert len(desk.requests) == 1
    desk.clock.advance(0.25)

    assert desk.told == [(id_, CAUSE, "timed_out")]
    assert desk.requests.answered(id_) is None
    assert desk.outcomes == ["timed_out"]


def test_its_time_begins_before_it_is_sent(desk: Desk) -> None:
    desk.ask(2, lambda _: desk.clock.advance(1.5))

    desk.clock.advance(0.5)

    assert desk.outcomes == ["timed_out"]


def test_a_cancelled_one_tells_nothing_and_leaves_nothing(desk: Desk) -> None:
    id_ = desk.ask(2)

    assert desk.requests.cancel(id_)
    assert not desk.requests.cancel(id_)
    assert not desk.requests.cancel("another")

    assert (len(desk.requests), desk.clock.timers, desk.told) == (0, 0, [])
    assert desk.outcomes == ["cancelled"]


def test_one_that_no_broker_had_a_queue_for_ends_once(desk: Desk) -> None:
    id_ = desk.ask(2)

    desk.requests.unroutable(id_)
    desk.requests.unroutable(id_)
    desk.clock.advance(3)

    assert desk.told == [(id_, CAUSE, "unroutable")]
    assert desk.outcomes == ["unroutable"]


def test_what_ends_it_before_it_has_a_timer_leaves_none(desk: Desk) -> None:
    desk.ask(2, desk.requests.answered)
    desk.ask(2, desk.requests.cancel)
    desk.ask(2, desk.requests.unroutable)

    assert (len(desk.requests), desk.clock.timers) == (0, 0)
    assert desk.outcomes == ["answered", "cancelled", "unroutable"]


def test_the_end_of_who_has_asked_ends_all_and_no_more_is_sent(desk: Desk) -> None:
    ids = [desk.ask(2) for _ in range(3)]
    closing = desk.ask(2, lambda _: desk.requests.close())

    assert desk.told == [(each, CAUSE, "stopped") for each in (*ids, closing)]
    assert (len(desk.requests), desk.clock.timers) == (0, 0)
    with pytest.raises(StoppedError, match=CHART):
        desk.ask(2)
    assert desk.sent == 4


def test_one_that_is_sent_while_who_asks_ends_is_not_left_open(desk: Desk) -> None:
    """As if the end had looked at the table before the request came into it."""

    def send(*, asked: Callable[[str], object]) -> str:
        desk.requests.close()
        asked("late")
        return "late"

    desk.requests.open("question", CAUSE, 2, desk.ended, send)

    assert desk.told == [("late", CAUSE, "stopped")]
    assert (len(desk.requests), desk.clock.timers) == (0, 0)


def test_one_that_cannot_be_sent_is_not_open(desk: Desk) -> None:
    def send(*, asked: Callable[[str], object]) -> str:
        raise PayloadError("no")

    with pytest.raises(PayloadError):
        desk.requests.open("question", CAUSE, 2, desk.ended, send)

    assert (len(desk.requests), desk.clock.timers, desk.outcomes) == (0, 0, [])


def test_one_whose_sending_was_interrupted_is_not_open(desk: Desk) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        desk.ask(2, interrupt)

    assert (len(desk.requests), desk.clock.timers, desk.outcomes) == (0, 0, [])


def test_one_without_a_timer_is_not_open() -> None:
    class Full(HandClock):
        def timer(self, delay_s: float, call: Callable[[], object]) -> Any:
            raise RuntimeError("can't start new thread")

    desk = Desk(Full())
    with pytest.raises(RuntimeError):
        desk.ask(2)

    assert len(desk.requests) == 0


def test_thousands_are_open_on_one_thread_and_leave_nothing() -> None:
    clock = SystemClock("mesh-test-timers")
    desk = Desk(clock)
    threads = threading.active_count()
    # Given some whose time is soon over, and others whose time is not
    ids = [desk.ask(0.5 if number % 4 == 0 else 600) for number in range(MANY)]
    try:
        assert threading.active_count() == threads + 1
        # When others are answered or cancelled meanwhile
        for number, id_ in enumerate(ids):
            if number % 4 == 1:
                assert desk.requests.answered(id_)
            elif number % 4 == 2:
                assert desk.requests.cancel(id_)
        wait_until(lambda: len(desk.told) == MANY // 4)
        # Then the last quarter is open, and ends with who has asked
        assert len(desk.requests) == MANY // 4
        desk.requests.close()
        quarter = MANY // 4
        assert Counter(desk.outcomes) == dict.fromkeys(
            ("timed_out", "answered", "cancelled", "stopped"), quarter
        )
        assert len(desk.requests) == 0
        assert len(clock._timers) == 0
    finally:
        clock.stop(5)
    assert threading.active_count() == threads


def test_an_answered_one_is_not_kept_in_memory() -> None:
    clock = SystemClock("mesh-test-timers")
    requests = Requests(CHART, clock, Observer())

    class Waiting:
        def ended(self, request: Request, outcome: Outcome) -> None:
            raise AssertionError(outcome)

    def ask() -> weakref.ref[Waiting]:
        waiting = Waiting()

        def send(*, asked: Callable[[str], object]) -> str:
            asked("one")
            return "one"

        requests.open("question", None, 600, waiting.ended, send)
        return weakref.ref(waiting)

    try:
        kept = ask()
        assert kept() is not None
        requests.answered("one")
        gc.collect()
        assert kept() is None
    finally:
        clock.stop(5)


def test_replies_time_outs_and_cancels_at_once_give_one_outcome_each() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    clock = SystemClock("mesh-test-timers")
    desk = Desk(clock)
    barrier = threading.Barrier(3, timeout=10)
    ids: list[str] = []

    def race(end: Callable[[str], object]) -> None:
        for _ in range(20):
            barrier.wait()
            for id_ in ids:
                end(id_)
            barrier.wait()

    others = [
        threading.Thread(target=race, args=(end,))
        for end in (desk.requests.answered, desk.requests.cancel)
    ]
    for each in others:
        each.start()
    try:
        for _ in range(20):
            ids[:] = [f"id-{desk.sent + number + 1}" for number in range(50)]
            barrier.wait()
            for _ in range(50):
                desk.ask(1e-6)
            barrier.wait()
            wait_until(lambda: len(desk.requests) == 0)
    finally:
        sys.setswitchinterval(before)
        for each in others:
            each.join(10)
        clock.stop(5)
    assert len(desk.outcomes) == 20 * 50


# What the network knows of them


def test_a_request_is_unheard_when_every_broker_says_so() -> None:
    network = mesh_network()
    near, far = Shelf(broker=Broker("near")), Shelf(broker=Broker("far"))
    for shelf in (near, far):
        network.attach(shelf)
    asked, unheard = list[str](), list[list[str]]()
    network.unheard = lambda events: unheard.append([each.id for each in events])

    network.send("topic", envelope(UNNUMBERED, "question", chart=CHART), asked=asked.append)
    [frame] = near.parcels
    frame.seal()
    frame.stored("near", routed=False)
    assert unheard == []
    frame.stored("far", routed=False)

    assert unheard == [asked]


@pytest.mark.parametrize("what", ["goes", "drops", "refuses"])
def test_a_broker_that_will_not_get_a_request_has_no_queue_for_it(what: str) -> None:
    network = mesh_network()
    near, far = Shelf(broker=Broker("near")), Shelf(broker=Broker("far"))
    for shelf in (near, far):
        network.attach(shelf)
    asked, unheard = list[str](), list[list[str]]()
    network.unheard = lambda events: unheard.append([each.id for each in events])

    network.send("topic", envelope(UNNUMBERED, "question", chart=CHART), asked=asked.append)
    [frame] = near.parcels
    frame.seal()
    frame.stored("near", routed=False)
    if what == "goes":
        network.detach(far, gone=True)
    elif what == "drops":
        frame.dropped("far")
    else:
        frame.refused("far", PermissionDeniedError("no"))

    assert unheard == [asked]


def test_a_broker_that_comes_after_a_request_is_not_asked() -> None:
    network, near = mesh_network(), Shelf(broker=Broker("near"))
    network.attach(near)
    unheard = list[Any]()
    network.unheard = unheard.append

    network.send("topic", envelope(UNNUMBERED, "question"), asked=lambda _: None)
    network.attach(Shelf(broker=Broker("far")))
    near.parcels[0].stored("near", routed=False)

    assert len(unheard) == 1


def test_what_is_held_back_is_unheard_once_the_search_has_ended() -> None:
    network, near = mesh_network(), Shelf(broker=Broker("near"))
    hold = Hold(max_events=10, max_bytes=10_000)
    network.hold_back(hold)
    network.attach(near)
    unheard = list[Any]()
    network.unheard = unheard.append

    network.send("topic", envelope(UNNUMBERED, "question"), asked=lambda _: None)
    far = Shelf(broker=Broker("far"))
    network.attach(far)
    near.parcels[0].stored("near", routed=False)
    tell = network.hold_back(None)
    tell()
    assert unheard == []
    far.parcels[0].stored("far", routed=False)

    assert len(unheard) == 1


def test_a_request_is_heard_when_one_broker_has_a_queue() -> None:
    network = mesh_network()
    near, far = Shelf(broker=Broker("near")), Shelf(broker=Broker("far"))
    for shelf in (near, far):
        network.attach(shelf)
    unheard = list[Any]()
    network.unheard = unheard.append

    network.send("topic", envelope(UNNUMBERED, "question"), asked=lambda _: None)
    [frame] = near.parcels
    frame.seal()
    frame.stored("near", routed=True)
    frame.stored("far", routed=False)

    assert unheard == []


def test_a_request_in_a_frame_of_events_is_told_with_them() -> None:
    network, shelf = mesh_network(), Shelf()
    network.attach(shelf)
    unheard = list[list[str]]()
    network.unheard = lambda events: unheard.append([each.signal for each in events])

    network.send("topic", envelope(UNNUMBERED, "before"))
    network.send("topic", envelope(UNNUMBERED, "question"), asked=lambda _: None)
    network.send("topic", envelope(UNNUMBERED, "behind"))
    [frame] = shelf.parcels
    frame.seal()
    frame.stored(shelf.broker.name, routed=False)

    assert unheard == [["before", "question", "behind"]]


def test_a_request_that_is_confirmed_as_soon_as_it_is_put_is_told() -> None:
    network = mesh_network()

    class Hasty(Shelf):
        def put(self, parcel: Any) -> Any:
            parcel.seal()
            parcel.stored(self.broker.name, routed=False)
            return super().put(parcel)

    unheard = list[list[str]]()
    network.unheard = lambda events: unheard.append([each.signal for each in events])
    network.attach(Hasty())
    # A publisher's thread tells of it, without the lock that is held here.
    network.decided = (  # type: ignore[method-assign]
        lambda frame, *, heard: unheard.append([frame.routing_key])
    )

    network.send("topic", envelope(UNNUMBERED, "question"), asked=lambda _: None)

    assert unheard == [["topic"]]
