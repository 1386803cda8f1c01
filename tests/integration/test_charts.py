"""Charts that talk: over the embedded broker, in memory and over a RabbitMQ."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from miros import Event, return_status, signals, spy_on

from miros_mesh import (
    MeshConfig,
    NetworkedActiveObject,
    NetworkedFactory,
    SnoopRecord,
    StopReport,
)
from miros_mesh.charts.fifo import ChartQueue
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import KEY, OTHER_KEY, Ground, Heard, Launch, Recorder, alone, event
from support.rabbitmq_server import PASSWORD, USER, RabbitServer
from support.waiting import wait_until

BURST = 5000
HANDLER_S = 0.0005
FIFO_PLACES = 500


# Timers and names off the wire


@pytest.mark.parametrize("made_of", ["the received event", "an event of the chart's own"])
def test_a_timer_is_cancelled_though_the_network_brought_its_signals_name_first(
    ground: Ground, launch: Launch, made_of: str
) -> None:
    ticks: list[Event] = []
    after_cancelling: list[int] = []
    cancelled: list[int] = []

    def handle(chart: NetworkedActiveObject, e: Event) -> None:
        if e.signal_name == "three_blows_later":
            after_cancelling.append(len(ticks))
        elif e.signal_name == "behind_what_was_posted":
            cancelled.append(len(ticks))
            chart.post_fifo(Event(signal="three_blows_later"), period=0.5, times=1, deferred=True)
        elif e.signal_name == "clock_struck":
            ticks.append(e)
            if len(ticks) == 1:
                struck = e if made_of == "the received event" else Event(signal="clock_struck")
                chart.post_fifo(struck, period=0.05, times=0, deferred=True)
            if len(ticks) == 3:
                chart.cancel_events(Event(signal="clock_struck"))
                chart.post_fifo(Event(signal="behind_what_was_posted"))

    launch("tower", ground.node("two"), handle)
    launch("bell ringer", ground.node("one")).transmit(event("clock_struck"))

    wait_until(lambda: after_cancelling)
    assert after_cancelling == cancelled


# Who hears what


def test_a_transmitted_event_arrives_as_if_the_receiver_had_posted_it(
    ground: Ground, launch: Launch
) -> None:
    # Given a chart that changes its state on an event
    states: list[str] = []

    @spy_on
    def waiting(chart: NetworkedActiveObject, e: Event) -> Any:
        if e.signal == signals.move_on:
            states.append(f"{e.signal_name} {e.payload} on {threading.current_thread() is thread}")
            return chart.trans(arrived)
        chart.temp.fun = chart.top
        return return_status.SUPER

    @spy_on
    def arrived(chart: NetworkedActiveObject, e: Event) -> Any:
        if e.signal == signals.ENTRY_SIGNAL:
            states.append("entered")
            return return_status.HANDLED
        chart.temp.fun = chart.top
        return return_status.SUPER

    receiver = NetworkedActiveObject("receiver", config=ground.node("two"))
    receiver.start_at(waiting)
    thread = receiver.thread
    try:
        # When a chart of another node transmits it
        launch("sender", ground.node("one")).transmit(event("move_on", {"any": "json"}))
        # Then it went through the FIFO of the chart and was handled on the thread of the chart
        wait_until(lambda: "entered" in states)
    finally:
        receiver.stop()
    assert states == ["move_on {'any': 'json'} on True", "entered"]
    assert "move_on:waiting" in receiver.spy()
    assert str(receiver.trace()).endswith("e->move_on() waiting->arrived\n")


def test_what_a_chart_makes_of_its_payload_no_other_chart_of_its_node_sees(
    ground: Ground, launch: Launch
) -> None:
    heard: dict[str, list[Any]] = {name: [] for name in ("one", "other", "third")}

    def change(chart: NetworkedActiveObject, e: Event) -> None:
        heard[chart.name].append((list(e.payload), len(e.payload["numbers"])))
        e.payload["numbers"].append(chart.name)
        e.payload[chart.name] = True

    for name in heard:
        launch(name, ground.node("two"), change)
    talker = launch("talker", ground.node("one"))
    for number in range(300):
        talker.transmit(event("changed", {"numbers": [number]}))

    wait_until(lambda: all(len(each) == 300 for each in heard.values()))
    assert all(each == [(["numbers"], 1)] * 300 for each in heard.values())


def test_a_chart_does_not_hear_itself(ground: Ground, launch: Launch) -> None:
    own, other = Heard(), Heard()
    launch("other", ground.node("two"), other)
    speaker = launch("speaker", ground.node("one"), own)
    for number in range(3):
        speaker.transmit(event("said", number))
    # The answer comes after all that could have come back
    launch("answerer", ground.node("three")).transmit(event("answer"))
    wait_until(lambda: own == [("answer", None)])
    wait_until(lambda: other.payloads[:3] == [0, 1, 2])


def test_charts_of_one_node_hear_each_other(ground: Ground, launch: Launch) -> None:
    config = ground.node("one")
    heard = {name: Heard() for name in "abc"}
    charts = {name: launch(name, config, heard[name]) for name in heard}
    for name, chart in charts.items():
        chart.transmit(event("from", name))
    for name, own in heard.items():
        others = sorted(set(heard) - {name})
        wait_until(lambda own=own, others=others: sorted(own.payloads) == others)


def test_charts_of_one_name_on_two_nodes_hear_each_other(ground: Ground, launch: Launch) -> None:
    first, second = Heard(), Heard()
    one = launch("twin", ground.node("one"), first)
    two = launch("twin", ground.node("two"), second)
    one.transmit(event("from", 1))
    two.transmit(event("from", 2))
    wait_until(lambda: first.payloads == [2])
    wait_until(lambda: second.payloads == [1])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("#.man", ["heya.man", "man", "a.b.man"]),
        ("*.man", ["heya.man"]),
        ("heya.#", ["heya.man", "heya"]),
        ("heya.man", ["heya.man"]),
        ("#", ["heya.man", "man", "a.b.man", "heya", "else"]),
    ],
)
def test_routing_keys_select_who_hears(
    ground: Ground, launch: Launch, pattern: str, expected: list[str]
) -> None:
    heard, config = Heard(), ground.node("one")
    launch("listener", ground.node("two"), heard, rx_routing_key=pattern)
    for key in ("heya.man", "man", "a.b.man", "heya", "else"):
        chart = launch(key, config, tx_routing_key=key, rx_routing_key="nothing")
        chart.transmit(event("under", key))
    launch("last", config, tx_routing_key=pattern.replace("#", "heya.man").replace("*", "heya"))
    wait_until(lambda: set(heard.payloads) >= set(expected))
    assert sorted(heard.payloads) == sorted(expected)


def test_a_burst_reaches_a_slow_chart_whole_and_in_order(ground: Ground, launch: Launch) -> None:
    # Given a chart that is slower than the burst
    heard, longest, pause = Heard(), [0], threading.Event()

    def slowly(chart: NetworkedActiveObject, e: Event) -> None:
        longest[0] = max(longest[0], len(chart.queue))
        pause.wait(HANDLER_S)
        heard(chart, e)

    launch("slow", ground.node("two"), slowly)
    sender = launch("fast", ground.node("one"))
    # When ten times as many events come at once as the FIFO has places
    for number in range(BURST):
        sender.transmit(event("burst", number))
    # Then none is lost and the FIFO never came near its end
    wait_until(lambda: len(heard) >= BURST, 40, message="the burst was handled")
    assert heard.payloads == list(range(BURST))
    assert FIFO_PLACES / 10 < longest[0] < FIFO_PLACES / 2


def test_stop_delivers_what_was_transmitted_just_before(ground: Ground, launch: Launch) -> None:
    heard, recorder = Heard(), Recorder()
    launch("listener", ground.node("two", observers=(recorder,)), heard)
    sender = launch("leaver", ground.node("one"))
    for number in range(500):
        sender.transmit(event("last words", number))
    assert sender.stop().left_over == 0
    wait_until(lambda: heard.payloads == list(range(500)))
    # And the others hear that it left
    wait_until(lambda: recorder.goodbyes == ["leaver"])


def test_a_handler_may_stop_its_own_chart(ground: Ground, launch: Launch) -> None:
    done = threading.Event()

    def leave(chart: NetworkedActiveObject, _: Event) -> None:
        chart.transmit(event("leaving"))
        chart.stop()
        done.set()

    heard = Heard()
    chart = launch("leaver", ground.node("two"), leave)
    launch("other", ground.node("one"), heard).transmit(event("leave"))
    assert done.wait(10)
    wait_until(lambda: heard == [("leaving", None)])
    wait_until(lambda: not is_alive(chart))


def test_a_callback_may_stop_its_own_chart(
    ground: Ground, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    stopped: list[StopReport] = []
    charts: list[NetworkedActiveObject] = []

    def stop(_: object) -> None:
        stopped.append(charts.pop().stop())

    charts.append(launch("by event", ground.node("two"), on_mesh_rx=stop))
    launch("other", ground.node("one")).transmit(event("stop"))
    wait_until(lambda: stopped == [StopReport()])
    watcher = NetworkedActiveObject("by record", config=ground.node("three"), on_trace_rx=stop)
    charts.append(watcher)
    watcher.enable_snoop_trace()
    watcher.start_at(alone(Heard()))
    wait_until(lambda: stopped == [StopReport()] * 2)
    wait_until(lambda: all("-one-" in name for name in _mesh_threads()))
    assert not caplog.records


def test_a_program_that_ends_without_stop_has_sent_what_it_transmitted(launch: Launch) -> None:
    heard = Heard()
    launch("listener", MeshConfig(), heard, rx_routing_key="#")
    program = """
