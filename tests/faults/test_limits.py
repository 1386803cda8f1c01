"""The broker allows a node no more, or less than before: who was refused is told, others go on."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import kombu
import pytest

from faults.conftest import PATIENT, Told, settings
from faults.traffic import Handled, accounted, events_through
from miros_mesh import DEFAULT_ROUTING_KEY
from miros_mesh.errors import (
    ChannelLimitError,
    ConnectionLimitError,
    LinkError,
    PermissionDeniedError,
    QueueLimitError,
)
from miros_mesh.node.queues import chart_queue
from support.charts_at_work import Heard, Launch, event
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

PASSWORD = "of-this-test-alone"
OTHER_QUEUE = chart_queue("receiver", "other", DEFAULT_ROUTING_KEY)
# A publisher's one and a subscriber's two.
CHANNELS = 3
CONNECTIONS = 2


class Listening(Told):
    """Keeps also who hears and who does not."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, str]] = []

    def hearing(self, *, chart: str) -> None:
        self.said.append((chart, "hears"))

    def deaf(self, *, chart: str, reason: str) -> None:
        self.said.append((chart, reason))


@dataclass(frozen=True)
class Guest:
    """A user of this test alone, and what may be done to it."""

    server: RabbitServer
    vhost: str
    name: str

    @property
    def url(self) -> str:
        return self.server.url(self.vhost, self.name, PASSWORD)

    def allow(self, *, read: str = ".*") -> None:
        self.server.set_permissions(self.name, self.vhost, read=read)

    def limit_channels(self, number: int) -> None:
        self.server.limit_user(self.name, max_channels=number)

    def limit_connections(self, number: int) -> None:
        self.server.limit_user(self.name, max_connections=number)

    def disconnect(self) -> None:
        self.server.close_user_connections(self.name)


@pytest.fixture
def guest(rabbitmq: RabbitServer, vhost: str) -> Iterator[Guest]:
    made = Guest(rabbitmq, vhost, f"guest-{secrets.token_hex(4)}")
    rabbitmq.add_user(made.name, PASSWORD)
    made.allow()
    yield made
    rabbitmq.delete_user(made.name)


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
def told() -> Listening:
    return Listening()


@pytest.mark.parametrize(("node_name", "kind"), [(None, ""), ("receiver", ", named")])
def test_node_for_which_there_is_no_channel(
    guest: Guest,
    vhost_url: str,
    launch: Launch,
    handled: Handled,
    told: Listening,
    node_name: str | None,
    kind: str,
) -> None:
    # Given a node that has all the channels that its user may have
    sender = launch("sender", settings(vhost_url), Heard())
    config = settings(guest.url, node_name=node_name, observers=(told,), **PATIENT)
    launch("receiver", config, handled)
    guest.limit_channels(CHANNELS)
    subscriptions = told.subscriptions

    # When it gets a chart more, and another node comes
    heard = Heard()
    with events_through(f"one chart too many, max-channels{kind}", sender, handled):
        launch("other", config, heard)
        with pytest.raises(ChannelLimitError, match="max-channels"):
            launch("stranger", settings(guest.url, **PATIENT), Heard())

    # Then the chart works, and the node is told what its user lacks
    sender.transmit(event("word", 1))
    wait_until(lambda: ("word", 1) in heard)
    if node_name is None:
        assert told.subscriptions == subscriptions


def test_node_for_which_there_is_no_connection(
    guest: Guest, vhost_url: str, launch: Launch, handled: Handled, told: Listening
) -> None:
    sender = launch("sender", settings(vhost_url), Heard())
    launch("receiver", settings(guest.url, observers=(told,), **PATIENT), handled)
    guest.limit_connections(CONNECTIONS)
    stranger = settings(guest.url, **PATIENT)

    with events_through("one node too many, max-connections", sender, handled):
        with pytest.raises(ConnectionLimitError, match="max-connections"):
            launch("stranger", stranger, Heard())
        guest.limit_connections(2 * CONNECTIONS)

    launch("stranger", stranger, Heard())
    assert told.subscriptions == 1
    assert told.said == [("receiver", "hears")]


