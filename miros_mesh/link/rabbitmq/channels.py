"""A channel whose refusal is its owner's alone.

py-amqp raises what closes a channel from whatever reads the connection: from a call on another
channel, say, that had done nothing. And it opens the channel again, as if nothing had been on it.
"""

from __future__ import annotations

import ssl
import struct
from contextlib import suppress
from typing import Any, Final

import amqp
import kombu
from amqp.exceptions import RecoverableConnectionError, error_for_code
from amqp.spec import Basic
from amqp.spec import Channel as Methods
from kombu.transport import pyamqp

from miros_mesh.link.rabbitmq.headers import END, METHOD, Delivered

# A frame of the method basic.ack: kind, channel and size; class and number, tag, multiple; the end.
_ACK: Final = struct.Struct(">BHIHHQBB")


class OwnedChannel(pyamqp.Channel):
    """A channel that the broker may close: every later call on it raises what closed it.

    It keeps its number until it is replaced, to take what RabbitMQ still sends: deliveries that its
    writer had in hand when its reader closed the channel.
    """

    refusal: amqp.ChannelError | None = None
    """What the broker closed it with."""
    _rest = b""
    """Of frames that were written in part; nothing else may be written before."""

    def __init__(self, connection: amqp.Connection, number: int | None = None) -> None:
        super().__init__(connection, number)
        self._connection = connection
        self.open()

    def replacement(self) -> OwnedChannel:
        """Open another one, of the same number, in place of one that was closed."""
        if self._connection.channels is None:
            raise RecoverableConnectionError("the connection is closed")
        # What py-amqp's `collect` does, but for a channel that has its connection no more.
        self._connection.channels.pop(self.channel_id)
        self._connection._used_channel_ids.remove(self.channel_id)  # noqa: SLF001
        return OwnedChannel(self._connection, self.channel_id)

    def send_method(self, *arguments: Any, **options: Any) -> Any:
        """Send as py-amqp does; raises the refusal on a channel that was closed."""
        self._raise_refusal()
        return super().send_method(*arguments, **options)

    def write(self, frames: bytes) -> None:
        """Send complete frames of this channel; raises as `send_method` does."""
        self._raise_refusal()
        if self.connection is None:
            raise RecoverableConnectionError("the connection is closed")
        self.connection.transport.write(frames)
        # By which py-amqp knows that no heartbeat is needed.
        self.connection.bytes_sent += 1

    def write_at_once(self, frames: bytes) -> bool:
        """Send complete frames if the socket takes some without a wait; whether it did.

        The rest is for `write_rest`. Raises as `write` does.
        """
        if self._rest or self.refusal or self.connection is None:
            return False
        sock = self.connection.transport.sock
        limit_s = sock.gettimeout()
        sock.settimeout(0)
        try:
            written = sock.send(frames)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            # Of TLS these bytes may have become a record already, and are to be sent again.
            written = 0
            if not isinstance(sock, ssl.SSLSocket):
                return False
        finally:
            sock.settimeout(limit_s)
        self._rest = frames[written:]
        self.connection.bytes_sent += 1
        return True

    @property
    def has_rest(self) -> bool:
        """Whether `write_at_once` has left something."""
        return bool(self._rest)

    def write_rest(self) -> None:
        """Send what `write_at_once` has left, if anything."""
        if self._rest:
            rest, self._rest = self._rest, b""
            if self.connection is None:
                raise RecoverableConnectionError("the connection is closed")
            self.connection.transport.write(rest)

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Acknowledge as py-amqp does, written in one piece."""
        self.write(_ACK.pack(METHOD, self.channel_id, 13, 60, 80, delivery_tag, multiple, END))

    def wait(self, *arguments: Any, **options: Any) -> Any:
        """Wait as py-amqp does; raises the refusal that comes in place of the answer."""
        try:
            return super().wait(*arguments, **options)
        except RecoverableConnectionError:
            # All that py-amqp knows is that the channel has no connection any more.
            self._raise_refusal()
            raise

    def message_to_python(self, raw_message: Any) -> Any:
        """Make Kombu's message of py-amqp's; a `Delivered` is ready to use."""
        if isinstance(raw_message, Delivered):
            return raw_message
        return super().message_to_python(raw_message)

    def dispatch_method(self, method: tuple[int, int], *content: Any) -> None:
        """Handle a method of the broker, unless it was for the last channel of this number."""
        # py-amqp would reject a delivery that it finds no consumer for, by a tag of the last
        # channel, and the broker would close this one for that.
        if self.is_open or method != Basic.Deliver:
            super().dispatch_method(method, *content)

    def _on_close(self, code: int, text: str, class_id: int, method_id: int) -> None:
        self.send_method(Methods.CloseOk)
        said = error_for_code(code, text, (class_id, method_id), amqp.ChannelError)
        self.refusal = (
            said
            if isinstance(said, amqp.ChannelError)
            else amqp.ChannelError(text, (class_id, method_id), reply_code=code)
        )
        # It ends the wait of whatever waits on this channel.
        self.is_open, self.connection = False, None

    def _raise_refusal(self) -> None:
        if self.refusal:
            raise self.refusal.with_traceback(None)


class ConsumingChannel:
    """The one channel of all consumers of a connection; after a refusal it is opened again.

    The broker has then forgotten all consumers, and delivers again what they had not settled.
    """

    def __init__(self, connection: kombu.Connection) -> None:
        self.channel: Any = open_channel(connection)
        self._prefetch = 0
        self.wary = False
        """Whether it was closed because a queue may not be consumed, and not by what consumed."""
        self.reopened = 0
        """How often it was opened again; the subscriber counts anew now and then."""
        self._left_behind = False
        self._last_refusal: amqp.ChannelError | None = None

    @property
    def broken(self) -> bool:
        """Whether there may be consumers on a channel that is closed."""
        return self._left_behind or refusal_of(self.channel) is not None

    def prepared(self, prefetch: int) -> Any:
        """Return the channel, open, for a consumer with this prefetch."""
        if refusal := refusal_of(self.channel):
            self.wary = self.wary or not isinstance(refusal, amqp.PreconditionFailed)
            self.channel = self.channel.replacement()
            self._prefetch, self._left_behind, self._last_refusal = 0, True, refusal
            self.reopened += 1
        if prefetch != self._prefetch:
            # Not `global`, which in RabbitMQ means: for each consumer that starts from now on.
            self.channel.basic_qos(0, prefetch, False)
            self._prefetch = prefetch
        return self.channel

    def close(self) -> None:
        """End all that is consumed on it: the broker has back what is not settled, in order.

        In one step, where to cancel and to reject are several: another consumer that waits gets
        none of what comes later first.
        """
        if refusal_of(self.channel) is None:
            with suppress(amqp.ChannelError):
                self.channel.close()

    def settle_all(self) -> None:
        """Return when the broker has what was settled: it obeys a channel in order."""
        with suppress(amqp.ChannelError):
            self.channel.basic_qos(0, self._prefetch, False)

    def renewed(self) -> amqp.ChannelError | None:
        """Have `broken` tell only of what breaks from now on; returns what broke it last."""
        self.prepared(self._prefetch)
        self._left_behind = False
        return self._last_refusal


def open_channel(connection: kombu.Connection) -> Any:
    """Open a channel; those of our own transports are never closed by a refusal."""
    transport = connection.connection
    if not isinstance(transport, amqp.Connection):
        return connection.channel()
    return OwnedChannel(transport)


def refusal_of(channel: Any) -> amqp.ChannelError | None:
    """What closed a channel; None while it is open."""
    refusal: amqp.ChannelError | None = getattr(channel, "refusal", None)
    return refusal