from miros import Event, spy_on, return_status
from miros_mesh import NetworkedActiveObject

@spy_on
def only(chart, event):
    chart.temp.fun = chart.top
    return return_status.SUPER

chart = NetworkedActiveObject("hasty")
chart.start_at(only)
for number in range(100):
    chart.transmit(Event(signal="hasty", payload=number))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wait_until(lambda: heard.payloads == list(range(100)))


# One node for many charts


def test_connections_do_not_grow_with_the_number_of_charts(
    rabbitmq: RabbitServer, vhost_url: str, launch: Launch
) -> None:
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY)
    before = (_connections(rabbitmq), _sockets_to(rabbitmq))
    launch("0", config)
    one = (_connections(rabbitmq), _sockets_to(rabbitmq))
    threads = _mesh_threads()
    for number in range(1, 10):
        # Equal settings need not be the same object
        again = MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY.decode())
        launch(str(number), again)
    ten = (_connections(rabbitmq), _sockets_to(rabbitmq))
    assert one == ten == (before[0] + 2, before[1] + 2)
    assert _mesh_threads() == threads
    # And other settings have connections of their own
    launch("other", config.overridden(prefetch_frames=10))
    assert _sockets_to(rabbitmq) == ten[1] + 2


@pytest.mark.parametrize("ground", ["embedded", "memory"], indirect=True)
def test_threads_do_not_grow_with_the_number_of_charts(ground: Ground, launch: Launch) -> None:
    launch("0", ground.node("one"))
    threads = _mesh_threads()
    for number in range(1, 10):
        launch(str(number), ground.node("one"))
    assert _mesh_threads() == threads
    assert len(threads) == 3


