"""What RabbitMQ refuses: each refusal is told by its name, with what helps, and nothing guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest

from miros_mesh.address import BrokerAddress
from miros_mesh.errors import (
    BrokerConflictError,
    BrokerRefusedError,
    ChannelLimitError,
    ConnectionLimitError,
    ConnectionLostError,
    ConsumerTimeoutError,
    GoneError,
    LinkError,
    MessageTooLargeError,
    PermissionDeniedError,
    QueueLimitError,
)
from miros_mesh.link.kombu_link import amqp_link
from miros_mesh.link.ports import Broker
from miros_mesh.link.translation import translated
from support.post_office import LIMIT_S, SETTINGS, Mailbox, PostOffice, queue
from support.rabbitmq_server import RabbitServer, erlang_string

USER = "refused-by-a-test"
PASSWORD = "S3cret-%-pass"
WHERE = "amqp://the-broker//"
QUEUE = "miros_mesh.v1.queue"
LATE_LIMIT_S = 60.0

Act = Callable[[kombu.Connection], object]


@pytest.fixture
def url(rabbitmq: RabbitServer, vhost: str) -> Iterator[str]:
    """The virtual host of this test, for a user that may do everything there."""
    rabbitmq.add_user(USER, PASSWORD)
    rabbitmq.set_permissions(USER, vhost)
    yield rabbitmq.url(vhost, USER, PASSWORD)
    rabbitmq.delete_user(USER)


def at(url: str) -> Broker:
    address = BrokerAddress.parse(url)
    return Broker(address.redacted, (address,))


def refused(error: type[LinkError], url: str, act: Act, quoted: str) -> str:
    """What an act at a broker is refused with, which quotes the broker's own words."""
    office = PostOffice(amqp_link, at(url))
    with office.connection() as connection, pytest.raises(LinkError) as raised, translated(WHERE):
        act(connection)
    office.close()
    assert type(raised.value) is error
    assert str(raised.value).startswith(WHERE)
    assert quoted in str(raised.value)
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


def declare(connection: kombu.Connection, **options: Any) -> Any:
    channel = connection.channel()
    channel.queue_declare(QUEUE, auto_delete=False, **options)
    return channel


def publish(connection: kombu.Connection, exchange: str, routing_key: str, body: str) -> None:
    channel = connection.channel()
    channel.confirm_select()
    channel.basic_publish(amqp.Message(body), exchange, routing_key)
    connection.drain_events(timeout=LIMIT_S)


# Limits


def connect(url: str) -> str:
    link = amqp_link(SETTINGS)
    with pytest.raises(LinkError) as raised:
        link.probe(at(url))
    link.close()
    assert type(raised.value) is ConnectionLimitError
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


def test_a_virtual_host_that_allows_no_more_connections(
    rabbitmq: RabbitServer, vhost: str, url: str
) -> None:
    rabbitmq.limit_vhost(vhost, max_connections=0)

    message = connect(url)

    assert "connection limit (0) is reached" in message
    assert "max-connections with: rabbitmqctl set_vhost_limits" in message


def test_a_user_that_is_allowed_no_more_connections(rabbitmq: RabbitServer, url: str) -> None:
    rabbitmq.limit_user(USER, max_connections=0)

    message = connect(url)

    assert "user connection limit (0) is reached" in message
    assert "max-connections with: rabbitmqctl set_user_limits" in message


def test_a_user_that_is_allowed_no_more_channels(rabbitmq: RabbitServer, url: str) -> None:
    rabbitmq.limit_user(USER, max_channels=1)

    def open_two(connection: kombu.Connection) -> None:
        connection.channel()
        connection.channel()

    message = refused(ChannelLimitError, url, open_two, "maximum allowed user limit of (1)")

    assert "max-channels with: rabbitmqctl set_user_limits" in message


def test_a_virtual_host_that_allows_no_more_queues(
    rabbitmq: RabbitServer, vhost: str, url: str
) -> None:
    rabbitmq.limit_vhost(vhost, max_queues=0)

    message = refused(QueueLimitError, url, declare, "(0) is reached")

    assert "max-queues with: rabbitmqctl set_vhost_limits" in message


def test_a_chart_too_many_is_told_the_limit_of_queues(
    rabbitmq: RabbitServer, vhost: str, url: str
) -> None:
    rabbitmq.limit_vhost(vhost, max_queues=1)
    office = PostOffice(amqp_link, at(url))
    subscriber, _ = office.listen(queue("first"))

    with pytest.raises(QueueLimitError, match="max-queues"):
        subscriber.add(queue("second"), Mailbox(), LIMIT_S)

    office.close()


@pytest.fixture(scope="module")
def strict(
    rabbitmq_programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RabbitServer]:
    """A server of little patience that takes small messages only."""
    server = RabbitServer(
        tmp_path_factory.mktemp("strict") / "node",
        rabbitmq_programs,
        "max_message_size = 1000\nconsumer_timeout = 1000\n",
    )
    try:
        server.start()
        # Once a minute otherwise, and without a name in the file of settings.
        server.eval("application:set_env(rabbit, channel_tick_interval, 1000)")
        yield server
    finally:
        server.close()


