"""A delivery of RabbitMQ taken out of what was read, in one step.

py-amqp makes it out of three frames, each of which passes through six calls and more, and kombu
makes another message of that. Nearly all deliveries are alike, and are read here; what is laid out
otherwise in any way is left to py-amqp.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from amqp.spec import Basic

from miros_mesh.link.rabbitmq.headers import NO_PROPERTIES, wanted_properties

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
# Kind, channel and size before the payload of a frame; a byte behind it.
HEAD: Final = struct.Struct(">BHI")
END: Final = 0xCE
# The payload of a method begins with its class and its number, each of two bytes.
DELIVER: Final = bytes((0, Basic.Deliver[0], 0, Basic.Deliver[1]))
# The tag of the delivery, and whether there was one before.
_TAG: Final = struct.Struct(">QB")
# Class, weight and size of the body, before the properties.
_CONTENT: Final = struct.Struct(">HHQ")


class Delivered:
    """A delivered message, with as much of Kombu's `Message` as is used."""

    __slots__ = ("body", "channel", "consumer_tag", "delivery_info", "delivery_tag", "end")

    headers: Final[dict[str, Any]] = {}

    def __init__(
        self,
        *,
        channel: int,
        consumer_tag: str,
        delivery_tag: int,
        redelivered: bool,
        routing_key: str,
        body: bytes,
        end: int,
    ) -> None:
        self.channel = channel
        """Its number."""
        self.consumer_tag = consumer_tag
        self.delivery_tag = delivery_tag
        self.delivery_info = {"redelivered": redelivered, "routing_key": routing_key}
        self.body = body
        self.end = end
        """Where the next frame begins."""


def delivery_at(data: bytes, at: int) -> Delivered | None:
    """Return the delivery that begins there, if all of it is there and it is as most are."""
    try:
        return _delivery_at(data, at)
    except (IndexError, UnicodeDecodeError, struct.error):
        return None


def _delivery_at(data: bytes, at: int) -> Delivered | None:
    method_at = at + HEAD.size
    if data[method_at : method_at + len(DELIVER)] != DELIVER:
        return None
    method, channel, size = HEAD.unpack_from(data, at)
    method_end = method_at + size
    header, header_channel, size = HEAD.unpack_from(data, method_end + 1)
    header_at = method_end + 1 + HEAD.size
    header_end = header_at + size
    body, body_channel, size = HEAD.unpack_from(data, header_end + 1)
    body_at = header_end + 1 + HEAD.size
    body_end = body_at + size
    _, _, body_size = _CONTENT.unpack_from(data, header_at)
    if (
        (method, header, body) != (METHOD, HEADER, BODY)
        or not (channel == header_channel == body_channel)
        or size != body_size
        or not (data[method_end] == data[header_end] == data[body_end] == END)
        or wanted_properties(data[header_at:header_end]) != NO_PROPERTIES
    ):
        return None
    consumer_tag, tag_at = _short(data, method_at + len(DELIVER))
    delivery_tag, redelivered = _TAG.unpack_from(data, tag_at)
    # The exchange is of no use.
    exchange_at = tag_at + _TAG.size
    routing_key, end = _short(data, exchange_at + 1 + data[exchange_at])
    if end != method_end:
        return None
    return Delivered(
        channel=channel,
        consumer_tag=consumer_tag,
        delivery_tag=delivery_tag,
        redelivered=bool(redelivered),
        routing_key=routing_key,
        body=data[body_at:body_end],
        end=body_end + 1,
    )


def _short(data: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + data[at]
    return data[at + 1 : end].decode(), end
