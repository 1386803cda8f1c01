"""A message as bytes in the store, as one queue lists it, and on its way through Kombu."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from kombu.message import Message

DELIVERY_COUNT: Final = "x-delivery-count"

# The numbers of a queue and of a message in it.
Place = tuple[int, int]


class Entry(NamedTuple):
    """A message as one queue lists it."""

    message: int
    returns: int
    """How often it was given back: by a consumer, or because that was dead."""
    exchange: str
    routing_key: str
    properties: bytes
    body: bytes


def stored_properties(prepared: dict[str, Any]) -> bytes:
    """Encode everything of a prepared message but its body, which is stored as it is."""
    properties = {k: v for k, v in prepared["properties"].items() if k != "delivery_info"}
    return msgspec.msgpack.encode(
        (prepared["content-type"], prepared["content-encoding"], prepared["headers"], properties)
    )


def stored_body(prepared: dict[str, Any]) -> bytes:
    """Return the body as published; text as UTF-8."""
    body = prepared["body"]
    return body.encode() if isinstance(body, str) else bytes(body)


def dead_letter(properties: bytes, *, queue: str, exchange: str) -> bytes:
    """Add to stored properties where the message was rejected first, in RabbitMQ's words."""
    death = {
        "x-first-death-queue": queue,
        "x-first-death-reason": "rejected",
        "x-first-death-exchange": exchange,
    }
    return with_headers(properties, death)


def with_headers(properties: bytes, more: dict[str, Any]) -> bytes:
    """Add headers to stored properties; those that are there stay as they are."""
    content_type, content_encoding, headers, rest = msgspec.msgpack.decode(properties)
    return msgspec.msgpack.encode((content_type, content_encoding, more | headers, rest))


def delivered(entry: Entry, tag: int, channel: Any, consumer_tag: str | None) -> Message:
    """Make the Kombu message of an entry that is handed out under the delivery tag `tag`."""
    content_type, content_encoding, headers, properties = msgspec.msgpack.decode(entry.properties)
    if entry.returns:
        # As a quorum queue counts.
        headers = headers | {DELIVERY_COUNT: entry.returns}
    return Message(
        body=entry.body,
        channel=channel,
        delivery_tag=tag,
        content_type=content_type,
        content_encoding=content_encoding,
        headers=headers,
        properties=properties,
        delivery_info={
            "consumer_tag": consumer_tag,
            "delivery_tag": tag,
            "redelivered": bool(entry.returns),
            "exchange": entry.exchange,
            "routing_key": entry.routing_key,
        },
    )
