"""Clients: scripts and threads that send, ask and hear beside charts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from miros import Event

from miros_mesh import MeshClient, MeshConfig, Message, NetworkedActiveObject
from miros_mesh.errors import (
    AlreadyStartedError,
    ChartNameTakenError,
    NoReplyWantedError,
    NotStartedError,
    RequestTimedOutError,
    RequestUnroutableError,
    RoutingKeyError,
    SignalError,
    StoppedError,
    StreamInUseError,
    TtlError,
)
from miros_mesh.signals import NO_LISTENER, NoListener
from miros_mesh.testing.hand_clock import HandClock
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import Ground, Heard, Launch, Recorder, event
from support.forked import succeeds_in_a_child
from support.waiting import wait_until

LIMIT_S = 20.0
Connect = Callable[..., MeshClient]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Start a client; it is closed after the test."""
    with ExitStack() as running:

        def start(config: MeshConfig, name: str | None = None, **arguments: Any) -> MeshClient:
            return running.enter_context(MeshClient(config, name, **arguments))

        yield start


def doubles(chart: NetworkedActiveObject, asked: Event) -> None:
    if chart.received and chart.received.wants_reply:
        chart.reply(event("doubled", asked.payload * 2))


def test_what_a_client_sends_every_chart_hears_that_listens(
    ground: Ground, launch: Launch, connect: Connect
) -> None:
    heard = Heard()
    launch("door", ground.node("house"), heard)
    client = connect(ground.node("script"))

    for number in range(3):
        client.send(Message("knock", number))
    client.send(event("ring"))

    wait_until(lambda: heard == [*(("knock", n) for n in range(3)), ("ring", None)])


def test_a_chart_sees_who_the_client_is_and_reaches_it_alone(
    ground: Ground, launch: Launch, connect: Connect
) -> None:
    def answer(chart: NetworkedActiveObject, knocked: Event) -> None:
        if chart.received and knocked.signal_name == "knock":
            chart.transmit(event("who_is_there", chart.received.sender), to=chart.received)

    launch("door", ground.node("house"), answer)
    client, other = connect(ground.node("script"), "visitor"), connect(ground.node("other"))

    with client.events(timeout_s=LIMIT_S) as own, other.events() as others:
        client.send(Message("knock"), to="house/door")
        message = next(message for message in own if message.received)

    assert (message.signal_name, message.payload) == ("who_is_there", "script/visitor")
    assert message.received
    assert (message.received.sender, message.received.to) == ("house/door", "script/visitor")
    assert client.address == "script/visitor"
    assert len(others._reader) == 0


def test_a_request_returns_the_answer(ground: Ground, launch: Launch, connect: Connect) -> None:
    launch("calculator", ground.node("house"), doubles)
    client = connect(ground.node("script"))

    by_topic = client.request(Message("double", 4), LIMIT_S)
    to_one = client.request(Message("double", 5), LIMIT_S, to="house/calculator")
    to_who_answered = client.request(Message("double", 6), LIMIT_S, to=by_topic.received)

    answers = [by_topic, to_one, to_who_answered]
    assert [(each.signal_name, each.payload) for each in answers] == [
        ("doubled", 8),
        ("doubled", 10),
        ("doubled", 12),
    ]
    assert by_topic.received
    assert by_topic.received.sender == "house/calculator"


def test_threads_share_a_client_and_each_gets_its_own_answer(
    ground: Ground, launch: Launch, connect: Connect
) -> None:
    launch("calculator", ground.node("house"), doubles)
    client = connect(ground.node("script"))

    def ask(number: int) -> int:
        answer: int = client.request(Message("double", number), LIMIT_S).payload
        return answer

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(200))) == [2 * number for number in range(200)]


def test_a_client_answers_what_charts_ask_and_clients_answer_each_other(
    ground: Ground, connect: Connect
) -> None:
    server, client = connect(ground.node("server")), connect(ground.node("script"))

    def serve() -> None:
        with server.events("prices.*", timeout_s=LIMIT_S) as asked:
            ready.set()
            for each in asked:
                assert each.received
                server.reply(Message("price", each.payload.upper()), to=each.received)
                return

    ready = threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(LIMIT_S)
    answer = client.request(Message("ask", "apples"), LIMIT_S, routing_key="prices.fruit")
    thread.join()

    assert (answer.signal_name, answer.payload) == ("price", "APPLES")


