"""A snoop network is switched off again: by whom, when, and what is still shown of before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kombu
import pytest
from miros import Event, return_status, signals, spy_on

from miros_mesh import (
    MeshConfig,
    NetworkedActiveObject,
    NetworkedFactory,
    Observer,
    SnoopRecord,
)
from miros_mesh.embedded.transport import dial as embedded
from miros_mesh.observe.snoop.overview import Overview
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import KEY, Ground, Heard, Launch, alone, event, node_of
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

LIMIT_S = 60.0
EVENTS = 300
ROUNDS = 40


class Gaps(Observer):
    def __init__(self) -> None:
        self.told: list[tuple[str, str, int]] = []

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.told.append((network, sender, missing))


class Calls(Observer):
    """Calls once what it is given, from a hook of the subscriber's thread."""

    def __init__(self) -> None:
        self.call: Callable[[], object] | None = None

    def received(self, *, network: str, events: int, size_bytes: int) -> None:
        if network == "mesh" and self.call:
            call, self.call = self.call, None
            call()


@spy_on
def ping(chart: Any, e: Event) -> int:
    """Each event of the program is a transition, but for those that say what is done."""
    if signals.is_inner_signal(e.signal_name) or passed(e):
        chart.temp.fun = chart.top
        return return_status.SUPER
    return int(chart.trans(pong))


@spy_on
def pong(chart: Any, e: Event) -> int:
    if signals.is_inner_signal(e.signal_name) or passed(e):
        chart.temp.fun = chart.top
        return return_status.SUPER
    return int(chart.trans(ping))


def passed(e: Event) -> bool:
    """Whether it says that those before it are done."""
    if e.signal_name == "passed":
        e.payload.set()
    return e.signal_name == "passed"


def handled(chart: NetworkedActiveObject, signal: str) -> None:
    """Have a chart handle an event, and wait for the end of that step."""
    done = threading.Event()
    chart.post_fifo(event(signal))
    chart.post_fifo(event("passed", done))
    assert done.wait(LIMIT_S)


def dialled(config: MeshConfig) -> kombu.Connection:
    """A connection to the broker of a mesh, past the library."""
    if isinstance(config.link_factory, MemoryMesh):
        return config.link_factory._store.dial()
    url = config.broker_url[0] if isinstance(config.broker_url, tuple) else None
    return kombu.Connection(url) if url else embedded(config.home_folder)


def queue_is_there(chart: NetworkedActiveObject, network: str) -> bool:
    """Whether the broker has the queue in which a snoop network waits for a chart's node."""
    node = node_of(chart)
    with dialled(node.config) as connection:
        queue = kombu.Queue(node.queues.of_watchers(network).name, channel=connection.channel())
        try:
            queue.queue_declare(passive=True)
        except connection.channel_errors:
            return False
        return True


def texts(records: list[SnoopRecord], chart: str) -> list[str]:
    return [record.text for record in list(records) if record.chart == chart]


def marks(records: list[SnoopRecord], chart: str) -> set[str | None]:
    """The signals of a chart's transitions, and what its spy says of events."""
    seen = set[str | None]()
    for record in list(records):
        if record.chart == chart:
            seen |= {record.signal, record.text.partition(":")[0]}
    return seen


@contextmanager
def running(*charts: NetworkedActiveObject, at: Any = ping) -> Iterator[None]:
    try:
        for chart in charts:
            chart.start_at(at)
        yield
    finally:
        for chart in charts:
            chart.stop()


def snooping(
    name: str, config: MeshConfig, kind: type[Any] = NetworkedActiveObject
) -> tuple[Any, list[SnoopRecord]]:
    """A chart that takes part in both networks, and what its callbacks got."""
    records: list[SnoopRecord] = []
    chart = kind(name, config=config, on_trace_rx=records.append, on_spy_rx=records.append)
    chart.enable_snoop_trace()
    chart.enable_snoop_spy()
    return chart, records


# One chart and what others see of it


