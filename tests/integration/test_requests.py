"""Asking and answering: each request has one outcome, which is an event in the asker's FIFO."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from miros import Event

from miros_mesh import (
    NO_LISTENER,
    REQUEST_TIMED_OUT,
    REQUEST_UNROUTABLE,
    MeshConfig,
    NetworkedActiveObject,
    Observer,
    RequestTimedOut,
    RequestUnroutable,
)
from miros_mesh.errors import (
    ChartAddressError,
    EventTooLargeError,
    NoReplyWantedError,
    NotStartedError,
    OldFramesError,
    PayloadError,
    RoutingKeyError,
    SignalError,
    StoppedError,
    TtlError,
)
from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.received import Received
from miros_mesh.signals import PUBLIC_SIGNALS
from miros_mesh.testing.hand_clock import HandClock
from miros_mesh.testing.memory import MemoryMesh
from miros_mesh.wire.envelope import RoutedEnvelope
from miros_mesh.wire.serializer import MsgpackSerializer
from support.actor import Actor
from support.charts_at_work import KEY, Ground, Launch, event, node_of
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

ASKS, ANSWERS = "asks", "answers"
THERE = f"there/{ANSWERS}"
QUESTIONS = "test.questions"
NOTHING = {"tx_routing_key": QUESTIONS, "rx_routing_key": "test.nothing"}
"""Of a chart that asks, and hears no topic in these tests."""
# None of these tests waits for so long.
LONG_S = 60.0
MANY = 20_000
CLOCK_ERROR_S = 1.0
SILENT = Path(__file__).parent / "programs" / "silent.py"

Answer = tuple[str, Any, str | None]


class Outcomes(Observer):
    """How the requests of a node ended, and what it has dropped."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.drops: list[str] = []

    def request_ended(self, *, chart: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.ended.append(outcome)

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self.drops += [reason] * events


class Answers(list[Answer]):
    """What a chart has handled: the signal, the payload, and which request it answers."""

    def __call__(self, chart: NetworkedActiveObject, e: Event) -> None:
        received = chart.received
        self.append((e.signal_name, e.payload, received.reply_to if received else None))


class Keeping(list[Received]):
    """Keeps what is known of the requests that it gets, and answers none."""

    def __call__(self, chart: NetworkedActiveObject, _: Event) -> None:
        if received := chart.received:
            self.append(received)


class Asker:
    """A chart that asks, with what it has heard, how its requests ended, and its clock."""

    def __init__(self, launch: Launch, ground: Ground, **settings: Any) -> None:
        self.clock = HandClock()
        self.outcomes = Outcomes()
        self.heard = Answers()
        config = ground.node(
            "here",
            clock=self.clock,
            observers=(self.outcomes,),
            clock_error_s=CLOCK_ERROR_S,
            **settings,
        )
        self.chart = launch(ASKS, config, self.heard, **NOTHING)

    def ask(self, payload: Any = None, **arguments: Any) -> str:
        arguments = {"timeout_s": LONG_S, **arguments}
        return self.chart.request(event("question", payload), **arguments)

    @property
    def left(self) -> tuple[int, int]:
        """How many requests are open, and how many timers."""
        return node_of(self.chart).open_requests, self.clock.timers


@pytest.fixture
def asker(launch: Launch, ground: Ground) -> Asker:
    return Asker(launch, ground)


@pytest.fixture
def memory_asker(launch: Launch) -> tuple[Asker, Ground]:
    ground = Ground(MemoryMesh().config)
    return Asker(launch, ground), ground


def echo(chart: NetworkedActiveObject, e: Event) -> None:
    """Answer each request with what it has brought."""
    if e.signal_name not in PUBLIC_SIGNALS:
        chart.reply(event("answer", e.payload))


# One outcome


def test_a_request_is_answered_by_an_event(asker: Asker, ground: Ground, launch: Launch) -> None:
    launch(ANSWERS, ground.node("there"), echo, rx_routing_key=QUESTIONS)

    under_its_topic = asker.ask(1)
    under_another = asker.ask(2, routing_key=QUESTIONS)
    to_one = asker.ask(3, to=THERE)
    wait_until(lambda: len(asker.heard) == 3)

    assert asker.heard == [
        ("answer", 1, under_its_topic),
        ("answer", 2, under_another),
        ("answer", 3, to_one),
    ]
    assert asker.outcomes.ended == ["answered"] * 3
    assert asker.left == (0, 0)
    assert not asker.chart.cancel_request(to_one)


def test_what_the_one_who_answers_and_the_one_who_asks_know(ground: Ground, launch: Launch) -> None:
    asked, answered = Keeping(), Keeping()

    def answer(chart: NetworkedActiveObject, e: Event) -> None:
        asked(chart, e)
        chart.reply(event("answer"))

    launch(ANSWERS, ground.node("there"), answer, rx_routing_key=QUESTIONS)
    asks = launch(ASKS, ground.node("here"), answered, **NOTHING)
    asks.request(event("question"), timeout_s=LONG_S)
    wait_until(lambda: answered)

    [request], [reply] = asked, answered
    assert (request.sender, request.wants_reply, request.reply_to) == (f"here/{ASKS}", True, None)
    assert (request.routing_key, request.to) == (QUESTIONS, "")
    assert (reply.sender, reply.wants_reply, reply.reply_to) == (THERE, False, request.event_id)
    # The handling of the request is what has led to the reply.
    assert reply.cause == request.event_id
    assert (reply.routing_key, reply.to) == ("", f"here/{ASKS}")


def test_without_an_answer_its_time_runs_out(asker: Asker, ground: Ground, launch: Launch) -> None:
    kept = Keeping()
    replier = launch(ANSWERS, ground.node("there"), kept, rx_routing_key=QUESTIONS)
    id_ = asker.ask(timeout_s=5)
    wait_until(lambda: kept)

    asker.clock.advance(4.5)
    assert asker.left == (1, 1)
    asker.clock.advance(0.5)
    wait_until(lambda: asker.heard)
    # A late reply is dropped, and what is behind it is not.
    replier.reply(event("answer"), to=kept[0])
    replier.transmit(event("behind"), to=f"here/{ASKS}")
    wait_until(lambda: len(asker.heard) == 2)

    assert asker.heard == [
        (REQUEST_TIMED_OUT, RequestTimedOut(id_, "question"), None),
        ("behind", None, None),
    ]
    assert asker.outcomes.ended == ["timed_out"]
    assert asker.outcomes.drops == ["late_reply"]
    assert asker.left == (0, 0)


def test_the_first_of_several_replies_is_the_answer(
    asker: Asker, ground: Ground, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one", "two"):
        launch(ANSWERS, ground.node(name), echo, rx_routing_key=QUESTIONS)

    with caplog.at_level(logging.WARNING, "miros_mesh.node.session"):
        ids = [asker.ask(number) for number in range(5)]
        wait_until(lambda: len(asker.outcomes.drops) == 5)
    wait_until(lambda: len(asker.heard) == 5)

    assert asker.heard == [("answer", number, id_) for number, id_ in enumerate(ids)]
    assert asker.outcomes.ended == ["answered"] * 5
    assert asker.outcomes.drops == ["late_reply"] * 5
    [line] = caplog.messages
    assert line.startswith(f"{ASKS}: 1 replies came to no open request")


@pytest.mark.parametrize("unknown", ["a topic", "a node", "a chart"])
def test_what_reaches_no_one_is_told_at_once_and_once(
    asker: Asker, ground: Ground, launch: Launch, unknown: str
) -> None:
    launch(ANSWERS, ground.node("there"), echo, rx_routing_key="test.other")
    where = {
        "a topic": {},
        "a node": {"to": f"nowhere/{ANSWERS}"},
        "a chart": {"to": "there/unknown"},
    }

    id_ = asker.ask(**where[unknown])
    wait_until(lambda: asker.heard)
    asker.clock.advance(2 * LONG_S)
    # What comes behind: were there a signal beside it, it would have come before this.
    behind = asker.ask("last", to=THERE)
    wait_until(lambda: len(asker.heard) == 2)

    assert asker.heard == [
        (REQUEST_UNROUTABLE, RequestUnroutable(id_, "question"), None),
        ("answer", "last", behind),
    ]
    assert asker.outcomes.ended == ["unroutable", "answered"]
    assert asker.left == (0, 0)


def test_a_cancelled_request_gets_no_answer(asker: Asker, ground: Ground, launch: Launch) -> None:
    kept = Keeping()
    replier = launch(ANSWERS, ground.node("there"), kept, rx_routing_key=QUESTIONS)
    id_ = asker.ask()
    wait_until(lambda: kept)

    assert asker.chart.cancel_request(id_)
    assert not asker.chart.cancel_request(id_)
    assert asker.left == (0, 0)
    replier.reply(event("answer"), to=kept[0])
    wait_until(lambda: asker.outcomes.drops)
    asker.clock.advance(2 * LONG_S)
    asker.ask("last", to=THERE)
    wait_until(lambda: len(kept) == 2)

    assert asker.heard == []
    assert asker.outcomes.ended == ["cancelled"]
    assert asker.outcomes.drops == ["late_reply"]


def test_sixty_four_at_once_are_answered_in_order(
    asker: Asker, ground: Ground, launch: Launch
) -> None:
    launch(ANSWERS, ground.node("there"), echo, rx_routing_key=QUESTIONS)
    rounds, at_once = 5, 64
    sent = []
    for number in range(rounds * at_once):
        wait_until(lambda: node_of(asker.chart).open_requests < at_once)
        sent.append(asker.ask(number))

    wait_until(lambda: len(asker.heard) == len(sent))

    assert asker.heard == [("answer", number, id_) for number, id_ in enumerate(sent)]
    assert asker.left == (0, 0)


# Tokens, stops and crashes


def test_a_kept_token_answers_later_from_another_handler_and_another_process(
    asker: Asker, ground: Ground, launch: Launch
) -> None:
    kept = Keeping()
    first = launch(ANSWERS, ground.node("there"), kept, rx_routing_key=QUESTIONS)
    ids = [asker.ask(number) for number in range(2)]
    wait_until(lambda: len(kept) == 2)
    written = [json.dumps(dataclasses.asdict(each)) for each in kept]
    # As of another process: a node of the name that begins anew.
    first.stop()

    def answer(chart: NetworkedActiveObject, e: Event) -> None:
        if e.signal_name == "go on":
            for each in e.payload:
                chart.reply(event("answer", "late"), to=Received(**json.loads(each)))

    launch(ANSWERS, ground.node("there"), answer).post_fifo(event("go on", written))
    wait_until(lambda: len(asker.heard) == 2)

    assert asker.heard == [("answer", "late", id_) for id_ in ids]


def test_a_reply_for_an_earlier_process_is_dropped(ground: Ground, launch: Launch) -> None:
    kept = Keeping()
    replier = launch(ANSWERS, ground.node("there"), kept, rx_routing_key=QUESTIONS)
    first = Asker(launch, ground)
    first.ask()
    wait_until(lambda: kept)
    first.chart.stop()

    again = Asker(launch, ground)
    id_ = again.ask()
    wait_until(lambda: len(kept) == 2)
    for each in kept:
        replier.reply(event("answer"), to=each)
    wait_until(lambda: again.heard)

    assert again.heard == [("answer", None, id_)]
    assert again.outcomes.drops == ["late_reply"]
    assert (first.heard, first.outcomes.ended) == ([], ["stopped"])


def test_a_reply_to_who_is_gone_is_told(ground: Ground, launch: Launch) -> None:
    kept, heard = Keeping(), Answers()

    def keep(chart: NetworkedActiveObject, e: Event) -> None:
        (kept if chart.received else heard)(chart, e)

    replier = launch(ANSWERS, ground.node("there"), keep, rx_routing_key=QUESTIONS)
    # Without a name of its own: its queue goes with it.
    asks = launch(ASKS, ground.make(), **NOTHING)
    asks.request(event("question"), timeout_s=LONG_S)
    wait_until(lambda: kept)
    asks.stop()

    def told() -> bool:
        # Its queue is gone soon after.
        replier.reply(event("answer"), to=kept[0])
        return bool(heard)

    wait_until(told)
    signal, payload, _ = heard[0]
    assert (signal, payload.topic) == (NO_LISTENER, kept[0].sender)


@pytest.mark.parametrize("where", ["embedded", "rabbitmq"])
def test_a_replier_that_is_killed_leaves_a_time_out(
    where: str, request: pytest.FixtureRequest, launch: Launch
) -> None:
    url = request.getfixturevalue("vhost_url") if where == "rabbitmq" else None
    ground = Ground(
        lambda **settings: MeshConfig(broker_url=url, mesh_encryption_key=KEY, **settings)
    )
    with Actor(SILENT, url or "", QUESTIONS) as replier:
        assert replier.heard() == {"ready": True}
        asker = Asker(launch, ground)
        id_ = asker.ask()
        assert replier.heard() == {"asked": id_}
        replier.kill()

    asker.clock.advance(LONG_S)
    wait_until(lambda: asker.heard)

    assert asker.heard == [(REQUEST_TIMED_OUT, RequestTimedOut(id_, "question"), None)]


@pytest.fixture
def restless(vhost_url: str) -> Ground:
    """At a broker that restarts."""
    return Ground(
        lambda **settings: MeshConfig(
            broker_url=vhost_url,
            mesh_encryption_key=KEY,
            heartbeat_interval_s=2.0,
            connect_timeout_s=1.0,
            **settings,
        )
    )


def test_a_request_that_waits_at_a_broker_over_its_restart_has_one_outcome(
    rabbitmq: RabbitServer, restless: Ground, launch: Launch
) -> None:
    first = launch(ANSWERS, restless.node("there"), echo, rx_routing_key=QUESTIONS)
    asker = Asker(launch, restless)
    asker.ask("before")
    wait_until(lambda: asker.outcomes.ended == ["answered"], 30)
    # Given a request that only the broker has, which does not keep it
    first.stop()
    id_ = asker.ask("within")
    wait_until(lambda: not node_of(asker.chart).report().left_over)

    rabbitmq.stop()
    rabbitmq.start()
    launch(ANSWERS, restless.node("there"), echo, rx_routing_key=QUESTIONS)
    asker.ask("after")
    wait_until(lambda: asker.outcomes.ended.count("answered") >= 2, 60)
    asker.clock.advance(LONG_S)

    # Then repair has brought it, or its sender is told; and never both
    def outcomes() -> list[Answer]:
        return [each for each in asker.heard if id_ in {each[2], getattr(each[1], "id", None)}]

    wait_until(outcomes)
    lost = (REQUEST_TIMED_OUT, RequestTimedOut(id_, "question"), None)
    assert outcomes() in [[("answer", "within", id_)], [lost]]
    assert len(asker.outcomes.ended) == 3
    assert asker.left == (0, 0)


def test_a_request_that_no_broker_has_outlives_its_restart(
    rabbitmq: RabbitServer, restless: Ground, launch: Launch
) -> None:
    ground = restless
    kept = Keeping()
    replier = launch(ANSWERS, ground.node("there"), kept, rx_routing_key=QUESTIONS)
    asker = Asker(launch, ground)
    # Given one request that has arrived, and one that is made while there is no broker
    before = asker.ask(1)
    wait_until(lambda: kept)
    rabbitmq.stop()
    try:
        within = asker.ask(2)
        replier.reply(event("answer", 1), to=kept[0])
        # Time is counted from `request`, and not from when it is sent.
        asker.clock.advance(LONG_S - 1)
        late = asker.ask(3, timeout_s=0.5)
        asker.clock.advance(0.5)
    finally:
        rabbitmq.start()
    wait_until(lambda: len(kept) == 3, 60)
    for number, each in enumerate(kept[1:], 2):
        replier.reply(event("answer", number), to=each)
    wait_until(lambda: asker.outcomes.drops, 60)
    wait_until(lambda: ("answer", 2, within) in asker.heard)

    assert [each for each in asker.heard if "PEER" not in each[0]] == [
        (REQUEST_TIMED_OUT, RequestTimedOut(late, "question"), None),
        ("answer", 1, before),
        ("answer", 2, within),
    ]
    assert asker.outcomes.drops == ["late_reply"]


def test_the_stop_of_a_chart_ends_its_requests_in_silence(
    asker: Asker, ground: Ground, launch: Launch
) -> None:
    kept = Keeping()
    launch(ANSWERS, ground.node("there"), kept, rx_routing_key=QUESTIONS)
    asker.ask()
    wait_until(lambda: kept)

    asker.chart.stop()

    assert asker.clock.timers == 0
    asker.clock.advance(2 * LONG_S)
    assert (asker.heard, asker.outcomes.ended) == ([], ["stopped"])
    with pytest.raises(StoppedError):
        asker.ask()
    with pytest.raises(StoppedError):
        asker.chart.reply(event("answer"), to=kept[0])
    with pytest.raises(StoppedError):
        asker.chart.cancel_request("any")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_chart_that_has_died_asks_no_more(ground: Ground, launch: Launch) -> None:
    def fail(_: object, e: Event) -> None:
        if e.signal_name == "fail":
            raise ValueError("meant")

    launch(ANSWERS, ground.node("there"), rx_routing_key=QUESTIONS)
    outcomes, clock = Outcomes(), HandClock()
    config = ground.node("here", observers=(outcomes,), clock=clock)
    chart = launch(ASKS, config, fail, **NOTHING)
    chart.request(event("question"), timeout_s=LONG_S)

    chart.post_fifo(event("fail"))
    wait_until(lambda: outcomes.ended)

    assert (outcomes.ended, clock.timers) == (["stopped"], 0)
    with pytest.raises(StoppedError, match=ASKS):
        chart.request(event("question"), timeout_s=LONG_S)


# How it is handed over


def test_a_callback_asks_and_answers(ground: Ground, launch: Launch) -> None:
    asked: dict[str, str] = {}
    heard = list[Answer]()

    def answer(e: Event) -> None:
        replier.reply(event("answer", e.payload))

    def hear(e: Event) -> None:
        received = asks.received
        assert received is not None
        heard.append((e.signal_name, e.payload, received.reply_to))
        if e.payload == 1:
            asked["second"] = asks.request(event("question", 2), timeout_s=LONG_S, to=received)

    replier = launch(ANSWERS, ground.node("there"), rx_routing_key=QUESTIONS, on_mesh_rx=answer)
    asks = launch(ASKS, ground.node("here"), on_mesh_rx=hear, **NOTHING)
    asked["first"] = asks.request(event("question", 1), timeout_s=LONG_S)
    wait_until(lambda: len(heard) == 2)

    assert heard == [("answer", 1, asked["first"]), ("answer", 2, asked["second"])]
    with pytest.raises(NoReplyWantedError):
        replier.reply(event("answer"))


def test_thousands_that_run_out_at_once_are_all_told(
    memory_asker: tuple[Asker, Ground], launch: Launch
) -> None:
    asker, ground = memory_asker
    heard = list[Event]()
    launch(ANSWERS, ground.node("there"), rx_routing_key=QUESTIONS, on_mesh_rx=heard.append)
    threads = threading.active_count()
    ids = [asker.ask() for _ in range(MANY)]
    assert asker.left == (MANY, MANY)
    assert threading.active_count() == threads
    cancelled = {id_ for id_ in ids[::4] if asker.chart.cancel_request(id_)}
    wait_until(lambda: len(heard) == MANY, 60)

    asker.clock.advance(LONG_S)

    wait_until(lambda: len(asker.heard) == MANY - len(cancelled), 60)
    assert asker.left == (0, 0)
    assert {signal for signal, _, _ in asker.heard} == {REQUEST_TIMED_OUT}
    assert [told.id for _, told, _ in asker.heard] == [
        each for each in ids if each not in cancelled
    ]
    assert Counter(asker.outcomes.ended) == {
        "timed_out": MANY - len(cancelled),
        "cancelled": len(cancelled),
    }


def test_a_reply_that_cannot_be_read_leaves_the_request_open(
    memory_asker: tuple[Asker, Ground], launch: Launch
) -> None:
    asker, ground = memory_asker

    class Garbling(MsgpackSerializer):
        def dumps(self, payload: Any) -> bytes:
            return b"\xc1" if payload == "garble" else super().dumps(payload)

    def answer(chart: NetworkedActiveObject, _: Event) -> None:
        if chart.received:
            chart.reply(event("answer", "garble"))
            chart.reply(event("answer", "plain"))

    launch(ANSWERS, ground.node("there", serializer=Garbling()), answer, rx_routing_key=QUESTIONS)
    id_ = asker.ask()
    wait_until(lambda: asker.heard)

    assert asker.heard == [("answer", "plain", id_)]
    assert asker.outcomes.drops == ["payload"]


def test_a_reply_that_has_ended_its_request_does_not_expire_in_the_fifo(
    memory_asker: tuple[Asker, Ground], launch: Launch
) -> None:
    _, ground = memory_asker

    def answer(chart: NetworkedActiveObject, _: Event) -> None:
        if chart.received:
            chart.reply(event("answer"), ttl_s=1)

    held, reached = threading.Event(), threading.Event()
    asks, clock = Answers(), HandClock()

    def busy(chart: NetworkedActiveObject, e: Event) -> None:
        if e.signal_name == "hold":
            reached.set()
            assert held.wait(10)
        else:
            asks(chart, e)

    outcomes = Outcomes()
    launch(ANSWERS, ground.node("there", clock=clock), answer, rx_routing_key=QUESTIONS)
    config = ground.node("busy", clock=clock, observers=(outcomes,))
    chart = launch("busy", config, busy, **NOTHING)
    chart.post_fifo(event("hold"))
    assert reached.wait(10)
    id_ = chart.request(event("question"), timeout_s=LONG_S)
    wait_until(lambda: outcomes.ended)
    clock.advance(LONG_S)
    held.set()
    wait_until(lambda: asks)

    assert asks == [("answer", None, id_)]
    assert outcomes.ended == ["answered"]


def test_a_reply_that_is_crowded_out_of_the_fifo_is_the_answer_when_it_comes_back(
    memory_asker: tuple[Asker, Ground], launch: Launch
) -> None:
    asker, ground = memory_asker
    launch(ANSWERS, ground.node("there"), rx_routing_key=QUESTIONS)
    id_ = asker.ask()
    session = asker.chart._session
    assert session is not None
    reply = Arrival(
        RoutedEnvelope("there", ANSWERS, "1", 1, "answer", b"\xc0", 0.0, reply_to=id_),
        inbox=session.inbox,
    )

    # As the inbox does with what was taken back.
    for _ in range(2):
        asker.chart._intake.post(reply)
    wait_until(lambda: len(asker.heard) == 2)

    assert asker.heard == [("answer", None, id_)] * 2
    assert asker.outcomes.ended == ["answered"]
    assert asker.outcomes.drops == []


def test_a_request_that_waits_too_long_is_not_begun(
    memory_asker: tuple[Asker, Ground], launch: Launch
) -> None:
    asker, ground = memory_asker
    held, reached = threading.Event(), threading.Event()
    heard, outcomes = list[str](), Outcomes()

    def busy(_: object, e: Event) -> None:
        if e.signal_name == "hold":
            reached.set()
            assert held.wait(10)
        elif e.signal_name not in PUBLIC_SIGNALS:
            heard.append(e.payload)

    config = ground.node("there", clock=asker.clock, observers=(outcomes,))
    chart = launch(ANSWERS, config, busy, rx_routing_key=QUESTIONS)
    chart.post_fifo(event("hold"))
    assert reached.wait(10)
    for payload, timeout_s in (("old", 5), ("in time", 5 + 2 * CLOCK_ERROR_S)):
        asker.ask(payload, timeout_s=timeout_s)
    wait_until(lambda: len(chart.queue) == 2)

    asker.clock.advance(5 + CLOCK_ERROR_S + 0.001)
    held.set()
    wait_until(lambda: heard)

    assert heard == ["in time"]
    assert outcomes.drops == ["expired"]


def test_a_chart_does_not_hear_what_it_asks_itself(ground: Ground, launch: Launch) -> None:
    asker = Asker(launch, ground)
    own = launch("own topic", ground.node("own", clock=asker.clock), (heard := Answers()))

    # Its queue takes it, so it is not unroutable.
    id_ = own.request(event("question"), timeout_s=LONG_S)
    asker.ask(to="own/own topic")
    wait_until(lambda: heard)
    asker.clock.advance(LONG_S)
    wait_until(lambda: len(heard) == 2)

    assert heard == [
        ("question", None, None),
        (REQUEST_TIMED_OUT, RequestTimedOut(id_, "question"), None),
    ]
    with pytest.raises(ChartAddressError, match="itself"):
        own.request(event("question"), timeout_s=LONG_S, to="own/own topic")


# Bad input


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"timeout_s": 0}, TtlError),
        ({"timeout_s": -1.0}, TtlError),
        ({"timeout_s": float("nan")}, TtlError),
        ({"timeout_s": float("inf")}, TtlError),
        ({"timeout_s": True}, TtlError),
        ({"timeout_s": None}, TtlError),
        ({"timeout_s": "5"}, TtlError),
        ({"to": "nothing"}, ChartAddressError),
        ({"to": THERE, "routing_key": "test.other"}, ChartAddressError),
        ({"routing_key": "test.*"}, RoutingKeyError),
        ({"routing_key": "miros_mesh.to.there.answers"}, RoutingKeyError),
    ],
)
def test_what_cannot_be_asked_is_refused_and_leaves_nothing_open(
    memory_asker: tuple[Asker, Ground], arguments: dict[str, Any], error: type[Exception]
) -> None:
    asker, _ = memory_asker

    with pytest.raises(error):
        asker.ask(**arguments)

    assert asker.left == (0, 0)
    assert asker.outcomes.ended == []


