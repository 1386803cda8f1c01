"""A channel of the embedded broker: declare, publish, consume, acknowledge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from amqp.exceptions import (
    AMQPNotImplementedError,
    ChannelError,
    ConsumerCancelled,
    NotAllowed,
    RecoverableConnectionError,
)
from amqp.protocol import queue_declare_ok_t
from kombu.message import Message
from kombu.transport import virtual
from kombu.transport.base import to_rabbitmq_queue_arguments
from kombu.utils.uuid import uuid

from miros_mesh.embedded import definitions
from miros_mesh.embedded.message import Place, delivered, stored_body, stored_properties
from miros_mesh.embedded.prefetch import Deliveries, Reader
from miros_mesh.embedded.store import Store

NO_ROUTE: Final = 312
# Who gets messages one by one looks at what is kept, which may be large, and is in no hurry.
_LOOKED_AHEAD: Final = 16


@dataclass(eq=False)
class Subscription:
    """A consumer of one queue: what its reader reads goes to the callback."""

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
        """Tell that the queue is gone or has another consumer, in the way of py-amqp."""
        self.channel.forget(self)
        if self.on_cancel is None:
            raise ConsumerCancelled(f"the queue {self.queue} is not ours any more: {self.tag}")
        self.on_cancel(self.tag)


class Channel(virtual.Channel):
    """One conversation on a connection; the prefetch limit is each consumer's own.

    Exchanges, queues and bindings live in the store, where Kombu keeps them in the process.
    """

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self.closed = False
        self.events: defaultdict[str, set[Callable[..., object]]] = defaultdict(set)
        self.no_ack_consumers: set[str] = set()
        self._prefetch = 0
        self._deliveries = Deliveries()
        self._readers: dict[str, Reader] = {}
        self._subscriptions: dict[str, Subscription] = {}

    @property
    def transport(self) -> Any:
        """The connection; `RecoverableConnectionError` when the channel is closed."""
        if self.connection is None:
            raise RecoverableConnectionError("the channel is closed")
        return self.connection

    @property
    def store(self) -> Store:
        """The store; `RecoverableConnectionError` when channel or connection is closed."""
        store: Store = self.transport.store
        return store

    def prepare_queue_arguments(self, arguments: dict[str, Any], **options: Any) -> Any:
        """Turn Kombu's own names for queue arguments into RabbitMQ's."""
        return to_rabbitmq_queue_arguments(arguments, **options)

    def exchange_declare(
        self,
        exchange: str,
        type: str = "direct",  # noqa: A002
        durable: bool = False,
        auto_delete: bool = False,
        arguments: dict[str, Any] | None = None,
        nowait: bool = False,
        passive: bool = False,
    ) -> None:
        """Declare an exchange, or with `passive` only ask for it."""
        if passive:
            self.store.ask(definitions.require_exchange, exchange)
            return
        traits = definitions.Traits(
            durable=durable, auto_delete=auto_delete, arguments=arguments or {}
        )
        wanted = (exchange, type or "direct", traits)
        if not self.store.ask(definitions.has_exchange, *wanted):
            self.store.change(definitions.declare_exchange, *wanted)

    def exchange_delete(self, exchange: str, if_unused: bool = False, **_: Any) -> None:
        """Delete an exchange; unlike Kombu's virtual ones, leave its queues alone."""
        self.store.change(definitions.delete_exchange, exchange, if_unused=if_unused)

    def queue_declare(
        self,
        queue: str | None = None,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: dict[str, Any] | None = None,
        **_: Any,
    ) -> queue_declare_ok_t:
        """Declare a queue, or with `passive` only ask for it."""
        if queue and self.store.ask(definitions.has_queue, queue):
            # It may be one that has expired, or whose owner is dead. For a new name there is no
            # hurry, and a thousand charts declare a thousand of them.
            self.store.keep_up(at_once=True)
        if passive:
            return queue_declare_ok_t(*self.store.ask(definitions.queue_state, queue or ""))
        traits = definitions.Traits(
            durable=durable,
            auto_delete=auto_delete,
            exclusive=exclusive,
            arguments=arguments or {},
        )
        state = self.store.declare_queue(queue or f"amq.gen-{uuid()}", traits)
        return queue_declare_ok_t(*state)

    def queue_bind(self, queue: str, exchange: str, routing_key: str = "", **_: Any) -> None:
        """Bind a queue to an exchange."""
        self.store.change(definitions.bind, queue, exchange, routing_key)

    def queue_unbind(self, queue: str, exchange: str, routing_key: str = "", **_: Any) -> None:
        """End a binding: nothing more is routed by it; none is no error."""
        self.store.change(definitions.unbind, queue, exchange, routing_key)

    def queue_delete(
        self, queue: str, if_unused: bool = False, if_empty: bool = False, **_: Any
    ) -> int:
        """Delete a queue; returns how many messages went with it."""
        return self.store.delete_queue(queue, if_unused=if_unused, if_empty=if_empty)

    def queue_purge(self, queue: str, **_: Any) -> int:
        """Remove all messages of a queue; returns how many."""
        return self.store.change(definitions.purge, queue)

    def list_bindings(self) -> list[tuple[str, str, str]]:
        """List all bindings: queue, exchange, routing key."""
        return self.store.ask(definitions.bindings)

    def _get_free_channel_id(self) -> int:
        # Kombu searches one that is free, in a time that grows with the square of the channels.
        number: int = next(self.transport.channel_ids)
        return number

    def message_to_python(self, raw_message: Message) -> Message:
        """Return it as it is: ours are made ready to use."""
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

    @property
    def stores_at_once(self) -> bool:
        """Whether `publish_at_once` may be called: nothing is waited for that it cannot know."""
        return bool(self.transport.stores_at_once)

    def publish_at_once(self, message: dict[str, Any], exchange: str, routing_key: str) -> bool:
        """Publish as mandatory, unless that has to wait; return whether it did."""
        properties, body = stored_properties(message), stored_body(message)
        reached = self.store.publish_at_once(exchange, routing_key, properties, body)
        if reached == 0:
            self._return(message, exchange, routing_key)
        return reached is not None

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
        """Deliver the messages of a queue to the callback, once it is its turn.

        A connection consumes a queue once: `ResourceLocked` for a second time.
        """
        tag = consumer_tag or f"amq.ctag-{uuid()}"
        if tag in self._subscriptions:
            raise NotAllowed(f"NOT_ALLOWED - the consumer tag {tag!r} is in use")
        if (held := self._readers.get(queue)) and not self._is_consumed(queue):
            # By a `basic_get`, which keeps others out.
            self._release(held)
        reader = self._reader(queue, self._prefetch)
        subscription = Subscription(self, tag, queue, reader, callback, on_cancel, no_ack)
        self._subscriptions[tag] = subscription
        if no_ack:
            self.no_ack_consumers.add(tag)
        self.transport.enlist(subscription)
        return tag

    def basic_cancel(self, consumer_tag: str) -> None:
        """Deliver no more; what was delivered can still be settled.

        Until that the channel keeps what it has of a shared queue; of any other it is there for the
        next consumer at once.
        """
        if subscription := self._subscriptions.get(consumer_tag):
            self.forget(subscription)
            self._release(subscription.reader)

    def basic_get(self, queue: str, no_ack: bool = False, **_: Any) -> Message | None:
        """Return a message or None; until the channel closes no other one may consume there."""
        reader = self._readers.get(queue) or self._reader(queue, 0, alone=True)
        self.transport.acknowledgements.flush()
        reader.refill(self.store, _LOOKED_AHEAD)
        if not reader.ready:
            return None
        message = self._take(reader, None)
        self.transport.attend(reader.queue)
        if no_ack:
            self.basic_ack(message.delivery_tag)
        return message

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Remove a handled message from its queue."""
        self.transport.settle(self._deliveries.take(delivery_tag, multiple=multiple))

    def basic_reject(self, delivery_tag: int, requeue: bool = False) -> None:
        """Put a message back to its place, or send it where its queue sends dead letters."""
        if requeue:
            self._give_back(*self._deliveries.take_back(delivery_tag))
        else:
            self.transport.refuse(self._deliveries.take(delivery_tag))

    def basic_recover(self, requeue: bool = False) -> None:
        """Put everything unsettled back to its place, whatever `requeue` says."""
        self._give_back(*self._deliveries.take_back(0, multiple=True))

    def deliver(self, subscription: Subscription) -> None:
        """Hand out one message; if the callback raises it stays unsettled."""
        message = self._take(subscription.reader, subscription.tag)
        subscription.callback(message)
        if subscription.no_ack:
            self.basic_ack(message.delivery_tag)

    def forget(self, subscription: Subscription) -> None:
        """Drop a subscription; its queue stays consumed."""
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
            # What is still kept of shared queues.
            self.basic_recover()
        finally:
            if self.connection is not None:
                self.connection.close_channel(self)

    def _size(self, queue: str) -> int:
        return self.store.ask(definitions.queue_state, queue).messages

    def _is_consumed(self, queue: str) -> bool:
        return any(queue == known.queue for known in self._subscriptions.values())

    def _reader(self, queue: str, prefetch: int, *, alone: bool = False) -> Reader:
        standing = self.store.consume(queue, prefetch, alone=alone)
        reader = Reader(standing, prefetch, self._deliveries.unsettled(standing.queue))
        self._readers[queue] = reader
        return reader

    def _release(self, reader: Reader) -> None:
        self.transport.acknowledgements.flush()
        self.store.release(reader.queue, reader.unsettled)
        if not reader.standing.sharing:
            self._deliveries.given_back(reader.queue)

    def _take(self, reader: Reader, consumer_tag: str | None) -> Message:
        entry = reader.take()
        tag = self._deliveries.add(reader.queue, entry.message)
        return delivered(entry, tag, self, consumer_tag)

    def _give_back(self, places: list[Place], not_yet: list[Place]) -> None:
        """Hand out again; for others, too, what is `not_yet` there for them."""
        for queue, messages in _by_queue(not_yet).items():
            self.store.requeue(queue, messages)
        for queue, messages in _by_queue(places).items():
            for reader in self._readers.values():
                if reader.queue == queue:
                    reader.give_back(messages)
            self.transport.attend(queue)

    def _return(self, message: dict[str, Any], exchange: str, routing_key: str) -> None:
        error = ChannelError("NO_ROUTE", (50, 60), "Basic.return", NO_ROUTE)
        listeners = self.events["basic_return"]
        if not listeners:
            raise error
        for listener in listeners:
            listener(error, exchange, routing_key, message)


def _by_queue(places: list[Place]) -> dict[int, list[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for queue, message in places:
        found[queue].append(message)
    return found
