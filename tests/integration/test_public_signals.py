"""What the library posts into a program's charts."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest
from miros import ActiveObject, Event, return_status, signals, spy_on

from miros_mesh import (
    OUTBOX_OVERFLOW,
    PEER_DOWN,
    PEER_UP,
    MeshConfig,
    NetworkedActiveObject,
    OutboxOverflow,
    PeerChange,
)
from miros_mesh.charts import notices
from miros_mesh.errors import SignalError
from miros_mesh.signals import PUBLIC_SIGNALS
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import KEY, Heard, Launch, Recorder, event, node_of
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

HEARTBEAT_S = 2.0
BACK_LIMIT_S = 30.0
QUICK = {"heartbeat_interval_s": HEARTBEAT_S, "connect_timeout_s": 1.0}


class Told(list[tuple[str, Any]]):
    """The library's own signals that a chart handled."""

    def __call__(self, _: object, e: Event) -> None:
        if e.signal_name in PUBLIC_SIGNALS:
            self.append((e.signal_name, e.payload))

    @property
    def lost(self) -> int:
        """How many events overflowed, by what the chart was told."""
        return sum(payload.events for name, payload in self if name == OUTBOX_OVERFLOW)


def on_rabbitmq(url: str, **settings: Any) -> MeshConfig:
    return MeshConfig(broker_url=url, mesh_encryption_key=KEY, **{**QUICK, **settings})


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_chart_is_told_when_its_broker_goes_and_when_it_is_back(
    end: str, rabbitmq: RabbitServer, vhost_url: str, launch: Launch
) -> None:
    # Given a chart whose states handle it, and one that takes its events by a callback
    told, called = Told(), Told()
    received: list[Event] = []

    @spy_on
    def connected(chart: NetworkedActiveObject, e: Event) -> Any:
        told(chart, e)
        if e.signal == signals.PEER_DOWN:
            return chart.trans(alone_in_the_world)
        chart.temp.fun = chart.top
        return return_status.SUPER

    @spy_on
    def alone_in_the_world(chart: NetworkedActiveObject, e: Event) -> Any:
        told(chart, e)
        if e.signal == signals.PEER_UP:
            return chart.trans(connected)
        chart.temp.fun = chart.top
        return return_status.SUPER

    chart = NetworkedActiveObject("by state", config=on_rabbitmq(vhost_url))
    chart.start_at(connected)
    launch("by callback", on_rabbitmq(vhost_url), called, on_mesh_rx=received.append)
    address = on_rabbitmq(vhost_url).brokers[0].redacted
    try:
        # When the broker goes
        getattr(rabbitmq, end)()
        # Then both are told within two heartbeats
        wait_until(lambda: told and called, 2 * HEARTBEAT_S)
        assert told == called == [(PEER_DOWN, PeerChange(address, "connection_lost"))]
        # When it is back, then they are told so
        rabbitmq.start()
        wait_until(lambda: len(told) == len(called) == 2, BACK_LIMIT_S)
        assert told[1] == called[1] == (PEER_UP, PeerChange(address, "connected"))
        wait_until(lambda: chart.state_name == "connected")
    finally:
        chart.stop()
    assert "peter:" not in address
    assert received == []
    # And neither the chart's own stop nor what was there at its start is told
    assert len(told) == 2


def test_a_chart_is_told_how_many_events_its_full_outbox_lost(
    rabbitmq: RabbitServer, vhost_url: str, launch: Launch
) -> None:
    # Given a tiny outbox, and a broker that is gone
    told, recorder = Told(), Recorder()
    config = on_rabbitmq(vhost_url, outbox_events=10, frame_events=1, observers=(recorder,))
    chart = launch("sender", config, told)
    rabbitmq.stop()
    wait_until(lambda: told, 2 * HEARTBEAT_S)
    began = time.monotonic()
    # When far too many events are transmitted
    for number in range(500):
        chart.transmit(event("much", number))
    # Then the chart is told of all that went, a few times only, though nothing follows
    wait_until(lambda: told.lost == 490, 5)
    overflows = [payload for name, payload in told if name == OUTBOX_OVERFLOW]
    assert {payload.address for payload in overflows} == {config.brokers[0].redacted}
    assert len(overflows) <= time.monotonic() - began + 1
    assert sum(n for _, reason, n in recorder.drops if reason == "outbox_overflow") == 490
    rabbitmq.start()