def test_nobody_there_and_nobody_answers_are_two_errors(
    ground: Ground, launch: Launch, connect: Connect
) -> None:
    launch("silent", ground.node("house"))
    client = connect(ground.node("script"))

    with pytest.raises(RequestUnroutableError) as unroutable:
        client.request(Message("double", 1), LIMIT_S, to="house/calculator")
    with pytest.raises(RequestUnroutableError):
        client.request(Message("double", 1), LIMIT_S, routing_key="no.one.listens")
    with pytest.raises(RequestTimedOutError) as timed_out:
        client.request(Message("double", 1), 0.05)

    assert unroutable.value.signal == timed_out.value.signal == "double"
    assert isinstance(timed_out.value, TimeoutError)
    assert unroutable.value.retryable


def test_a_stream_hears_its_topics_and_nothing_else(ground: Ground, connect: Connect) -> None:
    sender, client = connect(ground.node("sender")), connect(ground.node("script"))

    with client.events(["orders.#", "stock.*"], timeout_s=LIMIT_S) as events:
        for topic in ("orders.new.eu", "letters.new", "stock.low", "orders"):
            sender.send(Message("told", topic), routing_key=topic)
        heard = [next(events) for _ in range(3)]

    assert [each.payload for each in heard] == ["orders.new.eu", "stock.low", "orders"]
    assert [each.received and each.received.routing_key for each in heard] == [
        "orders.new.eu",
        "stock.low",
        "orders",
    ]


def test_a_client_does_not_hear_itself_and_two_of_one_node_hear_each_other(
    ground: Ground, connect: Connect
) -> None:
    one, two = connect(ground.node("node")), connect(ground.node("node"))
    assert (one.name, two.name) == ("client", "client-2")

    with one.events("talk", timeout_s=LIMIT_S) as heard:
        one.send(Message("said", "by one"), routing_key="talk")
        two.send(Message("said", "by two"), routing_key="talk")
        assert next(heard).payload == "by two"
        assert len(heard._reader) == 0


def test_each_of_two_streams_gets_each_event(ground: Ground, connect: Connect) -> None:
    sender, client = connect(ground.node("sender")), connect(ground.node("script"))

    with (
        client.events("talk", timeout_s=LIMIT_S) as one,
        client.events("talk", timeout_s=LIMIT_S) as two,
    ):
        for number in range(3):
            sender.send(Message("said", number), routing_key="talk")
        assert [next(one).payload for _ in range(3)] == [0, 1, 2]
        assert [next(two).payload for _ in range(3)] == [0, 1, 2]


def test_a_slow_reader_gets_everything_and_holds_little_of_it(
    ground: Ground, connect: Connect
) -> None:
    sender = connect(ground.node("sender"))
    client = connect(ground.node("script", prefetch_frames=5))

    with client.events("talk", timeout_s=LIMIT_S) as events:
        for number in range(3_000):
            sender.send(Message("said", number), routing_key="talk")
        # As many as come ahead: five frames, which hold few events or many.
        wait_until(lambda: sender.health().outbox_events == 0 and len(events._reader))
        heard = []
        for each in events:
            heard.append(each.payload)
            assert len(events._reader) <= 100
            if each.payload == 2_999:
                break

    assert heard == list(range(3_000))


def test_a_stream_ends_after_a_time_of_silence(connect: Connect) -> None:
    clock, mesh = HandClock(), MemoryMesh()
    client = connect(mesh.config(clock=clock))
    ended: list[Message] = []
    events = client.events("talk", timeout_s=5.0)
    thread = threading.Thread(target=lambda: ended.extend(events))
    thread.start()
    wait_until(lambda: clock.timers)

    clock.advance(4.9)
    assert thread.is_alive()
    clock.advance(0.2)

    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert not ended
    assert not clock.timers


def test_what_was_not_handled_comes_again_to_the_next_process_of_the_name(
    ground: Ground, connect: Connect
) -> None:
    sender, config = connect(ground.node("sender")), ground.node("script")
    with MeshClient(config, "audit") as client:
        events = client.events("talk", timeout_s=LIMIT_S)
        for number in range(3):
            sender.send(Message("said", number), routing_key="talk")
        assert [next(events).payload, next(events).payload] == [0, 1]
        events.close()

    with MeshClient(config, "audit") as again, again.events("talk", timeout_s=LIMIT_S) as events:
        first = next(events)
        assert [first.payload, next(events).payload] == [1, 2]
        assert first.received
        assert first.received.redelivered


