"""One worker for each node: declares queues, hands out what comes, acknowledges it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import amqp
import kombu

from miros_mesh.errors import BrokerUnreachableError, ConnectionLostError, LinkError, MeshError
from miros_mesh.link.connections import ConnectionPools
from miros_mesh.link.ports import Broker, Handler, QueueSpec
from miros_mesh.link.rabbitmq.binder import Binder
from miros_mesh.link.rabbitmq.name_lock import NameLock
from miros_mesh.link.rabbitmq.queues import letters, prefetch_of, queue_of
from miros_mesh.link.translation import translated
from miros_mesh.link.worker import Worker
from miros_mesh.observer import STOPPED, Observer

# How long a queue of the first hundred stays unbound after its exchange was deleted.
_CHECK_EVERY_S = 2.0
# For transports without a heartbeat.
_RETRY_EVERY_S = 10.0

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _ConsumedQueue:
    """A queue to consume, and what the present connection made of it."""

    spec: QueueSpec
    handler: Handler
    settled: threading.Event = field(default_factory=threading.Event)
    """Set once the broker has given or refused it; `add` waits for that."""
    failure: MeshError | None = None
    existed: bool = False
    consumer: kombu.Consumer | None = None
    """None while there is no connection, and while the broker refuses the queue."""


class BrokerSubscriber(Worker):
    """Consumes queues, each on a channel of its own: a refusal closes a channel, and no other.

    RabbitMQ allows 2,047 channels on a connection by default (`channel_max`). The queue for which
    there is none left is refused with `ChannelLimitError`; the others go on.

    Other threads post tasks; only the worker's thread changes `_queues` and touches the connection.
    """

    def __init__(
        self,
        *,
        name: str,
        broker: Broker,
        pools: ConnectionPools,
        attempts: int,
        observer: Observer,
        name_lock: str | None = None,
    ) -> None:
        super().__init__(name=name, broker=broker, pools=pools, attempts=attempts)
        self._observer = observer
        self._name_lock = NameLock(name_lock, broker.name) if name_lock else None
        # Changed on the worker's thread alone; `stop` copies its keys from another, in one step.
        self._queues: dict[str, _ConsumedQueue] = {}
        # Any thread appends, the worker's alone takes: both are single steps of a deque.
        self._tasks: deque[Callable[[kombu.Connection], None]] = deque()
        self._check_at = 0.0
        self._retry_at = 0.0
        self._binder: Binder | None = None
        """None for transports of ours, where nothing is deleted behind our back."""
        self._tried_dead_letters = False

    def add(self, spec: QueueSpec, handler: Handler, timeout_s: float) -> bool:
        """Declare, bind and consume a queue; returns when messages can arrive.

        Returns whether a lasting queue existed before. Raises the `LinkError` that prevents it.
        """
        if not self.alive:
            raise ConnectionLostError(f"the subscriber of {self.broker.name} has ended")
        consumed = _ConsumedQueue(spec, handler)
        self._post(lambda connection: self._consume(connection, consumed))
        # A broker that is slow may still give it: the removal stands behind the task in the line.
        if not consumed.settled.wait(timeout_s):
            self.remove(spec.name)
            raise BrokerUnreachableError(
                f"{self.broker.name} did not accept the queue {spec.name} within {timeout_s:g} s"
            )
        if consumed.failure:
            raise consumed.failure
        return consumed.existed

    def remove(self, queue: str, wait_s: float = 0.0) -> None:
        """Consume no more from a queue; deletes it where its spec says so.

        Waits, `wait_s` at most, until the broker has the acknowledgements of before.
        """
        gone = threading.Event()

        def task(_: kombu.Connection) -> None:
            self._cancel(queue)
            gone.set()

        self._post(task)
        if wait_s:
            gone.wait(wait_s)

    def stop(self, timeout_s: float) -> None:
        """Hand outstanding acknowledgements to the broker and end the worker."""
        # Behind the acknowledgements that were posted so far; the worker ends when all are done.
        for queue in list(self._queues):
            self.remove(queue)
        self._end(timeout_s)

    def _post(self, task: Callable[[kombu.Connection], None]) -> None:
        self._tasks.append(task)
        self.wake()

    def _opened(self, connection: kombu.Connection) -> None:
        # Of our own transports none has a heartbeat.
        self._binder = Binder(connection) if connection.heartbeat else None
        self._tried_dead_letters = False
        if self._name_lock:
            # A taken name ends a first connection; later ones must not keep charts waiting.
            if self._settled.is_set():
                self._name_lock.take_back(connection)
            else:
                self._name_lock.take(connection)
        for consumed in list(self._queues.values()):
            self._consume(connection, consumed)
        self._check_at = _next_check(connection)
        self._retry_at = time.monotonic() + (connection.heartbeat or _RETRY_EVERY_S)
        self._observer.subscribed(broker=self.broker.name)

    def _lost(self, error: LinkError | None) -> None:
        # From now on acknowledgements of the old connection are ignored; the broker delivers again.
        for consumed in self._queues.values():
            consumed.consumer = None
        reason = error.reason if error else STOPPED
        self._observer.unsubscribed(broker=self.broker.name, reason=reason)
        if error and not self._stopping.is_set():
            logger.warning("subscriber reconnects: %s", error)

    def _finished(self) -> bool:
        return not self._tasks

    def _turn(self, connection: kombu.Connection) -> bool:
        # So many and no more: tasks that are posted meanwhile must not keep the connection unread.
        for _ in range(len(self._tasks)):
            self._tasks.popleft()(connection)
        if time.monotonic() >= self._check_at:
            self._check(connection)
        return bool(self._tasks)

    def _due(self) -> float:
        return self._check_at

    def _check(self, connection: kombu.Connection) -> None:
        """Make again what was deleted at the broker, and ask again for what it did not give."""
        self._check_at = _next_check(connection)
        if self._binder:
            consumed = [each.consumer for each in self._queues.values() if each.consumer]
            self._binder.bind_some([consumer.queues[0] for consumer in consumed])
        # Every two seconds, until the broker has noticed that our last connection is dead.
        if self._name_lock and not self._name_lock.held:
            self._name_lock.take_back(connection)
        if time.monotonic() >= self._retry_at:
            self._retry(connection)

    def _retry(self, connection: kombu.Connection) -> None:
        """Ask again for queues that the broker refused: an administrator may have helped since."""
        self._retry_at = time.monotonic() + (connection.heartbeat or _RETRY_EVERY_S)
        refused = [each for each in self._queues.values() if not each.consumer]
        if refused:
            self._tried_dead_letters = False
        for consumed in refused:
            self._consume(connection, consumed)

    def _consume(self, connection: kombu.Connection, consumed: _ConsumedQueue) -> None:
        self._queues[consumed.spec.name] = consumed
        # The last connection may have broken while its queues were declared, before `_lost`.
        consumed.consumer = None
        try:
            with translated(self.broker.name):
                self._declare(connection, consumed)
        except MeshError as error:
            # The connection is at fault and not the queue: connect anew, and `add` goes on waiting.
            if error.retryable:
                raise
            # At the first try the caller of `add` is told, and the queue forgotten; a queue that a
            # chart already lives on stays, for `_retry`.
            if not consumed.settled.is_set():
                self._queues.pop(consumed.spec.name, None)
                consumed.failure = error
            logger.error("subscriber cannot consume %s: %s", consumed.spec.name, error)  # noqa: TRY400
        consumed.settled.set()

    def _declare(self, connection: kombu.Connection, consumed: _ConsumedQueue) -> None:
        if consumed.spec.dead_letters:
            self._keep_dead_letters(connection)
        channel = connection.channel()
        try:
            self._start(channel, consumed)
        except amqp.ChannelError:
            # py-amqp has opened it again; without this every try would leave one more.
            channel.close()
            raise

    def _start(self, channel: Any, consumed: _ConsumedQueue) -> None:
        # The broker obeys a channel in order. So nothing waits for the exchange, the queue and the
        # binding: if one is refused, the first answer that is waited for raises it.
        spec, queue = consumed.spec, queue_of(consumed.spec)(channel)
        if not (spec.delete_on_stop or consumed.settled.is_set()):
            consumed.existed = _exists(channel, spec.name)
        queue.declare(nowait=True)
        consumer = kombu.Consumer(
            channel, [queue], auto_declare=False, prefetch_count=prefetch_of(spec)
        )

        def deliver(message: Any, _: object = None) -> None:
            consumed.handler(_KombuDelivery(self, consumed, consumer, message))

        # A message that kombu cannot decode is not from a node; the handler refuses it as such.
        consumer.on_message = consumer.on_decode_error = deliver
        consumer.consume()
        consumed.consumer = consumer

    def _keep_dead_letters(self, connection: kombu.Connection) -> None:
        """Declare them, once a connection. Charts work without, so a refusal is only logged."""
        if self._tried_dead_letters:
            return
        self._tried_dead_letters = True
        try:
            with connection.channel() as channel:
                letters()(channel).declare()
        # ResourceError: the connection has no free channel.
        except (amqp.ChannelError, amqp.ResourceError) as error:
            logger.error(  # noqa: TRY400 - the error says no more than this
                "dead letters are not kept: %s refuses the queue for them: %s",
                self.broker.name,
                error,
            )

    def _cancel(self, queue: str) -> None:
        consumed = self._queues.pop(queue, None)
        if consumed is None or consumed.consumer is None:
            return
        consumer, consumed.consumer = consumed.consumer, None
        if consumed.spec.delete_on_stop:
            consumer.cancel()
            if self._binder:
                self._binder.delete(queue)
            else:
                consumer.channel.queue_delete(queue)
        # A quorum queue gives what a cancelled consumer has not acknowledged to the next one late,
        # behind newer frames; what a closed channel has not, it gives first.
        consumer.channel.close()

    def settle(self, delivery: _KombuDelivery, settle: Callable[[], None]) -> None:
        """Acknowledge on the worker's thread; ignored once the delivery's channel is gone."""

        def task(_: kombu.Connection) -> None:
            # A delivery tag counts only on the channel that it came by; on another one it would
            # acknowledge a different message, or close the channel.
            if delivery.consumed.consumer is delivery.consumer:
                settle()

        self._post(task)


def _exists(channel: Any, queue: str) -> bool:
    try:
        channel.queue_declare(queue, passive=True)
    except amqp.NotFound:
        return False
    return True


def _next_check(connection: kombu.Connection) -> float:
    return time.monotonic() + min(_CHECK_EVERY_S, connection.heartbeat or math.inf)


@dataclass(frozen=True, slots=True, eq=False)
class _KombuDelivery:
    """A received kombu message, as the `Delivery` of the port."""

    subscriber: BrokerSubscriber
    consumed: _ConsumedQueue
    consumer: kombu.Consumer
    message: Any

    @property
    def body(self) -> bytes:
        body = self.message.body
        # py-amqp gives an empty body as text.
        return body.encode() if isinstance(body, str) else bytes(body)

    @property
    def redelivered(self) -> bool:
        return bool((self.message.delivery_info or {}).get("redelivered"))

    def ack(self) -> None:
        self.subscriber.settle(self, self.message.ack)

    def reject(self) -> None:
        self.subscriber.settle(self, self.message.reject)
