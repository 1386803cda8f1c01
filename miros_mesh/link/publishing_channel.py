"""The channel of a publisher, which the broker closes with every refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import amqp
import kombu
from amqp.spec import Basic

from miros_mesh.errors import ChannelLimitError, ConnectionLostError, LinkError
from miros_mesh.link.rabbitmq.channels import OwnedChannel, open_channel, refusal_of
from miros_mesh.link.translation import translated
from miros_mesh.text import logger_of

logger = logger_of(__name__)

# RabbitMQ counts the channels of a user a moment late. Where a user may have no channel more than
# we need, that costs one connection; from then on each further one waits for so long.
_REOPEN_PAUSE_S: Final = 0.2


class PublishingChannel:
    """Publishes and declares on one channel, so that a refusal costs nothing but that.

    For the publisher's thread alone, which hands it each new connection.
    """

    def __init__(self, where: str, sleep: Callable[[float], object]) -> None:
        self._where = where
        self._sleep = sleep
        self._channel: Any = None
        self._pause_s = 0.0
        self._undeclared: dict[str, str] = {}
        """Exchanges that the broker does not let us declare, each with the reason."""

    @property
    def refusal(self) -> amqp.ChannelError | None:
        """What the broker closed it with; None while it is open."""
        return refusal_of(self._channel)

    def connect(self, connection: kombu.Connection) -> None:
        """Open it on a new connection."""
        self._channel = open_channel(connection)

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
        headers: dict[str, Any] | None = None,
        read_before: bool = True,
    ) -> None:
        """Publish, to be confirmed; what no queue takes comes back.

        With `read_before` py-amqp reads first what has come, an alarm say: a broker with an alarm
        reads nothing from who publishes.
        """
        # As `kombu.Producer` does, which compresses, serializes, declares and tries again, too; of
        # all that nothing is wanted, and looking for it takes longer than to publish.
        message = self._channel.prepare_message(
            body,
            content_type="application/octet-stream",
            content_encoding="binary",
            headers=headers or {},
            # Persistent: a confirm of RabbitMQ then means that it is on disk, or on a majority.
            properties={"delivery_mode": 2 if persistent else 1},
        )
        # Mandatory: RabbitMQ confirms what no queue takes, too; so it has to return it.
        if read_before or not isinstance(self._channel, OwnedChannel):
            self._channel.basic_publish(
                message, exchange=exchange, routing_key=routing_key, mandatory=True
            )
        else:
            # What py-amqp does next.
            arguments = 0, exchange, routing_key, True, False
            self._channel.send_method(Basic.Publish, "Bssbb", arguments, message)

    def declare(self, exchange: str) -> LinkError | None:
        """Declare an exchange; return why the broker refuses that, if it does.

        Raises the `LinkError` of a connection that is lost.
        """
        try:
            with translated(self._where):
                kombu.Exchange(exchange, type="topic", durable=True)(self.opened()).declare()
        except LinkError as error:
            if not isinstance(error.__cause__, amqp.ChannelError):
                raise
            if self._undeclared.get(exchange) != error.reason:
                self._undeclared[exchange] = error.reason
                logger.error(  # noqa: TRY400 - the error says no more than this
                    "the exchange %s cannot be declared, and what is sent there may be refused: %s",
                    exchange,
                    error,
                )
            return error
        self._undeclared.pop(exchange, None)
        return None