def test_an_event_is_handled_when_the_with_ends_or_when_the_program_says_so(
    ground: Ground, connect: Connect
) -> None:
    sender, config = connect(ground.node("sender")), ground.node("script")
    with MeshClient(config, "audit") as client:
        with client.events("talk", timeout_s=LIMIT_S) as events:
            for number in range(4):
                sender.send(Message("said", number), routing_key="talk")
            assert next(events).payload == 0
        events = client.events("talk", timeout_s=LIMIT_S)
        assert next(events).payload == 1
        events.handled()
        events.close()
        with pytest.raises(ZeroDivisionError), client.events("talk", timeout_s=LIMIT_S) as events:
            assert 1 / (next(events).payload - 2)

    with MeshClient(config, "audit") as again, again.events("talk", timeout_s=LIMIT_S) as events:
        assert [next(events).payload, next(events).payload] == [2, 3]


def test_close_ends_every_wait(ground: Ground, launch: Launch) -> None:
    launch("silent", ground.node("house"))
    client = MeshClient(ground.node("script"))
    client.start()
    outcomes: list[object] = []
    events, own = client.events("talk"), client.events()

    def ask() -> None:
        try:
            client.request(Message("double", 1), 600.0)
        except StoppedError as error:
            outcomes.append(type(error))

    waits = [
        ask,
        lambda: outcomes.append(list(events)),
        lambda: outcomes.append([each for each in own if each.signal_name != "PEER_UP"]),
    ]
    threads = [threading.Thread(target=each) for each in waits]
    for each in threads:
        each.start()
    session = client._participant._session
    assert session
    wait_until(lambda: len(session.requests) and events._reader._waits and own._reader._waits)

    report = client.close()

    for each in threads:
        each.join(LIMIT_S)
    assert not any(each.is_alive() for each in threads)
    assert sorted(map(str, outcomes)) == sorted(map(str, [StoppedError, [], []]))
    assert report.all_confirmed
    assert client.close() == report


def test_close_waits_for_the_event_that_another_thread_handles(
    ground: Ground, connect: Connect
) -> None:
    sender, config = connect(ground.node("sender")), ground.node("script")
    client = MeshClient(config, "audit")
    client.start()
    took, go_on = threading.Event(), threading.Event()
    handled: list[int] = []

    def work() -> None:
        for each in events:
            took.set()
            go_on.wait(LIMIT_S)
            handled.append(each.payload)

    events = client.events("talk")
    threads = [threading.Thread(target=work), threading.Thread(target=client.close)]
    threads[0].start()
    sender.send(Message("said", 0), routing_key="talk")
    sender.send(Message("said", 1), routing_key="talk")
    assert took.wait(LIMIT_S)
    threads[1].start()
    wait_until(lambda: events._reader.ended)
    go_on.set()
    for each in threads:
        each.join(LIMIT_S)

    assert handled == [0]
    with MeshClient(config, "audit") as again, again.events("talk", timeout_s=LIMIT_S) as rest:
        assert next(rest).payload == 1


def test_close_ends_a_request_that_is_made_while_an_event_is_handled(
    launch: Launch, connect: Connect
) -> None:
    mesh = MemoryMesh()
    launch("silent", mesh.config(node_name="house"))
    sender = connect(mesh.config(node_name="sender"))
    # Else the event in hand would be waited for, and that would wait for its answer.
    client = MeshClient(mesh.config(node_name="script", drain_timeout_s=600.0))
    client.start()
    ended: list[type[Exception]] = []

    def work() -> None:
        for each in events:
            try:
                client.request(each, 600.0)
            except StoppedError as error:
                ended.append(type(error))

    events = client.events("talk")
    thread = threading.Thread(target=work)
    thread.start()
    sender.send(Message("said"), routing_key="talk")
    session = client._participant._session
    assert session
    wait_until(lambda: len(session.requests))

    closing = threading.Thread(target=client.close)
    closing.start()
    for each in (closing, thread):
        each.join(LIMIT_S)
    assert not closing.is_alive()
    assert ended == [StoppedError]


def test_a_client_may_be_closed_in_the_middle_of_its_own_stream(
    ground: Ground, connect: Connect
) -> None:
    sender, client = connect(ground.node("sender")), connect(ground.node("script"))
    heard = []
    events = client.events("talk", timeout_s=LIMIT_S)
    sender.send(Message("said", 0), routing_key="talk")
    for each in events:
        heard.append(each.payload)
        client.close()
    assert heard == [0]
    with pytest.raises(StopIteration):
        next(events)


def test_events_for_the_client_alone_wait_for_a_stream_and_too_many_become_dead_letters(
    ground: Ground, connect: Connect
) -> None:
    recorder = Recorder()
    sender = connect(ground.node("sender"))
    client = connect(ground.node("script", observers=(recorder,)), "visitor")

    for number in range(20):
        sender.send(Message("said", number), to="script/visitor")
    wait_until(lambda: recorder.drops == [("mesh", "unread", 1)] * 4)

    with client.events(timeout_s=LIMIT_S) as own:
        assert [next(own).payload for _ in range(16)] == list(range(4, 20))