def test_a_chart_that_has_switched_off_tells_and_is_told_nothing_and_begins_again(
    ground: Ground,
) -> None:
    # Given two nodes that see each other's charts
    gaps = Gaps()
    watcher, seen = snooping("watcher", ground.node("one", observers=(gaps,)))
    worker, own = snooping("worker", ground.node("two"))
    with running(watcher, worker):
        handled(worker, "before")
        wait_until(lambda: "before" in marks(seen, "worker"))
        # When one of them switches both off
        worker.disable_snoop_trace()
        worker.disable_snoop_spy()
        told = len(own)
        handled(worker, "meanwhile")
        worker.snoop_scribble("meanwhile")
        handled(watcher, "meanwhile")
        wait_until(lambda: "meanwhile" in marks(seen, "watcher"))
        # Then it is told nothing, but for a call that ran
        assert len(own) <= told + 1
        # When it takes part again
        worker.enable_snoop_trace()
        worker.enable_snoop_spy()
        worker.post_fifo(event("passed", threading.Event()))
        # `passed` makes no transition, and is no occasion to tell of an older one
        handled(worker, "after")
        wait_until(lambda: {"e->after() ping->pong", "after:ping"} <= set(texts(seen, "worker")))
        # Then the others have seen no step of meanwhile, and miss none
        assert "meanwhile" not in " ".join(texts(seen, "worker"))
        for kinds in ({"trace", "scribble"}, {"spy"}):
            numbers = [r.sequence for r in seen if r.chart == "worker" and r.kind in kinds]
            assert numbers == list(range(1, len(numbers) + 1))
        # And it is told of what the others do from now on, with no gap for what it has not asked
        handled(watcher, "later")
        wait_until(lambda: "later" in marks(own, "watcher"))
    assert gaps.told == []


@pytest.mark.parametrize(("off", "stays"), [("trace", "spy"), ("spy", "trace")])
def test_one_network_is_switched_off_without_the_other(
    ground: Ground, off: str, stays: str
) -> None:
    chart, records = snooping("chart", ground.node("one"), NetworkedFactory)
    with running(chart):
        handled(chart, "before")
        wait_until(lambda: {"trace", "spy"} <= {record.kind for record in records})
        getattr(chart, f"disable_snoop_{off}")()
        told = len(records)
        handled(chart, "after")
        wait_until(lambda: "after" in marks(records[told:], "chart"))
        assert {record.kind for record in records[told:]} == {stays}
        wait_until(lambda: not queue_is_there(chart, f"snoop_{off}"))
        assert queue_is_there(chart, f"snoop_{stays}")


def test_a_queue_goes_with_the_last_chart_of_its_node_and_comes_again(ground: Ground) -> None:
    config = ground.node("shared")
    (one, _), (other, records) = snooping("one", config), snooping("other", config)
    with running(one, other):
        assert node_of(one) is node_of(other)
        one.disable_snoop_trace()
        # The other one is shown what it was shown
        handled(other, "shown")
        wait_until(lambda: "shown" in marks(records, "other"))
        assert queue_is_there(other, "snoop_trace")
        other.disable_snoop_trace()
        wait_until(lambda: not queue_is_there(other, "snoop_trace"))
        one.enable_snoop_trace()
        assert queue_is_there(one, "snoop_trace")
        # Also when a chart leaves that was the last one to watch
        one.stop()
        wait_until(lambda: not queue_is_there(other, "snoop_trace"))


def test_top_shows_a_node_while_a_chart_of_it_takes_part(ground: Ground) -> None:
    def shown() -> dict[str, list[str]]:
        return {node.name: [chart.name for chart in node.charts] for node in overview.nodes}

    config = ground.node("gatehouse")
    (one, _), (other, _) = snooping("one", config), snooping("other", config)
    with Overview(ground.make()) as overview, running(one, other):
        wait_until(lambda: shown() == {"gatehouse": ["one", "other"]})
        one.disable_snoop_trace()
        other.disable_snoop_spy()
        other.disable_snoop_trace()
        wait_until(lambda: shown() == {"gatehouse": ["one"]})
        one.disable_snoop_spy()
        # At once, and not when it was silent for long
        wait_until(lambda: shown() == {})
        sent = node_of(one).statuses.network.sequence_of("gatehouse")
        # Its thread sleeps until there is a reason to wake
        recorder = node_of(one).recorder
        wait_until(lambda: not recorder._awake and recorder._pause_s() is None)
        other.enable_snoop_spy()
        wait_until(lambda: shown() == {"gatehouse": ["other"]})
        assert node_of(one).statuses.network.sequence_of("gatehouse") > sent


