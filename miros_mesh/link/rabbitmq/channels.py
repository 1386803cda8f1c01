"""A channel whose refusal is its owner's alone.

py-amqp raises what closes a channel from whatever reads the connection: from a call on another
channel, say, that had done nothing. And it opens the channel again, as if nothing had been on it.
"""

from __future__ import annotations

from typing import Any

import amqp
import kombu
from amqp.exceptions import RecoverableConnectionError, error_for_code
from amqp.spec import Channel as Methods
from kombu.transport import pyamqp


class OwnedChannel(pyamqp.Channel):
    """A channel that the broker may close: every later call on it raises what closed it."""

    refusal: amqp.ChannelError | None = None
    """What the broker closed it with."""

    def send_method(self, *arguments: Any, **options: Any) -> Any:
        """Send as py-amqp does; raises the refusal on a channel that was closed."""
        self._raise_refusal()
        return super().send_method(*arguments, **options)

    def wait(self, *arguments: Any, **options: Any) -> Any:
        """Wait as py-amqp does; raises the refusal that comes in place of the answer."""
        try:
            return super().wait(*arguments, **options)
        except RecoverableConnectionError:
            # All that py-amqp knows is that the channel has no connection any more.
            self._raise_refusal()
            raise

    def _on_close(self, code: int, text: str, class_id: int, method_id: int) -> None:
        self.send_method(Methods.CloseOk)
        said = error_for_code(code, text, (class_id, method_id), amqp.ChannelError)
        self.refusal = (
            said
            if isinstance(said, amqp.ChannelError)
            else amqp.ChannelError(text, (class_id, method_id), reply_code=code)
        )
        self.collect()

    def _raise_refusal(self) -> None:
        if self.refusal:
            raise self.refusal.with_traceback(None)


class ConsumingChannel:
    """The one channel of all consumers of a connection; after a refusal it is opened again.

    The broker has then forgotten all consumers, and delivers again what they had not settled.
    """

    def __init__(self, connection: kombu.Connection) -> None:
        self._connection = connection
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
            self.channel = open_channel(self._connection)
            self._prefetch, self._left_behind, self._last_refusal = 0, True, refusal
            self.reopened += 1
        if prefetch != self._prefetch:
            # Not `global`, which in RabbitMQ means: for each consumer that starts from now on.
            self.channel.basic_qos(0, prefetch, False)
            self._prefetch = prefetch
        return self.channel

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
    channel = OwnedChannel(transport)
    channel.open()
    return channel


def refusal_of(channel: Any) -> amqp.ChannelError | None:
    """What closed a channel; None while it is open."""
    refusal: amqp.ChannelError | None = getattr(channel, "refusal", None)
    return refusal