def test_what_cannot_travel_is_refused_and_leaves_nothing_open(
    memory_asker: tuple[Asker, Ground],
) -> None:
    asker, _ = memory_asker
    for signal, payload, error in (
        ("question", object(), PayloadError),
        ("question", b"x" * 2_000_000, EventTooLargeError),
        ("ENTRY_SIGNAL", None, SignalError),
        (REQUEST_TIMED_OUT, None, SignalError),
    ):
        with pytest.raises(error):
            asker.chart.request(event(signal, payload), timeout_s=LONG_S)

    assert asker.left == (0, 0)


def test_nodes_that_write_for_old_ones_cannot_ask(launch: Launch) -> None:
    asker = Asker(launch, Ground(MemoryMesh().config), old_frames="write")

    with pytest.raises(OldFramesError):
        asker.ask()

    assert asker.left == (0, 0)


def test_a_chart_that_has_not_started_neither_asks_nor_answers(
    memory_asker: tuple[Asker, Ground],
) -> None:
    _, ground = memory_asker
    chart = NetworkedActiveObject("new", config=ground.node("new"))
    calls: list[Callable[[], object]] = [
        lambda: chart.request(event("question"), timeout_s=1),
        lambda: chart.reply(event("answer")),
        lambda: chart.cancel_request("any"),
    ]

    for call in calls:
        with pytest.raises(NotStartedError):
            call()


