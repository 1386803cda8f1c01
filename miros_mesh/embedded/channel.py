"""The half of a channel that carries messages: publish, consume, acknowledge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from amqp.exceptions import AMQPNotImplementedError, ChannelError, ConsumerCancelled, NotAllowed
from kombu.message import Message
from kombu.utils.uuid import uuid

from miros_mesh.embedded.declaring import DeclaringChannel
from miros_mesh.embedded.deliveries import Deliveries
from miros_mesh.embedded.message import delivered, stored_body, stored_properties
from miros_mesh.embedded.prefetch import Reader

NO_ROUTE: Final = 312


@dataclass(eq=False)
class Subscription:
    """A consumer: the callback that wants what a reader reads."""

    channel: Channel
    tag: str
    queue: str
    reader: Reader
    callback: Callable[[Message], object]
    on_cancel: Callable[[str], object] | None
    no_ack: bool

    def deliver(self) -> None:
        """Hand the next message to the callback."""
        self.channel.deliver(self)

    def cancelled(self) -> None:
        """The queue is gone or has another consumer now: say so as py-amqp does."""
        self.channel.forget(self)
        if self.on_cancel is None:
            raise ConsumerCancelled(f"the queue {self.queue} is not ours any more: {self.tag}")
        self.on_cancel(self.tag)


class Channel(DeclaringChannel):
    """One conversation on a connection; the prefetch limit is each consumer's own."""

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self.closed = False
        self.events: defaultdict[str, set[Callable[..., object]]] = defaultdict(set)
        self.no_ack_consumers: set[str] = set()
        self._prefetch = 0
        self._deliveries = Deliveries()
        self._readers: dict[str, Reader] = {}
        self._subscriptions: dict[str, Subscription] = {}

    def message_to_python(self, raw_message: Message) -> Message:
        """Ours are made ready to use."""
        return raw_message

    def basic_publish(
        self,
        message: dict[str, Any],
        exchange: str,
        routing_key: str,
        mandatory: bool = False,
        **_: Any,
    ) -> None:
        """Store a message; when this returns, every queue that matches has it."""
        properties, body = stored_properties(message), stored_body(message)
        reached = self.store.publish(exchange, routing_key, properties, body)
        if mandatory and not reached:
            self._return(message, exchange, routing_key)

    def basic_qos(
        self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False
    ) -> None:
        """Limit what the consumers that start from now on may have unsettled, each for itself."""
        if apply_global:
            raise AMQPNotImplementedError("NOT_IMPLEMENTED - a limit for the channel as a whole")
        self._prefetch = prefetch_count

    def basic_consume(
        self,
        queue: str,
        no_ack: bool,
        callback: Callable[[Message], object],
        consumer_tag: str = "",
        on_cancel: Callable[[str], object] | None = None,
        **_: Any,
    ) -> str:
        """Deliver the messages of a queue to the callback; a queue has one consumer at a time."""
        tag = consumer_tag or f"amq.ctag-{uuid()}"
        if tag in self._subscriptions:
            raise NotAllowed(f"NOT_ALLOWED - the consumer tag {tag!r} is in use")
        reader = self._claim(queue, self._prefetch)
        subscription = Subscription(self, tag, queue, reader, callback, on_cancel, no_ack)
        self._subscriptions[tag] = subscription
        if no_ack:
            self.no_ack_consumers.add(tag)
        self.transport.enlist(subscription)
        return tag

    def basic_cancel(self, consumer_tag: str) -> None:
        """Deliver no more; what was delivered can still be settled."""
        if subscription := self._subscriptions.get(consumer_tag):
            self.forget(subscription)
            self._release(subscription.reader)

    def basic_get(self, queue: str, no_ack: bool = False, **_: Any) -> Message | None:
        """One message, if there is one; until the channel closes no other may consume there."""
        reader = self._readers.get(queue) or self._claim(queue, 0)
        self.transport.acknowledgements.flush()
        reader.refill(self.store)
        if not reader.ready:
            return None
        message = self._take(reader, None)
        if no_ack:
            self.basic_ack(message.delivery_tag)
        return message

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Handled: the queue forgets it."""
        self.transport.settle(self._deliveries.take(delivery_tag, multiple=multiple))

    def basic_reject(self, delivery_tag: int, requeue: bool = False) -> None:
        """Not handled: back to its place in the queue, or forgotten, or among the dead letters."""
        places = self._deliveries.take(delivery_tag)
        if requeue:
            self._give_back(places)
        else:
            self.transport.refuse(places)

    def basic_recover(self, requeue: bool = False) -> None:
        """Everything unsettled goes back to its place."""
        self._give_back(self._deliveries.take(0, multiple=True))

    def deliver(self, subscription: Subscription) -> None:
        """Hand out one message; if the callback raises it stays unsettled."""
        message = self._take(subscription.reader, subscription.tag)
        subscription.callback(message)
        if subscription.no_ack:
            self.basic_ack(message.delivery_tag)

    def forget(self, subscription: Subscription) -> None:
        """Know a subscription no more."""
        self._subscriptions.pop(subscription.tag, None)
        self._readers.pop(subscription.queue, None)
        self.no_ack_consumers.discard(subscription.tag)
        self.transport.discharge(subscription)

    def close(self) -> None:
        """Cancel all consumers and give back what is unsettled."""
        if self.closed:
            return
        self.closed = True
        try:
            self.transport.acknowledgements.flush()
            for subscription in list(self._subscriptions.values()):
                self.basic_cancel(subscription.tag)
            for reader in self._readers.values():
                self._release(reader)
        finally:
            if self.connection is not None:
                self.connection.close_channel(self)

    def _claim(self, queue: str, prefetch: int) -> Reader:
        held = self._readers.get(queue)
        taken = any(queue == known.queue for known in self._subscriptions.values())
        number = held.queue if held and not taken else self.store.claim(queue, prefetch)
        reader = Reader(number, prefetch, self._deliveries.unsettled(number))
        self._readers[queue] = reader
        return reader

    def _release(self, reader: Reader) -> None:
        self.transport.acknowledgements.flush()
        self.store.release(reader.queue, reader.unsettled)

    def _take(self, reader: Reader, consumer_tag: str | None) -> Message:
        entry = reader.take()
        tag = self._deliveries.add(reader.queue, entry.message)
        return delivered(entry, tag, self, consumer_tag)

    def _give_back(self, places: list[tuple[int, int]]) -> None:
        by_queue = defaultdict(list)
        for queue, message in places:
            by_queue[queue].append(message)
        for queue, messages in by_queue.items():
            self.store.requeue(queue, messages)
            for reader in self._readers.values():
                if reader.queue == queue:
                    reader.give_back(messages)
        self.store.doorbell.ring()

    def _return(self, message: dict[str, Any], exchange: str, routing_key: str) -> None:
        error = ChannelError("NO_ROUTE", (50, 60), "Basic.return", NO_ROUTE)
        listeners = self.events["basic_return"]
        if not listeners:
            raise error
        for listener in listeners:
            listener(error, exchange, routing_key, message)