def test_lines_are_as_the_last_call_says(capfd: pytest.CaptureFixture[str]) -> None:
    chart = NetworkedActiveObject("chart", config=MemoryMesh().config())
    chart.enable_snoop_trace()
    with running(chart):
        chart.disable_snoop_trace()
        handled(chart, "unseen")
        chart.enable_snoop_trace_no_color()
        handled(chart, "plain")
        chart.disable_snoop_trace()
        chart.enable_snoop_trace_no_color()
        chart.enable_snoop_trace()
        handled(chart, "colored")
        chart.disable_snoop_trace()
        handled(chart, "unseen")
    lines = [line.rpartition("] [")[2] for line in capfd.readouterr().out.splitlines()]
    assert lines == [
        "\x1b[94mchart\x1b[0m] e->start_at() top->ping",
        "chart] e->plain() pong->ping",
        "\x1b[94mchart\x1b[0m] e->colored() ping->pong",
    ]


# When


def test_it_may_be_called_at_any_time_and_again(ground: Ground) -> None:
    chart, records = snooping("chart", ground.node("one"))
    never = NetworkedActiveObject("never", config=ground.node("two"))
    # Before the start
    chart.disable_snoop_trace()
    chart.disable_snoop_spy()
    chart.disable_snoop_spy()
    never.disable_snoop_trace()
    with running(chart, never):
        handled(chart, "first")
        assert not node_of(chart).recorder.runs, "it takes no part, and has no thread for it"
        assert not queue_is_there(chart, "snoop_trace")
        # While it runs, enabled or not
        never.disable_snoop_spy()
        chart.disable_snoop_trace()
        chart.enable_snoop_trace_no_color()
        handled(chart, "second")
        wait_until(lambda: "second" in marks(records, "chart"))
        chart.disable_snoop_trace()
        chart.disable_snoop_trace()
    # After the stop
    chart.disable_snoop_trace()
    chart.disable_snoop_spy()
    never.disable_snoop_trace()
    assert {record.signal for record in records} == {"second"}


def test_the_last_call_counts_also_when_the_one_before_still_waits(ground: Ground) -> None:
    # Given a node whose recorder does not get on
    chart, records = snooping("chart", ground.node("one"))
    with running(chart):
        gate, stuck = threading.Event(), threading.Event()

        def hold(_: object) -> None:
            stuck.set()
            gate.wait(LIMIT_S)

        node_of(chart).trace.watch("slow", hold)
        handled(chart, "before")
        assert stuck.wait(LIMIT_S)
        # When a thread switches the trace off, which waits for what was recorded
        off = threading.Thread(target=chart.disable_snoop_trace)
        off.start()
        wait_until(lambda: node_of(chart).trace._recorded == set())
        # And another one switches it on before that has ended
        chart.enable_snoop_trace()
        gate.set()
        off.join(LIMIT_S)
        # Then it is on
        node_of(chart).trace.unwatch("slow")
        handled(chart, "after")
        wait_until(lambda: "after" in {r.signal for r in records})
        assert queue_is_there(chart, "snoop_trace")


# From where


def test_a_handler_switches_its_own_chart_off(ground: Ground, launch: Launch) -> None:
    def handle(chart: NetworkedActiveObject, e: Event) -> None:
        if not passed(e) and e.signal_name == "off":
            chart.disable_snoop_spy()

    records: list[SnoopRecord] = []
    chart = launch("chart", ground.node("one"), handle, on_spy_rx=records.append)
    chart.enable_snoop_spy()
    handled(chart, "shown")
    wait_until(lambda: "shown" in marks(records, "chart"))
    handled(chart, "off")
    handled(chart, "hidden")
    wait_until(lambda: not queue_is_there(chart, "snoop_spy"))
    # Its step is over after the call, so that is not told, either.
    assert marks(records, "chart").isdisjoint({"off", "hidden"})


