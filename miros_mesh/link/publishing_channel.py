"""The channel of a publisher, which the broker closes with every refusal."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

import amqp
import kombu

from miros_mesh.errors import ChannelLimitError, ConnectionLostError, LinkError
from miros_mesh.link.rabbitmq.channels import OwnedChannel, open_channel, refusal_of
from miros_mesh.link.rabbitmq.headers import (
    AGAIN_HEADER,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    NO_HEADERS,
    PROPERTIES,
)
from miros_mesh.link.translation import translated
from miros_mesh.text import logger_of

logger = logger_of(__name__)

# RabbitMQ counts the channels of a user a moment late. Where a user may have no channel more than
# we need, that costs one connection; from then on each further one waits for so long.
_REOPEN_PAUSE_S: Final = 0.2

# AMQP 0-9-1, 2.3.5, 4.2.3 and 4.2.6. Kind, channel and size before the payload of a frame.
_HEAD: Final = struct.Struct(">BHI")
_END: Final = b"\xce"
_METHOD, _HEADER, _BODY = 1, 2, 3
# Class 60, method 40; a short that is reserved. Behind exchange and routing key: mandatory.
_PUBLISH: Final = b"\0\x3c\0\x28\0\0"
_MANDATORY: Final = b"\1"
# A table of one truth value.
_AGAIN: Final = bytes([0, 0, 0, len(AGAIN_HEADER) + 3, len(AGAIN_HEADER)]) + (
    AGAIN_HEADER.encode() + b"t\1"
)
# What is larger may need several frames. No peer asks for smaller ones than 4 KiB.
_IN_ONE_FRAME_BYTES: Final = 4_000


class PublishingChannel:
    """Publishes and declares on one channel, so that a refusal costs nothing but that.

    For who has the publisher's connection; its thread hands it each new one.
    """

    def __init__(
        self,
        where: str,
        sleep: Callable[[float], object],
        *,
        transient: frozenset[str] = frozenset(),
    ) -> None:
        self._where = where
        self._transient = transient
        """Exchanges that are not durable."""
        self._sleep = sleep
        self._channel: Any = None
        self.at_once = False
        """Whether `publish_at_once` may publish anything."""
        self._pause_s = 0.0
        self._undeclared: dict[str, str] = {}
        """Exchanges that the broker does not let us declare, each with the reason."""
        self.declared: set[str] = set()
        """Exchanges that were declared on this connection, and not refused since."""

    @property
    def refusal(self) -> amqp.ChannelError | None:
        """What the broker closed it with; None while it is open."""
        return refusal_of(self._channel)

    def connect(self, connection: kombu.Connection) -> None:
        """Open it on a new connection."""
        self.declared.clear()
        self._channel = open_channel(connection)
        self.at_once = isinstance(self._channel, OwnedChannel) or self._channel.stores_at_once

    def opened(self) -> Any:
        """Return the channel, which is opened again if it was closed.

        Raises `ConnectionLostError` when the broker has not counted the closed one out.
        """
        if self.refusal:
            self._sleep(self._pause_s)
            try:
                with translated(self._where):
                    self._channel = self._channel.replacement()
            except ChannelLimitError as error:
                # There was one before: the next connection gets it. Here, too, not at once.
                self._pause_s = _REOPEN_PAUSE_S
                self._sleep(_REOPEN_PAUSE_S)
                raise ConnectionLostError(str(error)) from error
        return self._channel

    def publish(
        self,
        body: bytes,
        *,
        exchange: str,
        routing_key: str,
        persistent: bool,
        again: bool = False,
        read_before: bool = True,
    ) -> None:
        """Publish, to be confirmed, `again` maybe; what no queue takes comes back.

        With `read_before` py-amqp reads first what has come, an alarm say: a broker with an alarm
        reads nothing from who publishes.
        """
        channel = self._channel
        if not read_before and isinstance(channel, OwnedChannel) and _is_small(body):
            channel.write(
                _frames(channel.channel_id, body, exchange, routing_key, persistent, again)
            )
            return
        # As `kombu.Producer` does, which compresses, serializes, declares and tries again, too; of
        # all that nothing is wanted, and looking for it takes longer than to publish.
        # Mandatory: RabbitMQ confirms what no queue takes, too; so it has to return it.
        channel.basic_publish(
            self._message(body, persistent, again),
            exchange=exchange,
            routing_key=routing_key,
            mandatory=True,
        )

    def publish_at_once(
        self, body: bytes, *, exchange: str, routing_key: str, persistent: bool, again: bool
    ) -> bool:
        """Publish as `publish` does, if nothing has to be waited for; return whether it did.

        What the connection took no more of is kept for `write_rest`.
        """
        channel = self._channel
        if not _is_small(body):
            return False
        if isinstance(channel, OwnedChannel):
            return channel.write_at_once(
                _frames(channel.channel_id, body, exchange, routing_key, persistent, again)
            )
        message = self._message(body, persistent, again)
        return bool(channel.publish_at_once(message, exchange, routing_key))

    @property
    def has_rest(self) -> bool:
        """Whether `publish_at_once` has left something to write."""
        return isinstance(self._channel, OwnedChannel) and self._channel.has_rest

    def write_rest(self) -> None:
        """Write what `publish_at_once` has left; before anything else is written."""
        if isinstance(self._channel, OwnedChannel):
            self._channel.write_rest()

    def _message(self, body: bytes, persistent: bool, again: bool) -> Any:
        return self._channel.prepare_message(
            body,
            content_type=CONTENT_TYPE,
            content_encoding=CONTENT_ENCODING,
            headers={AGAIN_HEADER: True} if again else {},
            # Persistent: a confirm of RabbitMQ then means that it is on disk, or on a majority.
            properties={"delivery_mode": 2 if persistent else 1},
        )

    def declare(self, exchange: str) -> LinkError | None:
        """Declare an exchange; return why the broker refuses that, if it does.

        Raises the `LinkError` of a connection that is lost.
        """
        try:
            with translated(self._where):
                durable = exchange not in self._transient
                kombu.Exchange(exchange, type="topic", durable=durable)(self.opened()).declare()
        except LinkError as error:
            if not isinstance(error.__cause__, amqp.ChannelError):
                raise
            self.declared.discard(exchange)
            if self._undeclared.get(exchange) != error.reason:
                self._undeclared[exchange] = error.reason
                logger.error(  # noqa: TRY400 - the error says no more than this
                    "the exchange %s cannot be declared, and what is sent there may be refused: %s",
                    exchange,
                    error,
                )
            return error
        self._undeclared.pop(exchange, None)
        self.declared.add(exchange)
        return None


def _is_small(body: bytes) -> bool:
    # One without a body has no frame for it.
    return 0 < len(body) <= _IN_ONE_FRAME_BYTES


def _frames(
    number: int, body: bytes, exchange: str, routing_key: str, persistent: bool, again: bool
) -> bytes:
    """Return the frames of a publication on the channel of that number."""
    address = _short(exchange) + _short(routing_key)
    mode = b"\2" if persistent else b"\1"
    return (
        _frame(_METHOD, number, _PUBLISH + address + _MANDATORY)
        + _frame(_HEADER, number, _header(len(body), again) + mode)
        + _frame(_BODY, number, body)
    )


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return _HEAD.pack(kind, channel, len(payload)) + payload + _END


def _header(size_bytes: int, again: bool) -> bytes:
    size = size_bytes.to_bytes(8, "big")
    return b"\0\x3c\0\0" + size + PROPERTIES + (_AGAIN if again else NO_HEADERS)


def _short(text: str) -> bytes:
    data = text.encode()
    # Raises `ValueError` beyond 255.
    return bytes([len(data)]) + data
