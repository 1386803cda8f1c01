"""The broker stops, is killed, freezes, runs out of memory or disk: no event is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from faults.conftest import Told, settings
from faults.traffic import SIGNAL, Account, Handled, events_through, record
from miros_mesh import NetworkedActiveObject, SnoopGap, SnoopMonitor, SnoopRecord
from miros_mesh.observe.snoop.watch import Watch
from support.charts_at_work import Heard, Launch, event
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

FROZEN_S = 4.0
ALARM_S = 3.0
LARGE = 2_000
LARGE_BYTES = 20_000
# RabbitMQ 3.10 forgets a quorum queue that was declared just before it is killed.
REGISTERED_S = 2.0
NOTE_EVERY_S = 0.005
MANY = 100_000
MONITOR_LIMIT_S = 20.0


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
def sender(own_url: str, launch: Launch, handled: Handled) -> NetworkedActiveObject:
    """A chart that sends to another one on a node of its own."""
    launch("receiver", settings(own_url, node_name="receiver"), handled)
    return launch("sender", settings(own_url), Heard())


def for_(seconds: float) -> None:
    """Let a fault last."""
    threading.Event().wait(seconds)


def test_broker_stopped_and_started(
    own_broker: RabbitServer, sender: NetworkedActiveObject, handled: Handled
) -> None:
    with events_through("broker stopped and started", sender, handled):
        own_broker.stop()
        own_broker.start()


def test_broker_killed_and_started(
    own_broker: RabbitServer, sender: NetworkedActiveObject, handled: Handled
) -> None:
    with events_through("broker killed and started", sender, handled):
        for_(REGISTERED_S)
        own_broker.kill()
        own_broker.start()


def test_broker_frozen_for_longer_than_two_heartbeats(
    own_broker: RabbitServer, sender: NetworkedActiveObject, handled: Handled
) -> None:
    with events_through("broker frozen", sender, handled), own_broker.frozen():
        for_(FROZEN_S)


def test_broker_stopped_and_started_under_a_monitor(
    own_broker: RabbitServer, own_url: str, launch: Launch
) -> None:
    # Given a chart that tells the snoop network one note after another, and a monitor
    sender = launch("sender", settings(own_url), Heard(), on_trace_rx=lambda _: None)
    sender.enable_snoop_trace()
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(NOTE_EVERY_S):
            sender.snoop_scribble("note")

    telling = threading.Thread(target=tell)
    items: list[SnoopRecord | SnoopGap] = []
    with SnoopMonitor(settings(own_url), networks=["snoop_trace"]) as monitor:
        watch = monitor.watch()
        telling.start()
        try:
            items += read(watch, 20)
            # When the broker goes and comes back
            own_broker.stop()
            items += watch.waiting(MANY)
            own_broker.start()
            # Then the monitor goes on by itself
            items += read(watch, 20)
        finally:
            ended.set()
            telling.join()
    # And every note is shown once, or is in a gap
    numbers = [item.sequence for item in items if isinstance(item, SnoopRecord)]
    missing = sum(item.missing for item in items if isinstance(item, SnoopGap))
    assert len(set(numbers)) == len(numbers)
    assert len(numbers) + missing == max(numbers) - min(numbers) + 1


def read(watch: Watch, amount: int) -> Iterator[SnoopRecord | SnoopGap]:
    """The next so many items."""
    for _ in range(amount):
        item = watch.get(MONITOR_LIMIT_S)
        assert item is not None
        yield item


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_alarm_on_and_off(
    kind: str, own_broker: RabbitServer, own_url: str, launch: Launch, handled: Handled
) -> None:
    told = Told()
    launch("receiver", settings(own_url, node_name="receiver"), handled)
    # An alarm is no reason to connect again, however long it lasts.
    config = settings(own_url, confirm_timeout_s=2.0, observers=(told,))
    sender = launch("sender", config, Heard())
    with events_through(f"{kind} alarm on and off", sender, handled), alarm(own_broker, kind):
        for_(ALARM_S)
    assert told.blocks == ["on", "off"]
    assert told.peers == 1


def test_memory_alarm_amid_more_than_a_socket_takes(
    own_broker: RabbitServer, own_url: str, launch: Launch
) -> None:
    handled = Heard()
    launch("receiver", settings(own_url), handled)
    sender = launch("sender", settings(own_url, confirm_timeout_s=1.0), Heard())
    with own_broker.memory_alarm():
        for number in range(LARGE):
            sender.transmit(event(SIGNAL, [number, b"x" * LARGE_BYTES]))
        for_(ALARM_S)
    began = time.monotonic()
    wait_until(lambda: len(handled) >= LARGE, 30)
    seconds = time.monotonic() - began
    account = Account.of(range(LARGE), [payload[0] for payload in handled.payloads])
    record("memory alarm amid 40 MB", account, seconds)
    assert account.perfect, account


def alarm(server: RabbitServer, kind: str) -> AbstractContextManager[None]:
    """Block publishers the way a server does that is short of something."""
    return server.memory_alarm() if kind == "memory" else disk_alarm(server)


@contextmanager
def disk_alarm(server: RabbitServer) -> Iterator[None]:
    """Block publishers the way a server does whose disk is full."""
    before = server.eval("rabbit_disk_monitor:get_disk_free_limit()")
    server.eval("rabbit_disk_monitor:set_disk_free_limit(1000000000000000)")
    try:
        yield
    finally:
        server.eval(f"rabbit_disk_monitor:set_disk_free_limit({before})")