def test_a_node_goes_on_until_its_last_chart_stops(ground: Ground, launch: Launch) -> None:
    heard = Heard()
    first = launch("first", ground.node("one"))
    second = launch("second", ground.node("one"))
    launch("listener", ground.node("two"), heard)
    assert first.stop().left_over == 0
    second.transmit(event("still"))
    wait_until(lambda: heard == [("still", None)])


def is_alive(chart: NetworkedActiveObject) -> bool:
    return chart.thread is not None and chart.thread.is_alive()


def _connections(server: RabbitServer) -> int:
    return int(server.eval("length(rabbit_networking:connections())"))


def _sockets_to(server: RabbitServer) -> int:
    established, remote = "01", f"0100007F:{server.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2] == remote and row[3] == established for row in rows)


def _mesh_threads() -> list[str]:
    return sorted(t.name for t in threading.enumerate() if t.name.startswith("mesh-"))


# When a chart dies


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exception_in_a_handler_ends_that_chart_alone_and_not_silently(
    ground: Ground, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given two charts of one node, one of which cannot handle an event
    def fail(_: NetworkedActiveObject, e: Event) -> None:
        raise ZeroDivisionError(f"on {e.signal_name}")

    heard, recorder = Heard(), Recorder()
    config = ground.node("home", observers=(recorder,))
    fragile = launch("fragile", config, fail)
    launch("robust", config, heard)
    sender = launch("sender", ground.node("away"))
    # When the event comes, and more after it
    for number in range(300):
        sender.transmit(event("poison", number))
    # Then the other chart handles them all
    wait_until(lambda: heard.payloads == list(range(300)))
    # And the death is told to the observer and logged with its cause, once
    wait_until(lambda: recorder.deaths)
    [(name, error)] = recorder.deaths
    assert (name, str(error)) == ("fragile", "on poison")
    [record] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "chart fragile is dead" in record.getMessage()
    assert record.exc_info
    assert record.exc_info[1] is error
    # And stop is as good as ever
    wait_until(lambda: not is_alive(fragile))
    assert fragile.stop().left_over == 0


def test_an_exception_at_the_start_leaves_nothing_behind(ground: Ground, launch: Launch) -> None:
    @spy_on
    def broken(chart: NetworkedActiveObject, e: Event) -> Any:
        if e.signal == signals.ENTRY_SIGNAL:
            raise ZeroDivisionError("at the start")
        chart.temp.fun = chart.top
        return return_status.SUPER

    chart = NetworkedActiveObject("broken", config=ground.node("one"))
    with pytest.raises(ZeroDivisionError, match="at the start"):
        chart.start_at(broken)
    assert not _mesh_threads()
    # And its name is free
    launch("broken", ground.node("one"))


# Causes


def test_an_event_transmitted_while_handling_one_carries_its_id(
    ground: Ground, launch: Launch
) -> None:
    # Given a chart that answers, by way of an event that it posts to itself
    def answer(chart: NetworkedActiveObject, e: Event) -> None:
        if e.signal_name == "question":
            chart.post_fifo(event("think"))
        elif e.signal_name == "think":
            chart.transmit(event("answer"))

    seen: dict[str, SnoopRecord] = {}

    def note(record: SnoopRecord) -> None:
        seen[record.text.partition(":")[0]] = record

    answerer = NetworkedActiveObject("answerer", config=ground.node("two"))
    asker = NetworkedActiveObject("asker", config=ground.node("one"), on_spy_rx=note)
    for chart in (answerer, asker):
        chart.enable_snoop_spy()
        chart.start_at(alone(answer))
    try:
        # When it is asked
        asker.transmit(event("question"))
        wait_until(lambda: {"question", "think", "answer"} <= set(seen))
    finally:
        answerer.stop()
        asker.stop()
    # Then each step names the event that caused it, across the mesh and back
    assert seen["question"].cause is None
    assert seen["question"].event_id == f"{seen['answer'].incarnation}/asker/1"
    assert seen["think"].cause == seen["question"].event_id
    assert seen["answer"].cause == seen["think"].event_id
    assert seen["answer"].event_id == f"{seen['question'].incarnation}/answerer/1"


# The advanced hooks


@dataclass(frozen=True)
class JsonSerializer:
    """A payload serializer as an application would write one."""

    name: str = "json"

    def dumps(self, payload: Any) -> bytes:
        return json.dumps(payload).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


def test_a_serializer_of_the_application_carries_the_payloads(
    ground: Ground, launch: Launch
) -> None:
    heard = Heard()
    launch("b", ground.node("two", serializer=JsonSerializer()), heard)
    sender = launch("a", ground.node("one", serializer=JsonSerializer()))
    sender.transmit(event("json", {"1": 2**80}))
    wait_until(lambda: heard == [("json", {"1": 2**80})])


def test_a_payload_that_the_receivers_serializer_cannot_read_is_counted_and_logged(
    ground: Ground, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    heard, recorder = Heard(), Recorder()
    launch("b", ground.node("two", serializer=JsonSerializer(), observers=(recorder,)), heard)
    launch("a", ground.node("one")).transmit(event("msgpack", {"a": b"\xff"}))
    json_sender = launch("c", ground.node("three", serializer=JsonSerializer()))
    wait_until(lambda: recorder.drops == [("mesh", "payload", 1)])
    json_sender.transmit(event("json", 1))
    wait_until(lambda: heard == [("json", 1)])
    assert "the payload of msgpack from a cannot be read" in caplog.text
    assert "the same serializer" in caplog.text


def test_on_mesh_rx_takes_the_place_of_the_fifo_and_may_raise(
    ground: Ground, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    called, handled = Heard(), Heard()

    def on_mesh_rx(e: Event) -> None:
        called.append((e.signal_name, e.payload))
        if e.payload == 0:
            raise ZeroDivisionError("in the callback")

    launch("listener", ground.node("two"), handled, on_mesh_rx=on_mesh_rx)
    sender = launch("sender", ground.node("one"))
    for number in range(3):
        sender.transmit(event("called", number))
    wait_until(lambda: called == [("called", 0), ("called", 1), ("called", 2)])
    assert handled == []
    assert "on_mesh_rx of chart listener raised" in caplog.text


def test_a_factorys_states_hear_and_transmit(ground: Ground, launch: Launch) -> None:
    heard = Heard()
    factory = NetworkedFactory("factory", config=ground.node("two"))

    def on_question(chart: NetworkedFactory, e: Event) -> Any:
        chart.transmit(event("answer", e.payload))
        return return_status.HANDLED

    state = factory.create(state="ready")
    ready = state.catch(signal=signals.question, handler=on_question).to_method()
    factory.nest(ready, parent=None)
    factory.start_at(ready)
    try:
        launch("asker", ground.node("one"), heard).transmit(event("question", 42))
        wait_until(lambda: heard == [("answer", 42)])
    finally:
        factory.stop()


def test_on_trace_rx_and_on_spy_rx_get_the_records_of_every_chart_and_nothing_is_printed(
    ground: Ground, capfd: pytest.CaptureFixture[str]
) -> None:
    records: list[SnoopRecord] = []
    watcher = NetworkedActiveObject(
        "watcher",
        config=ground.node("one"),
        on_trace_rx=records.append,
        on_spy_rx=records.append,
    )
    other = NetworkedActiveObject("other", config=ground.node("two"))
    for chart in (watcher, other):
        chart.enable_snoop_trace()
        chart.enable_snoop_spy()
        chart.start_at(alone(Heard()))
    try:
        capfd.readouterr()
        other.post_fifo(event("work"))
        wait_until(lambda: ("other", "work:listening") in {(r.chart, r.text) for r in records})
        wait_until(lambda: {"trace", "spy"} <= {r.kind for r in records if r.chart == "other"})
    finally:
        watcher.stop()
        other.stop()
    starts = {r.chart: r for r in records if r.kind == "trace"}
    assert set(starts) == {"watcher", "other"}
    for name, record in starts.items():
        assert (record.signal, record.from_state, record.to_state) == (
            "start_at",
            "top",
            "listening",
        )
        assert record.text == "e->start_at() top->listening"
        assert (record.chart, record.sequence) == (name, 1)


def test_charts_without_instrumentation_talk(ground: Ground, launch: Launch) -> None:
    heard = Heard()
    chart = launch("plain", ground.node("two"), heard, spied=False)
    chart.enable_snoop_trace()
    chart.enable_snoop_spy()
    launch("sender", ground.node("one"), spied=False).transmit(event("plainly", 1))
    wait_until(lambda: heard == [("plainly", 1)])


# A name that lasts


def test_a_node_that_comes_back_under_its_name_gets_what_was_sent_meanwhile(
    ground: Ground, launch: Launch
) -> None:
    before, after = Heard(), Heard()
    keeper = launch("chart", ground.node("keeper"), before)
    sender = launch("sender", ground.node("sender"))
    sender.transmit(event("sent", 0))
    wait_until(lambda: before.payloads == [0])
    keeper.stop()
    for number in range(1, 4):
        sender.transmit(event("sent", number))
    launch("chart", ground.node("keeper"), after)
    sender.transmit(event("sent", 4))
    wait_until(lambda: 4 in after.payloads)
    assert before.payloads + after.payloads == [0, 1, 2, 3, 4]


def test_stop_gives_back_what_was_not_handled_and_nothing_else(
    ground: Ground, launch: Launch
) -> None:
    # Given a chart in the middle of its first event, with more behind it
    handling, go_on, before, after = threading.Event(), threading.Event(), Heard(), Heard()

    def slowly(chart: NetworkedActiveObject, e: Event) -> None:
        before(chart, e)
        handling.set()
        assert go_on.wait(10)

    config = ground.node("keeper", drain_timeout_s=0.2)
    keeper = launch("chart", config, slowly)
    sender = launch("sender", ground.node("sender"))
    sender.transmit(event("sent", 0))
    assert handling.wait(10)
    for number in range(1, 5):
        sender.transmit(event("sent", number))
    # When it is stopped, has the time for no other event, and comes back
    stopping = threading.Thread(target=keeper.stop)
    stopping.start()
    wait_until(lambda: not keeper.activeobject_task_event.is_set())
    go_on.set()
    stopping.join(10)
    launch("chart", config, after)
    # Then every event was handled once
    wait_until(lambda: 4 in after.payloads)
    assert before.payloads == [0]
    assert after.payloads == [1, 2, 3, 4]


# Keys


@pytest.mark.parametrize(
    ("sends", "opens"),
    [
        ([OTHER_KEY], [OTHER_KEY, KEY]),
        ([OTHER_KEY], [KEY, OTHER_KEY]),
        ([KEY, OTHER_KEY], [OTHER_KEY, KEY]),
        ([KEY], [KEY, OTHER_KEY]),
    ],
)
def test_during_a_key_rotation_old_and_new_nodes_hear_each_other(
    ground: Ground, launch: Launch, sends: list[bytes], opens: list[bytes]
) -> None:
    heard = Heard()
    listener = ground.node("two").overridden(mesh_encryption_key=tuple(opens))
    sender = ground.node("one").overridden(mesh_encryption_key=tuple(sends))
    launch("b", listener, heard)
    launch("a", sender).transmit(event("rotated"))
    wait_until(lambda: heard == [("rotated", None)])


# Where settings come from


def test_the_constructor_wins_over_the_config_and_the_config_over_the_environment(
    ground: Ground, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIROS_MESH_ENCRYPTION_KEY", OTHER_KEY.decode())
    heard = Heard()
    with_key = ground.node("one").overridden(mesh_encryption_key=KEY)
    launch("listener", with_key, heard)
    # The config's key, not that of the environment
    launch("by config", ground.node("two").overridden(mesh_encryption_key=KEY)).transmit(
        event("config")
    )
    # The constructor's key, not that of the config
    wrong = ground.node("three").overridden(mesh_encryption_key=OTHER_KEY)
    launch("by constructor", wrong, mesh_encryption_key=KEY).transmit(event("constructor"))
    wait_until(lambda: sorted(heard) == [("config", None), ("constructor", None)])


def test_without_a_config_the_environment_says_everything(
    launch: Launch, vhost_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIROS_MESH_BROKER_URL", vhost_url)
    monkeypatch.setenv("MESH_ENCRYPTION_KEY", KEY.decode())
    heard = Heard()
    launch("listener", MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY), heard)
    launch("by environment", None).transmit(event("heard"))
    wait_until(lambda: heard == [("heard", None)])


def test_the_ancestors_variables_are_understood(
    rabbitmq: RabbitServer, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    rabbitmq.start()
    for name, value in {
        "RABBIT_USER": USER,
        "RABBIT_PASSWORD": PASSWORD,
        "RABBIT_PORT": str(rabbitmq.port),
        "RABBIT_HEARTBEAT_INTERVAL": "7",
        "CONNECTION_ATTEMPTS": "2",
        "MESH_ENCRYPTION_KEY": KEY.decode(),
        "SNOOP_TRACE_ENCRYPTION_KEY": OTHER_KEY.decode(),
        "SNOOP_SPY_ENCRYPTION_KEY": OTHER_KEY.decode(),
    }.items():
        monkeypatch.setenv(name, value)
    heard = Heard()
    config = MeshConfig(
        broker_url=rabbitmq.url("/"), mesh_encryption_key=KEY, heartbeat_interval_s=7
    )
    launch("listener", config, heard, rx_routing_key="ancestor.#")
    speaker = launch("by environment", None, tx_routing_key="ancestor.speaks")
    speaker.transmit(event("heard"))
    wait_until(lambda: heard == [("heard", None)])


# The FIFO


def test_threads_that_post_at_once_do_not_disturb_each_others_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given three threads that post as fast as they can and change places often
    queue, count = ChartQueue(lambda _: None), 5_000
    taken: list[tuple[int, int]] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.00001)
    posted = [[Event(signal="posted", payload=(who, n)) for n in range(count)] for who in range(3)]

    def post(events: list[Event]) -> None:
        for each in events:
            wait_until(lambda: queue.room > 0)
            queue.append(each)

    threads = [threading.Thread(target=post, args=(events,)) for events in posted]
    try:
        for thread in threads:
            thread.start()
        # When one thread takes the events the way miros does
        while len(taken) < 3 * count:
            queue.wait(timeout=10)
            if len(queue):
                taken.append(queue.popleft().payload)
            queue.task_done()
    finally:
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join(10)
    # Then what each of them posted is whole and in order
    for who in range(3):
        assert [n for poster, n in taken if poster == who] == list(range(count))


def test_the_signal_names_that_strangers_bring_are_limited(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh, heard, recorder = MemoryMesh(), Heard(), Recorder()
    # The first chart of a process enters the library's own names
    NetworkedActiveObject("first", config=mesh.config())
    monkeypatch.setattr("miros_mesh.statechart.signal_table.MOST_NAMES", len(signals) + 1)
    launch("listener", mesh.config(node_name="two", observers=(recorder,)), heard)
    sender = launch("sender", mesh.config(node_name="one"))
    sender.transmit(Event(signal=signals.name_that_the_receiver_knows))
    wait_until(lambda: len(heard) == 1)
    for number in range(3):
        sender.transmit(_Foreign(f"name_nobody_knows_{number}"))
    sender.transmit(Event(signal=signals.name_that_the_receiver_knows))
    wait_until(lambda: len(heard) == 2)
    assert recorder.drops == [("mesh", "signal_table_full", 1)] * 3


@dataclass(frozen=True)
class _Foreign:
    """An event whose signal name this process does not know, as another process would send it."""

    signal_name: str
    payload: Any = None
