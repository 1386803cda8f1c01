"""Visits to what queues keep for people: look at it, take one away, publish one again."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import amqp
import kombu

from miros_mesh.address import topic_of_queue
from miros_mesh.errors import (
    BrokerRefusedError,
    LettersInUseError,
    LinkError,
    MeshError,
    UnroutableError,
)
from miros_mesh.link.looks import in_time
from miros_mesh.link.rabbitmq.deadline import StepLimit
from miros_mesh.link.rabbitmq.generations import newest_of
from miros_mesh.link.translation import translated

# The embedded broker gives a queue to who fetches single messages alone, for as long as a listing
# lasts.
_ASK_AGAIN_S: Final = 0.05


class KombuLetterBox:
    """The `LetterBox` port on an established connection, which its maker closes.

    Declares no queue: where nothing was ever refused, a look leaves nothing behind.
    """

    def __init__(self, connection: kombu.Connection, where: str, limit: StepLimit) -> None:
        self._transport = connection.transport
        # The property would connect anew, and what was handed out belongs to this connection.
        self._established = connection.connection
        self._where = where
        self._limit = limit
        limit.watch(self._socket)
        self.broken = False
        """Whether the latest step ended amid a talk with the broker, so that none can follow."""

    def kept(self, queue: str) -> Generator[KombuKeptMessage, None, None]:
        """Hand out what waits in a queue now, the oldest first; what is not taken stays, in order.

        What is refused again meanwhile is not part of it, so a pass over all of them ends.
        """
        with self._step():
            channel = self._channel()
            try:
                left = channel.queue_declare(queue=queue, passive=True).message_count
            except amqp.NotFound:
                channel.close()
                return
        try:
            while left > 0 and (message := self._get(channel, queue)):
                yield KombuKeptMessage(self, channel, message)
                left -= 1
        finally:
            # Gives back what was not taken, each message to its place; so does the end of a
            # connection that is lost.
            with suppress(LinkError), self._step():
                channel.close()

    def put(self, exchange: str, routing_key: str, body: bytes) -> None:
        """Publish to a topic exchange; return when the broker has stored it."""
        with self._step(), self._publishing() as channel:
            kombu.Exchange(exchange, type="topic", durable=True)(channel).declare()
            self._publish(channel, exchange, routing_key, body)

    def put_into(self, queue: str, seal: Callable[[str], bytes], *, exchange: str) -> None:
        """Publish to one queue alone, through a direct exchange; return when it is stored.

        `seal` returns the bytes to publish under a routing key, which begins as `topic_of_queue`
        says: the reader of another queue does not take them.

        A queue that was replaced lives under the name of its newest generation.

        The default exchange would do without a binding, but is closed to a user who may write
        under our names only.
        """
        # Of this publication alone: two operators at once do not undo each other's binding.
        key = f"{topic_of_queue(exchange, queue)}.{secrets.token_hex(8)}"
        with self._step():
            living = newest_of(queue, self._exists)
            if living is None:
                raise UnroutableError(f"{self._where} has no queue {queue}")
            with self._publishing() as channel:
                kombu.Exchange(exchange, type="direct", durable=True)(channel).declare()
                channel.queue_bind(queue=living, exchange=exchange, routing_key=key)
                try:
                    self._publish(channel, exchange, key, seal(key))
                finally:
                    # After a lost connection it stays, and no publication has its key again.
                    if self._transport.verify_connection(self._established):
                        channel.queue_unbind(queue=living, exchange=exchange, routing_key=key)

    def take(self, channel: Any, message: Any) -> None:
        """Acknowledge a message; return when the broker has read that."""
        with self._step():
            channel.basic_ack(message.delivery_tag)
            # No answer comes to an acknowledgement, and the broker reads in order: what answers
            # the next question has read it. This question asks for nothing.
            channel.basic_qos(0, 0, False)

    def _get(self, channel: Any, queue: str) -> Any:
        deadline = time.monotonic() + self._limit.seconds
        pause = threading.Event()
        while True:
            try:
                with self._step():
                    try:
                        return channel.basic_get(queue=queue)
                    except amqp.ResourceLocked as error:
                        raise LettersInUseError(
                            f"{self._where}: another program reads {queue}; try again"
                        ) from error
            except LettersInUseError:
                if time.monotonic() > deadline:
                    raise
                pause.wait(_ASK_AGAIN_S)

    def _publish(self, channel: Any, exchange: str, routing_key: str, body: bytes) -> None:
        answers = _Answers(channel)
        kombu.Producer(channel, auto_declare=False).publish(
            body,
            exchange=exchange,
            routing_key=routing_key,
            delivery_mode=2,
            content_type="application/octet-stream",
            content_encoding="binary",
            mandatory=True,
            retry=False,
        )
        # Beside a confirm that never comes, as under an alarm, the deadline ends this.
        while answers.awaited:
            self._transport.drain_events(self._established)
        if answers.nacked:
            raise BrokerRefusedError(f"{self._where} did not store it; is a queue of its full?")
        if answers.returned:
            raise UnroutableError(f"no queue of {self._where} takes what is sent there")

    @contextmanager
    def _publishing(self) -> Iterator[Any]:
        """A channel for one publication: whatever comes on it is about that one."""
        channel = self._channel()
        try:
            yield channel
        # The connection is good, and py-amqp has opened the channel again if the broker closed it.
        except (amqp.ChannelError, MeshError):
            channel.close()
            raise
        channel.close()

    def _exists(self, queue: str) -> bool:
        try:
            with self._publishing() as channel:
                channel.queue_declare(queue=queue, passive=True)
        except amqp.NotFound:
            return False
        return True

    def _channel(self) -> Any:
        return self._transport.create_channel(self._established)

    @contextmanager
    def _step(self) -> Iterator[None]:
        """Limit the time for what is asked of the broker, and translate what it raises."""
        self.broken = True
        try:
            with self._limit.step(), in_time(self._where, self._limit), translated(self._where):
                yield
        except MeshError as error:
            self.broken = error.retryable
            raise
        self.broken = False

    def _socket(self) -> Any:
        # py-amqp's public attribute raises when there is none; an embedded broker has none.
        return getattr(getattr(self._established, "_transport", None), "sock", None)


@dataclass(frozen=True, eq=False)
class KombuKeptMessage:
    """A message that is handed out, as the `KeptMessage` of the port."""

    box: KombuLetterBox
    channel: Any
    message: Any

    @property
    def body(self) -> bytes:
        """The bytes as they were published."""
        body = self.message.body
        # py-amqp gives an empty body as text.
        return body.encode() if isinstance(body, str) else bytes(body)

    def take(self) -> None:
        """Remove it from its queue."""
        self.box.take(self.channel, self.message)


class _Answers:
    """What a broker says to the one publication of a channel; embedded it says nothing to wait for.

    A return comes before its confirm, and inside of `publish` where that stores by itself.
    """

    def __init__(self, channel: Any) -> None:
        self.awaited = hasattr(channel, "confirm_select")
        self.nacked = self.returned = False
        channel.events["basic_return"].add(self._returned)
        if self.awaited:
            channel.confirm_select()
            channel.events["basic_ack"].add(self._acked)
            channel.events["basic_nack"].add(self._nacked)

    def _acked(self, *_: object) -> None:
        self.awaited = False

    def _nacked(self, *_: object) -> None:
        self.awaited, self.nacked = False, True

    def _returned(self, *_: object) -> None:
        self.returned = True