def test_a_message_too_large(strict: RabbitServer) -> None:
    message = refused(
        MessageTooLargeError,
        strict.url(),
        lambda connection: publish(connection, "amq.topic", "key", "x" * 1_001),
        "message size 1001 is larger than configured max size 1000",
    )

    assert "max_event_bytes" in message
    assert "max_message_size" in message


def test_an_acknowledgement_too_late(strict: RabbitServer) -> None:
    def keep(connection: kombu.Connection) -> None:
        channel = declare(connection)
        channel.basic_consume(QUEUE, callback=lambda _: None)
        publish(connection, "", QUEUE, "kept")
        connection.drain_events(timeout=LATE_LIMIT_S)
        connection.drain_events(timeout=LATE_LIMIT_S)

    message = refused(ConsumerTimeoutError, strict.url(), keep, "Timeout value used: 1000 ms")

    assert "raise consumer_timeout" in message


# Permissions


def test_a_routing_key_that_the_user_may_not_use(
    rabbitmq: RabbitServer, vhost: str, url: str
) -> None:
    words = ", ".join(erlang_string(word) for word in (USER, vhost, "amq.topic", "^mine", "^mine"))
    rabbitmq.eval(f"ok = rabbit_auth_backend_internal:set_topic_permissions({words}, <<>>)")

    message = refused(
        PermissionDeniedError,
        url,
        lambda connection: publish(connection, "amq.topic", "yours.a", "x"),
        "access to topic 'yours.a' in exchange 'amq.topic'",
    )

    assert "rabbitmqctl set_topic_permissions" in message


# Things that are not there, or another's


@pytest.mark.parametrize(
    ("act", "quoted"),
    [
        (lambda c: publish(c, "none", "key", "x"), "no exchange 'none'"),
        (lambda c: c.channel().queue_declare("none", passive=True), "no queue 'none'"),
    ],
    ids=["exchange", "queue"],
)
def test_something_that_is_gone(url: str, act: Act, quoted: str) -> None:
    refused(GoneError, url, act, quoted)


def test_a_queue_that_is_deleted_under_its_consumer(url: str) -> None:
    def consume(connection: kombu.Connection) -> None:
        declare(connection).basic_consume(QUEUE)
        connection.channel().queue_delete(QUEUE)
        connection.drain_events(timeout=LIMIT_S)

    refused(GoneError, url, consume, "its queue was deleted")


def test_a_queue_that_another_connection_holds(url: str) -> None:
    office = PostOffice(amqp_link, at(url))
    with office.connection() as other:
        declare(other, exclusive=True)
        message = refused(BrokerConflictError, url, declare, "exclusive access to locked queue")
    office.close()

    assert "delete it" not in message


def test_a_queue_that_another_consumer_has_for_itself(url: str) -> None:
    office = PostOffice(amqp_link, at(url))
    with office.connection() as other:
        declare(other).basic_consume(QUEUE, exclusive=True)
        message = refused(
            BrokerConflictError,
            url,
            lambda connection: connection.channel().basic_consume(QUEUE),
            "in exclusive use",
        )
    office.close()

    assert "permission" not in message
    assert "delete it" not in message


def test_a_queue_that_is_declared_in_another_way(url: str) -> None:
    def declare_twice(connection: kombu.Connection) -> None:
        declare(connection)
        declare(connection, durable=True)

    message = refused(BrokerConflictError, url, declare_twice, "inequivalent arg 'durable'")

    assert "delete it, or give this mesh a virtual host of its own" in message


# Everything else


def test_an_acknowledgement_of_nothing(url: str) -> None:
    def acknowledge(connection: kombu.Connection) -> None:
        connection.channel().basic_ack(99)
        connection.drain_events(timeout=LIMIT_S)

    message = refused(ConnectionLostError, url, acknowledge, "unknown delivery tag 99")

    assert "delete it" not in message


@pytest.mark.parametrize(
    ("act", "quoted"),
    [
        (lambda c: declare(c, arguments={"x-expires": -1}), "invalid arg 'x-expires'"),
        (lambda c: c.channel().queue_declare("amq.q"), "contains reserved prefix 'amq.*'"),
    ],
    ids=["406", "403"],
)
def test_what_is_not_known_is_quoted_and_nothing_is_advised(
    url: str, act: Act, quoted: str
) -> None:
    message = refused(BrokerRefusedError, url, act, quoted)

    assert message.startswith(f"{WHERE} refused: ")
    assert "delete it" not in message


def test_an_administrator_closes_the_connection(rabbitmq: RabbitServer, url: str) -> None:
    def closed(connection: kombu.Connection) -> None:
        connection.channel()
        user = erlang_string(USER)
        rabbitmq.eval(
            '[rabbit_networking:close_connection(Each, "go \\e[31m away") '
            "|| Each <- rabbit_networking:connections(), "
            f"rabbit_networking:connection_info(Each, [user]) =:= [{{user, {user}}}]]"
        )
        connection.drain_events(timeout=LIMIT_S)

    message = refused(ConnectionLostError, url, closed, r"go \x1b[31m away")

    assert message.isprintable()