def test_a_snoop_callback_switches_its_own_chart_off(ground: Ground, launch: Launch) -> None:
    records: list[SnoopRecord] = []

    def once(record: SnoopRecord) -> None:
        records.append(record)
        chart.disable_snoop_spy()

    chart = launch("chart", ground.node("one"), on_spy_rx=once)
    chart.enable_snoop_spy()
    for _ in range(50):
        chart.post_fifo(event("work"))
    wait_until(lambda: chart.queue.handled >= 50)
    wait_until(lambda: not queue_is_there(chart, "snoop_spy"))
    assert len(records) == 1


def test_a_callback_and_a_hook_of_the_subscribers_thread_switch_a_chart_off(
    ground: Ground,
) -> None:
    # Given a chart whose callback switches off one network, and an observer the other
    calls = Calls()
    got: list[str] = []

    def off(e: Event) -> None:
        chart.disable_snoop_trace()
        got.append(e.signal_name)

    chart = NetworkedActiveObject(
        "chart",
        config=ground.node("one", observers=(calls,)),
        on_mesh_rx=off,
        on_trace_rx=lambda _: None,
        on_spy_rx=lambda _: None,
    )
    chart.enable_snoop_trace()
    chart.enable_snoop_spy()
    calls.call = chart.disable_snoop_spy
    sender = NetworkedActiveObject("sender", config=ground.node("two"))
    with running(chart, sender):
        # When an event comes
        sender.transmit(event("anything"))
        # Then both return, and both networks are off
        wait_until(lambda: got == ["anything"])
        for network in ("snoop_trace", "snoop_spy"):
            wait_until(lambda network=network: not queue_is_there(chart, network))


@pytest.mark.proof
def test_it_is_switched_off_and_on_while_the_broker_is_away(
    rabbitmq: RabbitServer, vhost_url: str
) -> None:
    # Given a node in both networks whose broker goes away
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY)
    chart, records = snooping("chart", config)
    with running(chart):
        rabbitmq.stop()
        wait_until(lambda: not chart.health().consuming)
        # When the chart switches both off, which waits for no broker
        chart.disable_snoop_trace()
        chart.disable_snoop_spy()
        told = len(records)
        handled(chart, "meanwhile")
        rabbitmq.start()
        wait_until(lambda: chart.health().consuming, LIMIT_S)
        # Then neither is consumed when it is there again
        for network in ("snoop_trace", "snoop_spy"):
            wait_until(lambda network=network: not queue_is_there(chart, network))
        assert len(records) == told
        chart.enable_snoop_spy()
        assert queue_is_there(chart, "snoop_spy")


# Under load