def test_a_handler_that_overflows_its_outbox_by_transmitting_is_told_too(launch: Launch) -> None:
    told, recorder = Told(), Recorder()

    def flood(chart: NetworkedActiveObject, e: Event) -> None:
        told(chart, e)
        if e.signal_name == "go":
            for number in range(100):
                chart.transmit(event("much", number))

    config = MemoryMesh().config(outbox_events=10, frame_events=1, observers=(recorder,))
    chart = launch("sender", config, flood)
    publisher: Any = node_of(chart).peers.add(node_of(chart).home)
    publisher._window = 0
    chart.post_fifo(event("go"))
    # One more than fits may have got away
    wait_until(lambda: told.lost in {89, 90}, 5)
    assert sum(n for _, reason, n in recorder.drops if reason == "outbox_overflow") == told.lost
    assert all(name == OUTBOX_OVERFLOW for name, _ in told)
    publisher._window = 100


def test_an_observer_that_transmits_at_an_overflow_harms_nobody(launch: Launch) -> None:
    class Alarm(Recorder):
        def overflowed(self, *, peer: str, network: str, events: int) -> None:
            chart.transmit(event("alarm", events))

    told, alarm = Told(), Alarm()
    config = MemoryMesh().config(outbox_events=10, frame_events=1, observers=(alarm,))
    chart = launch("sender", config, told)
    publisher: Any = node_of(chart).peers.add(node_of(chart).home)
    publisher._window = 0

    def send() -> None:
        for number in range(50):
            chart.transmit(event("much", number))

    threads = [threading.Thread(target=send, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    # Every event that went is accounted for, also those that the alarm pushed out
    dropped = sum(n for _, reason, n in alarm.drops if reason == "outbox_overflow")
    wait_until(lambda: told.lost == dropped, 5)
    assert dropped > 190
    publisher._window = 100


@pytest.mark.parametrize("name", sorted(PUBLIC_SIGNALS))
def test_they_cannot_be_transmitted(name: str, launch: Launch) -> None:
    chart = launch("sender", MemoryMesh().config())
    with pytest.raises(SignalError, match=name):
        chart.transmit(event(name))


@pytest.mark.parametrize("name", sorted(PUBLIC_SIGNALS))
def test_they_are_refused_when_they_come_from_the_network(name: str, launch: Launch) -> None:
    mesh, told, recorder = MemoryMesh(), Told(), Recorder()
    launch("listener", mesh.config(node_name="two", observers=(recorder,)), told)
    sender = launch("sender", mesh.config(node_name="one"))
    node_of(sender).mesh.transmit("sender", "miros.mesh", name, None, None)
    wait_until(lambda: recorder.drops == [("mesh", "reserved_signal", 1)])
    assert told == []


def test_they_have_numbers_once_a_chart_is_made_and_not_before() -> None:
    program = (
        "from miros import signals\n"
        "import miros_mesh\n"
        "from miros_mesh.testing import MemoryMesh\n"
        "assert not {'PEER_UP', 'PEER_DOWN', 'OUTBOX_OVERFLOW'} & set(signals)\n"
        "miros_mesh.NetworkedActiveObject('a', config=MemoryMesh().config())\n"
        "assert {'PEER_UP', 'PEER_DOWN', 'OUTBOX_OVERFLOW'} <= set(signals)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


# A busy chart


@dataclass
class Busy:
    """A chart that handles nothing until it may, and what it handled then."""

    chart: NetworkedActiveObject
    gate: threading.Event
    handled: list[tuple[str, Any]]

    def fill(self, own: int) -> None:
        """Its FIFO holds so many events of its own."""
        self.chart.post_fifo(event("first"))
        wait_until(lambda: len(self.chart.queue) == 0)
        for number in range(own):
            self.chart.post_fifo(event("own", number))

    def tell(self, signal: str, payload: object) -> None:
        self.chart._notices.post(signal, payload)


@pytest.fixture
def busy(launch: Launch) -> Busy:
    gate, handled = threading.Event(), []

    def handle(_: ActiveObject, e: Event) -> None:
        gate.wait(10)
        handled.append((e.signal_name, e.payload))

    return Busy(launch("busy", MemoryMesh().config(), handle), gate, handled)


def test_signals_wait_while_the_fifo_is_nearly_full_and_push_nothing_out(busy: Busy) -> None:
    # Given a chart whose FIFO its own events fill to the last place
    busy.fill(own=500)
    # When its node has something to say, from several threads
    changes = [PeerChange("a", str(number)) for number in range(20)]
    for change in changes:
        busy.tell(PEER_DOWN, change)
    assert len(busy.chart.queue) == 500
    busy.gate.set()
    # Then its own events are all there, and what the node said comes in order
    wait_until(lambda: len(busy.handled) == 521)
    assert [payload for name, payload in busy.handled if name == "own"] == list(range(500))
    assert [payload for name, payload in busy.handled if name == PEER_DOWN] == changes
    first = busy.handled.index((PEER_DOWN, changes[0]))
    assert first > notices.NEARLY_FULL


def test_overflows_that_wait_are_added_up(busy: Busy) -> None:
    busy.fill(own=450)
    for amount in (1, 2, 3):
        busy.tell(OUTBOX_OVERFLOW, OutboxOverflow("a", amount))
    busy.tell(OUTBOX_OVERFLOW, OutboxOverflow("b", 4))
    busy.gate.set()
    wait_until(lambda: len(busy.handled) == 453)
    told = [payload for name, payload in busy.handled if name == OUTBOX_OVERFLOW]
    assert told == [OutboxOverflow("a", 6), OutboxOverflow("b", 4)]


def test_no_more_than_so_many_wait_and_it_is_logged(
    busy: Busy, caplog: pytest.LogCaptureFixture
) -> None:
    busy.fill(own=450)
    for number in range(notices.MOST_WAITING + 5):
        busy.tell(PEER_DOWN, PeerChange("a", str(number)))
    busy.gate.set()
    wait_until(lambda: len(busy.handled) == 451 + notices.MOST_WAITING)
    told = [payload.reason for name, payload in busy.handled if name == PEER_DOWN]
    assert told == [str(number) for number in range(5, notices.MOST_WAITING + 5)]
    [record] = caplog.records
    assert "too busy for the signals of its node" in record.getMessage()


def test_signals_told_by_many_threads_at_once_all_arrive(launch: Launch) -> None:
    told = Told()
    chart = launch("told", MemoryMesh().config(), told)

    def tell(who: int) -> None:
        for number in range(20):
            chart._notices.post(PEER_DOWN, PeerChange(str(who), str(number)))

    threads = [threading.Thread(target=tell, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(told) == 80)
    for who in range(4):
        own = [payload.reason for _, payload in told if payload.address == str(who)]
        assert own == [str(number) for number in range(20)]


def test_a_chart_of_states_without_spies_is_told_too(launch: Launch) -> None:
    told = Told()
    chart = launch("quiet", MemoryMesh().config(), told, spied=False)
    chart._notices.post(PEER_DOWN, PeerChange("a", "b"))
    wait_until(lambda: told == [(PEER_DOWN, PeerChange("a", "b"))])


def test_a_chart_that_knows_no_such_signal_goes_on(launch: Launch) -> None:
    heard, mesh = Heard(), MemoryMesh()

    @spy_on
    def ignorant(chart: NetworkedActiveObject, e: Event) -> Any:
        if e.signal == signals.known:
            heard(chart, e)
            return return_status.HANDLED
        chart.temp.fun = chart.top
        return return_status.SUPER

    chart = NetworkedActiveObject("ignorant", config=mesh.config())
    chart.start_at(ignorant)
    try:
        chart._notices.post(PEER_UP, PeerChange("a", "connected"))
        chart.post_fifo(event("known"))
        wait_until(lambda: heard == [("known", None)])
    finally:
        chart.stop()
