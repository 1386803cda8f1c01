"""What a node says that its charts have to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from miros_mesh.health import Health
from miros_mesh.networks.requests import Requests
from miros_mesh.networks.snoop.at_work import AtWork
from miros_mesh.node.session import Work
from miros_mesh.observer import Observer
from miros_mesh.testing.hand_clock import HandClock
from miros_mesh.wire.envelope import MAX_ASKED


@dataclass
class Waiting:
    waiting: int = 0


@dataclass
class Session:
    chart: str
    requests: Requests
    group: str = ""
    now: Work = field(default_factory=Work)
    inboxes: list[Waiting] = field(default_factory=lambda: [Waiting(2)])

    def work(self) -> Work:
        return self.now


def health(**deaf: str) -> Health:
    return Health("bank", True, {}, (), 0, deaf_charts=deaf)


def made() -> tuple[HandClock, Session, AtWork]:
    clock = HandClock()
    session = Session("till", Requests("till", clock, Observer()))
    return clock, session, AtWork(lambda: [session], clock.monotonic)


def test_a_chart_that_stays_at_one_event_is_known_to_since_the_first_look() -> None:
    clock, session, at_work = made()
    session.now = Work(done=3, to_do=4, event="1nc/desk/1")
    (first,) = at_work.look(health())
    clock.advance(5.0)
    (second,) = at_work.look(health())
    # The one that is handled does not wait; two more wait in the inbox.
    assert (first.waiting, first.same_for_s) == (5, 0.0)
    assert (second.event, second.same_for_s) == ("1nc/desk/1", 5.0)
    session.now = Work(done=4, to_do=3, event="1nc/desk/2")
    clock.advance(5.0)
    (third,) = at_work.look(health())
    assert (third.event, third.same_for_s) == ("1nc/desk/2", 0.0)
    session.now = Work(done=7)
    clock.advance(5.0)
    (rests,) = at_work.look(health())
    assert (rests.event, rests.same_for_s, rests.waiting) == ("", 0.0, 2)


def test_requests_are_told_the_oldest_first_and_not_all() -> None:
    clock, session, at_work = made()

    def send(asked: Any) -> str:
        number = len(session.requests) + 1
        asked(f"1nc/till/{number}")
        return f"1nc/till/{number}"

    for _ in range(MAX_ASKED + 4):
        session.requests.open("charge", None, 60.0, lambda *_: None, send)
        clock.advance(1.0)
    (told,) = at_work.look(health())
    assert len(told.asks) == MAX_ASKED
    assert (told.asks[0].event, told.asks[0].waited_s) == ("1nc/till/1", MAX_ASKED + 4)
    session.requests.close()


def test_why_a_chart_is_deaf_is_told() -> None:
    _, session, at_work = made()
    session.group = "tills"
    (told,) = at_work.look(health(till="the queue is another one's" + "!" * 300))
    assert told.deaf.startswith("the queue is another one's")
    assert len(told.deaf) == 255
    assert told.group == "tills"
