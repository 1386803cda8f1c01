"""A message on its way through Kombu, and as bytes in the store."""

from __future__ import annotations

from typing import Any

import msgspec
from kombu.message import Message

from miros_mesh.embedded.store import Entry


def stored_properties(prepared: dict[str, Any]) -> bytes:
    """Everything of a prepared message but its body, which is stored as it is."""
    properties = {k: v for k, v in prepared["properties"].items() if k != "delivery_info"}
    return msgspec.msgpack.encode(
        (prepared["content-type"], prepared["content-encoding"], prepared["headers"], properties)
    )


def stored_body(prepared: dict[str, Any]) -> bytes:
    """The body as published; text travels as UTF-8."""
    body = prepared["body"]
    return body.encode() if isinstance(body, str) else bytes(body)


def delivered(entry: Entry, tag: int, channel: Any, consumer_tag: str | None) -> Message:
    """The Kombu message of an entry that is handed out under `tag`."""
    content_type, content_encoding, headers, properties = msgspec.msgpack.decode(entry.properties)
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
            "redelivered": bool(entry.redelivered),
            "exchange": entry.exchange,
            "routing_key": entry.routing_key,
        },
    )
