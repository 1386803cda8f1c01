"""A delivered message, and what it says of how often it came, so that no sender can break it.

The payload of a header frame is class, weight and body size, then a word of flags and the
properties that it says are there: content type, content encoding, then the table of headers (AMQP
0-9-1, 2.3.5 and 4.2.6). What stands behind the table is of no use here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

METHOD: Final = 1
"""The kind of a frame with a method in it."""
END: Final = 0xCE
"""The last byte of each frame."""

AGAIN_HEADER: Final = "x-miros-mesh-again"
"""Of a publication that may be the second one of its parcel at that broker."""
COUNT_HEADERS: Final = ("x-delivery-count", "x-acquired-count")
"""How often a quorum queue has delivered it before: failed, and since RabbitMQ 4.0 in any way."""

CONTENT_TYPE, CONTENT_ENCODING = "application/octet-stream", "binary"
"""Of what we publish."""
# Type, encoding, headers and mode are there, and no other property.
PROPERTIES: Final = (
    b"\xf0\0"
    + bytes([len(CONTENT_TYPE)])
    + CONTENT_TYPE.encode()
    + bytes([len(CONTENT_ENCODING)])
    + CONTENT_ENCODING.encode()
)
"""How those of what we publish begin; the table of headers follows, and the mode."""
NO_HEADERS: Final = bytes(4)
_USUAL: Final = PROPERTIES + NO_HEADERS

# Class, weight and body size.
_BEFORE_FLAGS: Final = 12
_HAS_CONTENT_TYPE: Final = 0x8000
_HAS_CONTENT_ENCODING: Final = 0x4000
_HAS_HEADERS: Final = 0x2000
NO_PROPERTIES: Final = b"\0\0"
"""What `wanted_properties` returns of nearly all."""
_WANTED: Final = frozenset(name.encode() for name in (AGAIN_HEADER, *COUNT_HEADERS))
# Ours and RabbitMQ's are few; a sender may write tens of thousands.
_FIELDS_AT_MOST: Final = 32
# Bytes of a value by its kind: truth values and whole numbers, which alone are wanted.
_NUMBERS: Final = dict(zip(b"tbBIilL", (1, 1, 1, 4, 4, 8, 8), strict=True))
# As RabbitMQ writes them: of "s" some releases of py-amqp think otherwise.
_SIZES: Final = _NUMBERS | dict(zip(b"sufdDTV", (2, 2, 4, 8, 5, 8, 0), strict=True))
# Those that begin with a length of four bytes.
_SIZED: Final = frozenset(b"SxAF")
_LENGTH: Final = struct.Struct(">I")


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


def wanted_properties(header: bytes) -> bytes:
    """Return the properties of a header frame's payload without all that is not wanted.

    What is laid out otherwise than AMQP says has none.
    """
    if header.startswith(_USUAL, _BEFORE_FLAGS):
        return NO_PROPERTIES
    try:
        fields = b"".join(_wanted_fields(_table_of(header)))
    except (IndexError, struct.error):
        return NO_PROPERTIES
    if not fields:
        return NO_PROPERTIES
    return _HAS_HEADERS.to_bytes(2, "big") + _LENGTH.pack(len(fields)) + fields


def _table_of(header: bytes) -> bytes:
    flags = int.from_bytes(header[_BEFORE_FLAGS : _BEFORE_FLAGS + 2], "big")
    if not flags & _HAS_HEADERS:
        return b""
    at = _BEFORE_FLAGS + 2
    for flag in (_HAS_CONTENT_TYPE, _HAS_CONTENT_ENCODING):
        if flags & flag:
            # A byte of length and so many bytes.
            at += 1 + header[at]
    (size,) = _LENGTH.unpack_from(header, at)
    at += _LENGTH.size
    return header[at : at + size]


def _wanted_fields(table: bytes) -> Iterator[bytes]:
    """Hand out the fields that are wanted, as they are.

    A field is a name with its length before it, the kind of its value, and that. Raises
    `IndexError` or `struct.error` for one that is laid out otherwise.
    """
    at = 0
    for _ in range(_FIELDS_AT_MOST):
        if at >= len(table):
            return
        kind_at = at + 1 + table[at]
        kind = table[kind_at]
        end = kind_at + 1 + _size_of(table, kind, kind_at + 1)
        if end > len(table):
            raise IndexError(end)
        if kind in _NUMBERS and table[at + 1 : kind_at] in _WANTED:
            yield table[at:end]
        at = end


def _size_of(table: bytes, kind: int, value_at: int) -> int:
    if kind in _SIZED:
        (length,) = _LENGTH.unpack_from(table, value_at)
        return _LENGTH.size + int(length)
    if kind not in _SIZES:
        raise IndexError(kind)
    return _SIZES[kind]
