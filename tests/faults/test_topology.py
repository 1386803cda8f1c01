"""An administrator deletes what the mesh has declared: what is sent afterwards arrives."""

from __future__ import annotations

import kombu
import pytest

from faults.conftest import Others, Told, settings
from faults.relay import Relay
from faults.traffic import (
    SIGNAL,
    WARM,
    Handled,
    Stream,
    accounted,
    events_through,
)
from miros_mesh import DEFAULT_ROUTING_KEY, MeshConfig, NetworkedActiveObject
from miros_mesh.networks.network import exchange_of
from miros_mesh.node.queues import chart_queue
from support.charts_at_work import Heard, Launch, event
from support.rabbitmq_server import RabbitServer, erlang_string
from support.waiting import wait_until

QUEUE = chart_queue("receiver", "receiver", DEFAULT_ROUTING_KEY)
LAST = 100
SHORT = 20
FEW = 200


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def sender(
    vhost_url: str, launch: Launch, handled: Handled, receiving: MeshConfig
) -> NetworkedActiveObject:
    launch("receiver", receiving, handled)
    return launch("sender", settings(vhost_url), Heard())


@pytest.fixture
def receiving(vhost_url: str, told: Told) -> MeshConfig:
    return settings(vhost_url, node_name="receiver", observers=(told,))


def test_queue_deleted_under_the_consumer(
    vhost_url: str,
    sender: NetworkedActiveObject,
    handled: Handled,
    told: Told,
    receiving: MeshConfig,
    others: Others,
) -> None:
    """The others are charts of the same node, on the same connection."""
    fault = "queue deleted under the consumer"
    with kombu.Connection(vhost_url) as connection, others(fault, receiving, receiving):
        channel = connection.channel()
        with events_through(fault, sender, handled):
            channel.queue_delete(QUEUE)
    assert told.subscriptions == 1
    assert told.missing == 0


def test_private_queues_that_their_server_does_not_give(
    rabbitmq: RabbitServer,
    vhost: str,
    relayed_url: str,
    relay: Relay,
    launch: Launch,
    handled: Handled,
) -> None:
    """As others of a cluster, while the server is down that they are on: it knows them by name."""
    told = Told()
    launch("receiver", settings(relayed_url, observers=(told,)), handled)
    sender = launch("sender", settings(relayed_url), Heard())
    every = f"rabbit_amqqueue:list_names({erlang_string(vhost)})"
    with events_through("private queues on a server that is down", sender, handled):
        rabbitmq.eval(f"[mnesia:dirty_delete(rabbit_queue, Q) || Q <- {every}]")
        relay.cut()
        wait_until(lambda: told.subscriptions == 2)
    assert told.missing == 0


def test_exchange_deleted_under_the_publisher(
    vhost_url: str, sender: NetworkedActiveObject, handled: Handled, told: Told
) -> None:
    with kombu.Connection(vhost_url) as connection:
        channel = connection.channel()
        with events_through("exchange deleted under the publisher", sender, handled):
            channel.exchange_delete(exchange_of("mesh"))
    assert told.missing == 0


def test_exchange_and_queue_deleted_amid_the_last_events(
    vhost_url: str, sender: NetworkedActiveObject, handled: Handled, told: Told
) -> None:
    """No later event tells the receiver that these are missing."""
    with Stream(sender) as stream:
        wait_until(lambda: len(handled.numbers) >= WARM)
        with kombu.Connection(vhost_url) as connection:
            connection.channel().exchange_delete(exchange_of("mesh"))
        sent = stream.end()
    for number in range(sent[-1] + 1, sent[-1] + LAST):
        sender.transmit(event(SIGNAL, number))
    account = accounted("exchange deleted, then silence", range(sent[-1] + LAST), handled)
    assert account.perfect, account
    assert told.missing == 0


def test_queue_that_is_full_and_refuses(
    rabbitmq: RabbitServer, vhost: str, vhost_url: str, launch: Launch
) -> None:
    handled = Handled(pause_s=0.002)
    rabbitmq.limit_queues(vhost, "receiver[.]receiver$", SHORT)
    launch("receiver", settings(vhost_url, node_name="receiver", prefetch_frames=10), handled)
    sender = launch("sender", settings(vhost_url, frame_events=1), Heard())
    for number in range(FEW):
        sender.transmit(event(SIGNAL, number))
    account = accounted("queue full, refuses", range(FEW), handled)
    assert account.perfect, account
