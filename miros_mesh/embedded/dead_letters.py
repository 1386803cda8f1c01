"""What a rejected message takes along: where it died, in RabbitMQ's words."""

from __future__ import annotations

import msgspec


def marked(properties: bytes, *, queue: str, exchange: str) -> bytes:
    """The stored properties of a message, with the first place of its death."""
    content_type, content_encoding, headers, rest = msgspec.msgpack.decode(properties)
    death = {
        "x-first-death-queue": queue,
        "x-first-death-reason": "rejected",
        "x-first-death-exchange": exchange,
    }
    return msgspec.msgpack.encode((content_type, content_encoding, death | headers, rest))