def test_the_stream_of_the_client_tells_when_there_was_no_listener(
    ground: Ground, connect: Connect
) -> None:
    client = connect(ground.node("script"))
    with client.events(timeout_s=LIMIT_S) as own:
        client.send(Message("knock"), to="house/door")
        told = next(each for each in own if each.signal_name == NO_LISTENER)
    assert (told.payload, told.received) == (NoListener("", "house/door", 1), None)


def test_without_that_stream_the_log_tells(
    ground: Ground, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(ground.node("script"))
    client.send(Message("knock"), to="house/door")
    wait_until(lambda: "house/door" in caplog.text)


def test_calls_outside_the_life_of_a_client_say_so(connect: Connect) -> None:
    mesh = MemoryMesh()
    client = MeshClient(mesh.config(), "script")
    calls: list[Callable[[], object]] = [
        lambda: client.send(Message("knock")),
        lambda: client.request(Message("knock"), 1.0),
        lambda: client.events("talk"),
        lambda: client.address,
        client.health,
    ]
    for call in calls:
        with pytest.raises(NotStartedError, match="script"):
            call()

    client.start()
    with pytest.raises(AlreadyStartedError, match="script"):
        client.start()
    assert client.health().consuming
    client.close()

    for call in [*calls, client.start]:
        with pytest.raises(StoppedError, match="script"):
            call()


def test_a_client_of_the_parent_is_refused_in_a_forked_child(connect: Connect) -> None:
    client = connect(MemoryMesh().config())

    def refuses() -> None:
        for call in (lambda: client.send(Message("knock")), client.close):
            with pytest.raises(Exception, match="forked child"):
                call()

    assert succeeds_in_a_child(refuses)


def test_two_clients_of_one_name_are_refused_on_one_node(connect: Connect) -> None:
    config = MemoryMesh().config()
    connect(config, "audit")
    with pytest.raises(ChartNameTakenError, match="audit"):
        MeshClient(config, "audit").start()


@pytest.mark.parametrize("patterns", [[], "wrong*word", "x" * 256, 3])
def test_what_is_no_pattern_is_refused(connect: Connect, patterns: Any) -> None:
    client = connect(MemoryMesh().config())
    with pytest.raises(RoutingKeyError):
        client.events(patterns)


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan"), True, "1"])
def test_what_is_no_time_is_refused(connect: Connect, timeout_s: Any) -> None:
    client = connect(MemoryMesh().config())
    with pytest.raises(TtlError):
        client.events("talk", timeout_s=timeout_s)
    with pytest.raises(TtlError):
        client.request(Message("ask"), timeout_s)


def test_one_stream_reads_what_is_for_the_client_alone_and_one_thread_reads_a_stream(
    connect: Connect,
) -> None:
    client = connect(MemoryMesh().config())
    with client.events() as own:
        with pytest.raises(StreamInUseError, match="alone"):
            client.events()
        thread = threading.Thread(target=lambda: list(own))
        thread.start()
        wait_until(lambda: own._reader._waits)
        with pytest.raises(StreamInUseError, match="threads"):
            next(own)
        own.close()
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    with client.events():
        pass


@pytest.mark.parametrize("wrong", ["knock", None, Message(""), Message("PEER_UP"), object()])
def test_what_is_no_event_is_refused(connect: Connect, wrong: Any) -> None:
    client = connect(MemoryMesh().config())
    with pytest.raises(SignalError):
        client.send(wrong)
    with pytest.raises(SignalError):
        client.request(wrong, 1.0)


def test_a_reply_to_what_wants_none_is_refused(connect: Connect) -> None:
    mesh = MemoryMesh()
    client, sender = connect(mesh.config()), connect(mesh.config(node_name="other"))
    with client.events("talk", timeout_s=LIMIT_S) as events:
        sender.send(Message("said"), routing_key="talk")
        message = next(events)
        assert message.received
        with pytest.raises(NoReplyWantedError):
            client.reply(Message("answer"), to=message.received)


def test_a_stream_that_was_left_open_warns_and_holds_up_no_close(connect: Connect) -> None:
    mesh = MemoryMesh()
    sender, client = connect(mesh.config(node_name="one")), connect(mesh.config(node_name="two"))
    events = client.events("talk", timeout_s=LIMIT_S)
    sender.send(Message("said"), routing_key="talk")
    next(events)
    with pytest.warns(ResourceWarning, match="not closed"):
        del events
    # Another thread than the one that had the event in hand.
    thread = threading.Thread(target=client.close)
    thread.start()
    thread.join(2.0)
    assert not thread.is_alive()
