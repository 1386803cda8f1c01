"""Asking and answering: each request has one outcome, which is an event in the asker's FIFO."""

from __future__ import annotations

from typing import Any

import pytest
from miros import Event

from miros_mesh import (
    NetworkedActiveObject,
    Observer,
)
from miros_mesh.charts.received import Received
from miros_mesh.signals import PUBLIC_SIGNALS
from support.charts_at_work import Ground, Launch, event, node_of
from support.waiting import wait_until

ASKS, ANSWERS = "asks", "answers"
QUESTIONS = "test.questions"
# None of these tests waits for so long.
LONG_S = 60.0


class Outcomes(Observer):
    """How the requests of a node ended, and what it has dropped."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.drops: list[str] = []

    def request_ended(self, *, chart: str, outcome: str, seconds: float) -> None:
        assert chart == ASKS
        assert seconds >= 0
        self.ended.append(outcome)

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self.drops += [reason] * events


class Answers(list[tuple[str, Any, str | None]]):
    """What a chart has handled: the signal, the payload, and which request it answers."""

    def __call__(self, chart: NetworkedActiveObject, e: Event) -> None:
        received = chart.received
        self.append((e.signal_name, e.payload, received.reply_to if received else None))


def echo(chart: NetworkedActiveObject, e: Event) -> None:
    """Answer each request with what it has brought."""
    if e.signal_name not in PUBLIC_SIGNALS:
        chart.reply(event("answer", e.payload))


class Keeping(list[Received]):
    """Keeps the requests that it gets, and answers none."""

    def __call__(self, chart: NetworkedActiveObject, _: Event) -> None:
        if received := chart.received:
            self.append(received)


@pytest.fixture
def outcomes() -> Outcomes:
    return Outcomes()


@pytest.fixture
def asks(launch: Launch, ground: Ground, outcomes: Outcomes) -> NetworkedActiveObject:
    return launch(
        ASKS,
        ground.node("here", observers=(outcomes,)),
        Answers(),
        tx_routing_key=QUESTIONS,
        rx_routing_key="test.nothing",
    )


def test_a_request_is_answered_by_an_event(ground: Ground, launch: Launch) -> None:
    launch(ANSWERS, ground.node("there"), echo, rx_routing_key=QUESTIONS)
    outcomes, answers = Outcomes(), Answers()
    config = ground.node("here", observers=(outcomes,))
    chart = launch(ASKS, config, answers, tx_routing_key=QUESTIONS, rx_routing_key="test.none")

    first = chart.request(event("question", 1), timeout_s=LONG_S)
    second = chart.request(event("question", 2), timeout_s=LONG_S, to="there/answers")
    wait_until(lambda: len(answers) == 2)

    assert answers == [("answer", 1, first), ("answer", 2, second)]
    assert outcomes.ended == ["answered", "answered"]
    assert node_of(chart).open_requests == 0
    assert chart.cancel_request(first) is False