class Threads:
    """Threads of a test, and what they raised."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def run(self, work: Callable[..., object], *arguments: object) -> None:
        def guarded() -> None:
            try:
                work(*arguments)
            except BaseException as error:
                self.errors.append(error)
                raise

        thread = threading.Thread(target=guarded, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(LIMIT_S)
        assert not any(thread.is_alive() for thread in self._threads), "somebody waits for ever"
        assert self.errors == []


def switch(chart: NetworkedActiveObject, stream: str) -> None:
    """Switch a network on and off; what is done while it is off has a name of its own."""
    on, off = getattr(chart, f"enable_snoop_{stream}"), getattr(chart, f"disable_snoop_{stream}")
    for _ in range(ROUNDS):
        off()
        handled(chart, f"hidden_{stream}_{chart.name}")
        on()
        handled(chart, f"shown_{stream}_{chart.name}")


def test_networks_are_switched_by_many_threads_while_events_flow(ground: Ground) -> None:
    # Given two charts of a node that one thread each switches for each network, and on other nodes
    # one that sees all and one that talks to it
    gaps, heard, node = Gaps(), Heard(), ground.node("one")
    (front, _), (back, _) = snooping("front", node), snooping("back", node)
    watcher, seen = snooping("watcher", ground.node("two", observers=(gaps,)))
    talker = NetworkedActiveObject("talker", config=ground.node("three"), tx_routing_key="talk")
    listener = NetworkedActiveObject("listener", config=node, rx_routing_key="talk")
    threads = Threads()

    def talk() -> None:
        for number in range(EVENTS):
            talker.transmit(event("said", number))

    with running(front, back, watcher), running(talker, listener, at=alone(heard)):
        # When all are at work at once
        for chart in (front, back):
            for stream in ("trace", "spy"):
                threads.run(switch, chart, stream)
        threads.run(talk)
        threads.join()
        # Then no event is lost
        wait_until(lambda: len(heard) >= EVENTS)
        assert heard.payloads == list(range(EVENTS))
        # And what was done while a network was off is not told in it
        for chart in (front, back):
            handled(chart, "last")
        for chart in (front, back):
            wait_until(
                lambda chart=chart: (
                    {"trace", "spy"}
                    <= {r.kind for r in seen if r.chart == chart.name and "last" in r.text}
                )
            )
            for stream in ("trace", "spy"):
                told = [r for r in seen if r.chart == chart.name and r.kind == stream]
                assert any(f"shown_{stream}" in r.text for r in told)
                hidden = f"hidden_{stream}_{chart.name}"
                assert [r.text for r in told if hidden in r.text] == []
                numbers = [r.sequence for r in told]
                assert numbers == list(range(numbers[0], numbers[0] + len(told)))
    assert gaps.told == []


def test_threads_that_switch_one_chart_at_once_end_as_the_last_call_says(ground: Ground) -> None:
    # Given a chart at work that some threads switch on, and others off
    chart, records = snooping("chart", ground.node("one"))
    threads, ended = Threads(), threading.Event()

    def again_and_again(call: Callable[[], object]) -> None:
        for _ in range(ROUNDS):
            call()

    def work() -> None:
        while not ended.is_set():
            handled(chart, "work")

    with running(chart):
        worker = Threads()
        worker.run(work)
        for stream in ("trace", "spy"):
            for call in ("enable", "disable", "enable", "disable"):
                threads.run(again_and_again, getattr(chart, f"{call}_snoop_{stream}"))
        threads.join()
        # When the last one has switched it off, while it works on
        chart.disable_snoop_trace()
        chart.disable_snoop_spy()
        told = len(records)
        done = chart.queue.handled
        wait_until(lambda: chart.queue.handled > done + 20)
        # Then it tells nothing, and there is no queue
        for network in ("snoop_trace", "snoop_spy"):
            wait_until(lambda network=network: not queue_is_there(chart, network))
        assert len(records) <= told + 1, "a callback that ran may have ended"
        # Nor would it, were it in the middle of a step
        node = node_of(chart)
        assert node.trace._recorded == node.spy._recorded == set()
        # When one switches it on, it is on
        chart.enable_snoop_trace()
        assert queue_is_there(chart, "snoop_trace")
        told = len(records)
        wait_until(lambda: len(records) > told + 2)
        ended.set()
        worker.join()


def test_a_chart_stops_while_threads_switch_it(ground: Ground) -> None:
    config = ground.node("one")
    stays, records = snooping("stays", config)
    with running(stays):
        for number in range(5):
            chart, _ = snooping(f"goes {number}", config)
            threads, ended = Threads(), threading.Event()

            def work(chart: Any = chart, ended: threading.Event = ended) -> None:
                while not ended.is_set():
                    chart.disable_snoop_trace()
                    chart.enable_snoop_trace()

            for _ in range(3):
                threads.run(work)
            with running(chart):
                handled(chart, "work")
            ended.set()
            threads.join()
        # What is left of them is nothing: the network is that of the chart that stays
        node = node_of(stays)
        for snoop in (node.trace, node.spy):
            assert set(snoop._watchers) == snoop._recorded == {"stays"}
        assert set(node._probes) == {"stays"}
        handled(stays, "work")
        wait_until(lambda: "work" in marks(records, "stays"))
        stays.disable_snoop_trace()
        wait_until(lambda: not queue_is_there(stays, "snoop_trace"))
