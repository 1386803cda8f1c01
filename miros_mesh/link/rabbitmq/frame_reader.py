"""The frames that a broker sends, taken out of what has come at once.

py-amqp asks the kernel for the head, the payload and the end of each frame, each time with a limit
of its own: a delivery, which is three frames, costs nine reads and thirty system calls, between
which other threads take Python's lock. Here it costs one read.

Of the three frames of a delivery py-amqp makes a message, in six calls and more for each, and kombu
another one of that. Nearly all deliveries are alike, and are read here in one step; what is laid
out otherwise in any way is left to py-amqp.
"""

from __future__ import annotations

import ssl
import struct
from contextlib import suppress
from typing import Any, Final

from amqp.exceptions import UnexpectedFrame
from amqp.spec import Basic

from miros_mesh.link.rabbitmq.headers import NO_PROPERTIES, wanted_properties

AmqpFrame = tuple[int, int, bytes]
"""Kind, channel and payload."""

_READ_BYTES: Final = 64 * 1024

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


class FrameReader:
    """Reads a py-amqp transport from some frame on; for the thread that has the connection."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._data = b""
        self._at = 0
        """Where the next frame begins in what has come."""

    @property
    def pending(self) -> bool:
        """Whether there may be a frame of which no poll can know: one is here, or in TLS."""
        return bool(self._frame_end() or getattr(self._transport.sock, "pending", int)())

    def read_frame(self) -> AmqpFrame:
        """Wait for the next frame, as py-amqp's own `read_frame` does, and raise as that does.

        What has come of a frame is kept at a time-out.
        """
        while (frame := self.frame()) is None:
            self._read()
        return frame

    def fill(self) -> None:
        """Read once what has come, unless a frame is here; waits for none.

        Raises as `read_frame` does, but for a time-out.
        """
        if not self._frame_end():
            self._read_now()

    def delivery(self) -> Delivered | None:
        """Return the delivery that is here next, if it can be read in one step; `take` takes it."""
        return delivery_at(self._data, self._at)

    def take(self, delivery: Delivered) -> None:
        """Go on behind a delivery."""
        self._at = delivery.end

    def frame(self) -> AmqpFrame | None:
        """Take the next frame, if it is here."""
        end = self._frame_end()
        if not end:
            return None
        at = self._at
        kind, channel, _ = HEAD.unpack_from(self._data, at)
        self._at = end
        if self._data[end - 1] != END:
            raise UnexpectedFrame(f"a frame ends with {self._data[end - 1]:#04x}, not {END:#04x}")
        return kind, channel, self._data[at + HEAD.size : end - 1]

    def _frame_end(self) -> int:
        """Return where the next frame ends; 0 while some of it is still to come."""
        head_end = self._at + HEAD.size
        if len(self._data) <= head_end:
            return 0
        end = head_end + int.from_bytes(self._data[head_end - 4 : head_end], "big") + 1
        return end if end <= len(self._data) else 0

    def _read_now(self) -> None:
        if not hasattr(self._transport.sock, "pending"):
            # There is input, so nothing waits.
            self._read()
            return
        # Of TLS there may be part of a record, which is no input yet.
        with suppress(TimeoutError), self._transport.having_timeout(0):
            self._read()

    def _read(self) -> None:
        try:
            data = self._transport.sock.recv(_READ_BYTES)
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            raise
        except OSError:
            self._transport.connected = False
            raise
        if not data:
            self._transport.connected = False
            raise ConnectionResetError("the broker has closed the connection")
        self._data = self._data[self._at :] + data
        self._at = 0


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
