"""What a RabbitMQ does that our pages tell of; a server that differs fails here."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest

from miros_mesh import MeshConfig, NetworkedActiveObject
from support.broker_facts import version
from support.charts_at_work import KEY, Heard, alone, event
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

EXPIRES = {"x-expires": 60_000}


@contextmanager
def connected(url: str) -> Iterator[kombu.Connection]:
    with kombu.Connection(url) as connection:
        yield connection


def read(connection: kombu.Connection) -> bool:
    """Read what has come; always false, to stand before a condition."""
    with contextlib.suppress(TimeoutError):
        connection.drain_events(timeout=0.05)
    return False


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_who_is_the_next_single_active_consumer(
    rabbitmq: RabbitServer, vhost_url: str, kind: str
) -> None:
    """A quorum queue asks for no priority in 3.x, and in 4 the highest one takes over at once."""
    quorum = ("first", "second") if version(rabbitmq).startswith("3.") else ("third", "third")
    active, heir = quorum if kind == "quorum" else ("first", "third")
    got: list[tuple[str, Any]] = []
    with connected(vhost_url) as connection:
        arguments = {"x-queue-type": kind, "x-single-active-consumer": True, **EXPIRES}
        channel = connection.channel()
        channel.queue_declare("shared", durable=True, auto_delete=False, arguments=arguments)
        consumers: dict[str, Any] = {}
        for who, priority in (("first", 0), ("second", 0), ("third", 10)):
            own = connection.channel()

            def take(message: Any, who: str = who, own: Any = own) -> None:
                own.basic_ack(message.delivery_tag)
                got.append((who, message.body))

            tag = own.basic_consume("shared", callback=take, arguments={"x-priority": priority})
            consumers[who] = own, tag
        for number, message in enumerate("ab"):
            channel.basic_publish(amqp.Message(message), routing_key="shared")
            wait_until(lambda number=number: read(connection) or len(got) > number)
            if number == 0:
                own, tag = consumers["first"]
                own.basic_cancel(tag)
    assert got == [(active, "a"), (heir, "b")]


def test_a_message_that_expires_in_a_circle_of_queues_is_dropped(vhost_url: str) -> None:
    """It never comes back to the first: a circle without a rejection ends, and nothing tells."""
    with connected(vhost_url) as connection:
        channel = connection.channel()
        for queue, other in (("first", "second"), ("second", "first")):
            onward = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": other}
            arguments = {"x-message-ttl": 300, **onward, **EXPIRES}
            channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments)

        def waiting(queue: str) -> int:
            return int(channel.queue_declare(queue, passive=True).message_count)

        channel.basic_publish(amqp.Message("lost"), routing_key="first")
        wait_until(lambda: waiting("second") == 1)
        wait_until(lambda: waiting("second") == 0)
        assert waiting("first") == 0


@pytest.fixture
def impatient(rabbitmq_programs: Path, tmp_path: Path) -> Iterator[RabbitServer]:
    """A server that waits a second for an acknowledgement, and looks once a second."""
    server = RabbitServer(tmp_path / "node", rabbitmq_programs, "consumer_timeout = 1000\n")
    try:
        server.start()
        # No key of rabbitmq.conf (3.10): for the channels that are opened from now on.
        server.eval("application:set_env(rabbit, channel_tick_interval, 1000)")
        yield server
    finally:
        server.close()


def test_a_server_looks_for_late_acknowledgements_once_a_minute(rabbitmq: RabbitServer) -> None:
    interval = "element(2, application:get_env(rabbit, channel_tick_interval))"
    assert rabbitmq.eval(interval) == "60000"


def test_a_chart_slower_than_the_consumer_timeout_handles_each_event_once(
    impatient: RabbitServer, caplog: pytest.LogCaptureFixture
) -> None:
    url, handled, gate = impatient.url(impatient.new_vhost()), Heard(), threading.Event()

    def slow(chart: NetworkedActiveObject, received: Any) -> None:
        if received.payload == 0:
            gate.wait(60)
        handled(chart, received)

    def make(name: str) -> MeshConfig:
        return MeshConfig(broker_url=url, mesh_encryption_key=KEY, node_name=name)

    receiver = NetworkedActiveObject("receiver", config=make("receiver"))
    sender = NetworkedActiveObject("sender", config=make("sender"))
    receiver.start_at(alone(slow))
    sender.start_at(alone(Heard()))
    try:
        for number in range(5):
            sender.transmit(event("number", number))
        # Given a server that has lost its patience
        wait_until(lambda: "consumer_timeout" in caplog.text, 120)
        gate.set()
        wait_until(lambda: len(handled) >= 5, 120)
        sender.transmit(event("number", 5))
        wait_until(lambda: len(handled) >= 6, 120)
        assert handled.payloads == list(range(6))
    finally:
        gate.set()
        receiver.stop()
        sender.stop()