def test_only_a_request_can_be_answered(memory_asker: tuple[Asker, Ground], launch: Launch) -> None:
    asker, ground = memory_asker
    refused = list[str]()

    def answer(chart: NetworkedActiveObject, e: Event) -> None:
        if e.signal_name in PUBLIC_SIGNALS:
            return
        try:
            chart.reply(event("answer"))
        except NoReplyWantedError as error:
            refused.append(str(error))

    replier = launch(ANSWERS, ground.node("there"), answer, rx_routing_key=QUESTIONS)
    asker.chart.transmit(event("no question"))
    replier.post_fifo(event("its own"))
    wait_until(lambda: len(refused) == 2)
    with pytest.raises(NoReplyWantedError, match="no received event"):
        replier.reply(event("answer"))
    with pytest.raises(NoReplyWantedError, match="transmit"):
        replier.reply(event("answer"), to=THERE)  # type: ignore[arg-type]

    assert len([each for each in refused if "wants no reply" in each]) == 1
    assert len([each for each in refused if "no received event" in each]) == 1


# What is seen of it


def test_an_outcome_was_caused_by_what_led_to_the_request(
    memory_asker: tuple[Asker, Ground], launch: Launch
) -> None:
    _, ground = memory_asker
    causes = list[tuple[str, str | None]]()
    ids = list[str]()

    def ask(chart: NetworkedActiveObject, e: Event) -> None:
        current = chart.queue.current
        assert current is not None
        causes.append((e.signal_name, current.cause))
        if e.signal_name == "begin":
            ids.append(current.id)
            chart.request(event("question"), timeout_s=LONG_S)

    chart = launch("caused", ground.node("caused"), ask, **NOTHING)
    chart.post_fifo(event("begin"))
    wait_until(lambda: len(causes) == 2)

    assert causes == [("begin", None), (REQUEST_UNROUTABLE, ids[0])]
