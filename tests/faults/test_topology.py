"""An administrator deletes what the mesh has declared: what is sent afterwards arrives."""

from __future__ import annotations

import time
from collections.abc import Callable

import kombu
import pytest

from charts_at_work import Heard, Launch, event
from faults.conftest import Told, settings
from faults.traffic import (
    RECOVERY_LIMIT_S,
    SIGNAL,
    WARM,
    Account,
    Handled,
    Stream,
    accounted,
    record,
)
from miros_mesh import DEFAULT_ROUTING_KEY, NetworkedActiveObject
from miros_mesh.networks import exchange_of
from miros_mesh.node import _digest
from rabbitmq_server import RabbitServer
from waiting import wait_until

pytestmark = pytest.mark.timeout(60)

QUEUE = f"miros_mesh.v1.mesh.receiver.receiver.{_digest(DEFAULT_ROUTING_KEY)}"
SETTLED = 300
SHORT = 20
FEW = 200


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def sender(vhost_url: str, launch: Launch, handled: Handled, told: Told) -> NetworkedActiveObject:
    config = settings(vhost_url, node_name="receiver", observers=(told,))
    launch("receiver", config, handled)
    return launch("sender", settings(vhost_url), Heard())


def deleted(
    fault: str,
    sender: NetworkedActiveObject,
    handled: Handled,
    told: Told,
    delete: Callable[[], object],
) -> None:
    """Delete something amid the stream. What it takes with it is told, and nothing else goes."""
    with Stream(sender) as stream:
        wait_until(lambda: len(handled.numbers) >= WARM)
        delete()
        done, first_after = time.monotonic(), stream.next
        # Of what is sent before all is declared again, an event may still have found a way.
        when = wait_until(lambda: steady_from(handled, first_after), 20, message=fault)
        sent = stream.end()
    wait_until(lambda: handled.numbers[-1] == sent[-1], message="the last event")
    account = Account.of(sent, handled.numbers)
    record(fault, account, when - done)
    assert (account.duplicated, account.out_of_order) == (0, 0)
    assert account.lost == told.missing
    assert when - done < RECOVERY_LIMIT_S


def steady_from(handled: Handled, first: int) -> float | None:
    """When the events began to come again without a hole."""
    numbers, times = list(handled.numbers), list(handled.times)
    last = numbers[-SETTLED:]
    if len(last) < SETTLED or last[0] < first or last[-1] - last[0] != SETTLED - 1:
        return None
    return times[len(numbers) - SETTLED]


def test_queue_deleted_under_the_consumer(
    vhost_url: str, sender: NetworkedActiveObject, handled: Handled, told: Told
) -> None:
    with kombu.Connection(vhost_url) as connection:
        channel = connection.channel()
        fault = "queue deleted under the consumer"
        deleted(fault, sender, handled, told, lambda: channel.queue_delete(QUEUE))
    assert told.subscriptions == 2


def test_exchange_deleted_under_the_publisher(
    vhost_url: str, sender: NetworkedActiveObject, handled: Handled, told: Told
) -> None:
    with kombu.Connection(vhost_url) as connection:
        channel = connection.channel()
        fault = "exchange deleted under the publisher"
        deleted(fault, sender, handled, told, lambda: channel.exchange_delete(exchange_of("mesh")))


def test_queue_that_is_full_and_refuses(
    rabbitmq: RabbitServer, vhost: str, vhost_url: str, launch: Launch
) -> None:
    handled = Handled(pause_s=0.002)
    limit = f'{{"max-length":{SHORT},"overflow":"reject-publish"}}'
    rabbitmq.rabbitmqctl("set_policy", "-p", vhost, "short", "receiver[.]receiver$", limit)
    launch("receiver", settings(vhost_url, node_name="receiver", prefetch_frames=10), handled)
    sender = launch("sender", settings(vhost_url, frame_events=1), Heard())
    for number in range(FEW):
        sender.transmit(event(SIGNAL, number))
    account = accounted("queue full, refuses", range(FEW), handled)
    # Of the frames on their way when the first one is refused some may find room and overtake it:
    # the order is kept no better than in test_frames' forged stream.
    assert (account.lost, account.duplicated) == (0, 0)
