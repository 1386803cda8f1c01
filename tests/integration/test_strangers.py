"""What a stranger publishes who has no key: refused, counted, and never in anybody's way."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import amqp
import pytest

from miros_mesh.address import BrokerAddress
from miros_mesh.link.kombu_link import amqp_link
from miros_mesh.link.ports import Broker
from support.post_office import EXCHANGE, PostOffice, letter, queue
from support.waiting import wait_until

TEXT = b"a body that only looks strange"
NO_UTF8 = b"\xff\xfe"


@pytest.fixture
def office(vhost_url: str) -> Iterator[PostOffice]:
    """A post office at a virtual host of its own."""
    address = BrokerAddress.parse(vhost_url)
    made = PostOffice(amqp_link, Broker(address.redacted, (address,)))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("body", "properties"),
    [
        pytest.param(b"", {}, id="empty"),
        pytest.param(TEXT, {"content_encoding": "utf-8"}, id="called text"),
        pytest.param(TEXT, {"content_encoding": "no such encoding"}, id="unknown encoding"),
        pytest.param(TEXT, {"content_type": NO_UTF8}, id="property that is no UTF-8"),
        pytest.param(TEXT, {"application_headers": {"compression": "zlib"}}, id="not compressed"),
        pytest.param(
            zlib.compress(bytes(1_000_000)),
            {"application_headers": {"compression": "zlib"}},
            id="decompression bomb",
        ),
    ],
)
def test_a_strange_message_arrives_as_it_was_published_and_the_next_one_too(
    office: PostOffice, vhost_url: str, body: bytes, properties: dict[str, Any]
) -> None:
    # Given a listener
    address = BrokerAddress.parse(vhost_url)
    _, mailbox = office.listen(queue())

    # When a stranger publishes something odd
    _publish(address, body, properties)
    office.publisher().put(letter("last"))

    # Then it is handed over once, byte for byte, and the line goes on
    wait_until(lambda: len(mailbox.deliveries) >= 2)
    assert [delivery.body for delivery in mailbox.deliveries] == [body, b"last"]


def test_a_routing_key_that_is_no_utf8_stops_nobody(office: PostOffice, vhost_url: str) -> None:
    _, mailbox = office.listen(queue())

    _publish(BrokerAddress.parse(vhost_url), TEXT, {}, NO_UTF8)
    office.publisher().put(letter("last"))

    wait_until(lambda: len(mailbox.deliveries) >= 2)
    assert [delivery.body for delivery in mailbox.deliveries] == [TEXT, b"last"]


def _publish(
    address: BrokerAddress, body: bytes, properties: dict[str, Any], key: str | bytes = "key"
) -> None:
    with amqp.Connection(
        host=f"{address.host}:{address.port}",
        userid=address.user,
        password=address.password,
        virtual_host=address.virtual_host,
        confirm_publish=True,
    ) as connection:
        channel = connection.channel()
        channel.basic_publish(amqp.Message(body, **properties), EXCHANGE, key)