def test_chart_for_which_there_is_no_queue(
    rabbitmq: RabbitServer,
    vhost: str,
    vhost_url: str,
    launch: Launch,
    handled: Handled,
    told: Listening,
) -> None:
    sender = launch("sender", settings(vhost_url), Heard())
    config = settings(vhost_url, observers=(told,), **PATIENT)
    launch("receiver", config, handled)
    rabbitmq.limit_vhost(vhost, max_queues=1)

    with events_through("one chart too many, max-queues", sender, handled):
        with pytest.raises(QueueLimitError, match="max-queues"):
            launch("other", config, Heard())
        assert told.said == [("receiver", "hears")]

    rabbitmq.limit_vhost(vhost)
    launch("other", config, Heard())
    assert told.subscriptions == 1
    assert told.said == [("receiver", "hears"), ("other", "hears")]


def test_queue_that_cannot_be_replaced_stays(
    rabbitmq: RabbitServer,
    vhost: str,
    vhost_url: str,
    launch: Launch,
    handled: Handled,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It has other arguments than wanted, and the broker allows no queue more."""
    sender = launch("sender", settings(vhost_url), Heard())
    config = settings(vhost_url, node_name="receiver", **PATIENT)
    launch("other", config, Heard())
    queue = chart_queue("receiver", "receiver", DEFAULT_ROUTING_KEY)
    with kombu.Connection(vhost_url) as connection:
        connection.channel().queue_declare(queue, durable=True, auto_delete=False)
    rabbitmq.limit_vhost(vhost, max_queues=1)

    launch("receiver", config, handled)

    with events_through("queue arguments changed, max-queues", sender, handled):
        assert f"the queue {queue} stays as it is" in caplog.text


def test_read_permission_revoked_and_given_back(
    guest: Guest, vhost_url: str, launch: Launch, handled: Handled, told: Listening
) -> None:
    # Given a node of two charts
    sender = launch("sender", settings(vhost_url), Heard())
    config = settings(guest.url, node_name="receiver", observers=(told,), **PATIENT)
    other = Handled()
    launch("other", config, other)
    launch("receiver", config, handled)

    fault = "read permission revoked, given back"
    with events_through(fault, sender, other) as stream:
        # When its user may read the queue of one chart no more, and has to connect anew
        told.said.clear()
        guest.allow(read=f"^(?!{OTHER_QUEUE})")
        guest.disconnect()

        # Then that chart is told as deaf, once, and the other one goes on
        wait_until(lambda: ("receiver", "hears") in told.said)
        wait_until(lambda: ("other", PermissionDeniedError.reason) in told.said)
        beyond = stream.next
        wait_until(lambda: handled.since(beyond))
        assert other.since(beyond) is None
        guest.allow()

    beside = accounted(f"{fault}: others", stream.sent, handled)
    assert beside.perfect, beside
    # And hears again by itself, all of it and in order, on the same connection
    assert told.said.count(("other", PermissionDeniedError.reason)) == 1
    assert ("other", "hears") in told.said
    assert told.subscriptions == 2
    assert told.missing == 0


def test_chart_whose_queue_may_not_be_read(
    guest: Guest, vhost_url: str, launch: Launch, handled: Handled, told: Listening
) -> None:
    sender = launch("sender", settings(vhost_url), Heard())
    config = settings(guest.url, node_name="receiver", observers=(told,), **PATIENT)
    launch("receiver", config, handled)
    guest.allow(read=f"^(?!{OTHER_QUEUE})")

    with events_through("one chart refused, read permission", sender, handled):
        with pytest.raises(PermissionDeniedError) as refused:
            launch("other", config, Heard())
        assert isinstance(refused.value, LinkError)
        with kombu.Connection(vhost_url) as connection:
            # Left by the attempt, and by nothing else: it was declared before it was refused.
            connection.channel().queue_delete(OTHER_QUEUE)

    assert told.subscriptions == 1
    assert told.said == [("receiver", "hears")]
