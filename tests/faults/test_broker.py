"""The broker stops, is killed, freezes, runs out of memory or disk: no event is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from charts_at_work import Heard, Launch
from faults.conftest import settings
from faults.traffic import Handled, events_through
from miros_mesh import NetworkedActiveObject
from rabbitmq_server import RabbitServer

pytestmark = pytest.mark.timeout(60)

FROZEN_S = 5.0
ALARM_S = 3.0
# RabbitMQ 3.10 forgets a quorum queue that was declared just before it is killed.
REGISTERED_S = 2.0


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
    assert own_broker.pid
    with events_through("broker frozen", sender, handled):
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            for_(FROZEN_S)
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)


def test_memory_alarm_on_and_off(
    own_broker: RabbitServer, sender: NetworkedActiveObject, handled: Handled
) -> None:
    with events_through("memory alarm on and off", sender, handled), own_broker.memory_alarm():
        for_(ALARM_S)


def test_disk_alarm_on_and_off(
    own_broker: RabbitServer, sender: NetworkedActiveObject, handled: Handled
) -> None:
    with events_through("disk alarm on and off", sender, handled), disk_alarm(own_broker):
        for_(ALARM_S)


def test_memory_alarm_for_longer_than_the_confirm_timeout(
    own_broker: RabbitServer, own_url: str, launch: Launch, handled: Handled
) -> None:
    launch("receiver", settings(own_url, node_name="receiver"), handled)
    sender = launch("sender", settings(own_url, confirm_timeout_s=1.0), Heard())
    fault = "memory alarm, longer than confirms"
    with events_through(fault, sender, handled), own_broker.memory_alarm():
        for_(ALARM_S)


@contextmanager
def disk_alarm(server: RabbitServer) -> Iterator[None]:
    """Block publishers the way a server does whose disk is full."""
    before = server.eval("rabbit_disk_monitor:get_disk_free_limit()")
    server.eval("rabbit_disk_monitor:set_disk_free_limit(1000000000000000)")
    try:
        yield
    finally:
        server.eval(f"rabbit_disk_monitor:set_disk_free_limit({before})")
