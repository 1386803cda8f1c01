"""The half of a channel that declares: Kombu's calls turned into the store's."""

from __future__ import annotations

from typing import Any

from amqp.exceptions import RecoverableConnectionError
from amqp.protocol import queue_declare_ok_t
from kombu.transport import virtual
from kombu.transport.base import to_rabbitmq_queue_arguments
from kombu.utils.uuid import uuid

from miros_mesh.embedded.store import Store
from miros_mesh.embedded.traits import QueueState, Traits


class DeclaringChannel(virtual.Channel):
    """Exchanges, queues and bindings live in the store, where Kombu keeps them in the process."""

    @property
    def transport(self) -> Any:
        """The connection; raises when the channel is closed."""
        if self.connection is None:
            raise RecoverableConnectionError("the channel is closed")
        return self.connection

    @property
    def store(self) -> Store:
        """The store of the connection."""
        store: Store = self.transport.store
        return store

    def prepare_queue_arguments(self, arguments: dict[str, Any], **options: Any) -> Any:
        """Kombu's own names for queue arguments become RabbitMQ's."""
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
            self.store.definitions.require_exchange(exchange)
            return
        traits = Traits(durable=durable, auto_delete=auto_delete, arguments=arguments or {})
        self.store.definitions.declare_exchange(exchange, type or "direct", traits)

    def exchange_delete(self, exchange: str, if_unused: bool = False, **_: Any) -> None:
        """Delete an exchange; unlike Kombu's virtual ones, leave its queues alone."""
        self.store.definitions.delete_exchange(exchange, if_unused=if_unused)

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
        self.store.keep_up(at_once=True)
        if passive:
            return _declared(self.store.definitions.queue_state(queue or ""))
        traits = Traits(
            durable=durable,
            auto_delete=auto_delete,
            exclusive=exclusive,
            arguments=arguments or {},
        )
        return _declared(self.store.declare_queue(queue or f"amq.gen-{uuid()}", traits))

    def queue_bind(self, queue: str, exchange: str, routing_key: str = "", **_: Any) -> None:
        """Bind a queue to an exchange."""
        self.store.definitions.bind(queue, exchange, routing_key)

    def queue_unbind(self, queue: str, exchange: str, routing_key: str = "", **_: Any) -> None:
        """End a binding."""
        self.store.definitions.unbind(queue, exchange, routing_key)

    def queue_delete(
        self, queue: str, if_unused: bool = False, if_empty: bool = False, **_: Any
    ) -> int:
        """Delete a queue; returns how many messages went with it."""
        return self.store.delete_queue(queue, if_unused=if_unused, if_empty=if_empty)

    def queue_purge(self, queue: str, **_: Any) -> int:
        """Remove all messages of a queue; returns how many."""
        return self.store.definitions.purge(queue)

    def list_bindings(self) -> list[tuple[str, str, str]]:
        """All bindings: queue, exchange, routing key."""
        return self.store.definitions.bindings()

    def _size(self, queue: str) -> int:
        return self.store.definitions.queue_state(queue).messages


def _declared(state: QueueState) -> queue_declare_ok_t:
    return queue_declare_ok_t(*state)
