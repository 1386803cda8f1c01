"""One worker a node: declare, receive, hand over, acknowledge what was handled."""

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
from miros_mesh.link.rabbitmq.name_lock import NameLock
from miros_mesh.link.rabbitmq.queues import dead_letters, prefetch_of, queue_of
from miros_mesh.link.translation import translated
from miros_mesh.link.worker import Worker
from miros_mesh.observer import STOPPED, Observer

# How long a chart stays deaf after somebody deleted its exchange.
_MEND_EVERY_S = 2.0
_RETRY_EVERY_S = 10.0

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Consumption:
    """A queue we want, and what the present connection made of it."""

    spec: QueueSpec
    handler: Handler
    settled: threading.Event = field(default_factory=threading.Event)
    failure: MeshError | None = None
    consumer: kombu.Consumer | None = None


class BrokerSubscriber(Worker):
    """Each queue has a channel of its own, so trouble with one leaves the others alone."""

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
        self._queues: dict[str, _Consumption] = {}
        self._tasks: deque[Callable[[kombu.Connection], None]] = deque()
        self._mend_at = 0.0
        self._retry_at = 0.0
        self._binder: Any = None
        self._tried_dead_letters = False

    def add(self, spec: QueueSpec, handler: Handler, timeout_s: float) -> None:
        """Declare, bind and consume a queue; returns when messages can arrive.

        Raises the `LinkError` that prevents it.
        """
        if not self.alive:
            raise ConnectionLostError(f"the subscriber of {self.broker.name} has ended")
        consumed = _Consumption(spec, handler)
        self._post(lambda connection: self._consume(connection, consumed))
        if not consumed.settled.wait(timeout_s):
            self.remove(spec.name)
            raise BrokerUnreachableError(
                f"{self.broker.name} did not accept the queue {spec.name} within {timeout_s:g} s"
            )
        if consumed.failure:
            raise consumed.failure

    def remove(self, queue: str) -> None:
        """Consume no more from a queue; deletes it where its spec says so."""
        self._post(lambda _: self._cancel(queue))

    def stop(self, timeout_s: float) -> None:
        """Hand outstanding acknowledgements to the broker and end the worker."""
        for queue in list(self._queues):
            self.remove(queue)
        self._end(timeout_s)

    def _post(self, task: Callable[[kombu.Connection], None]) -> None:
        self._tasks.append(task)
        self.wake()

    def _opened(self, connection: kombu.Connection) -> None:
        self._binder = connection.channel() if connection.heartbeat else None
        self._tried_dead_letters = False
        if self._name_lock:
            # The first connection is refused; later ones must not keep charts waiting.
            first = not self._settled.is_set()
            self._name_lock.take(connection) if first else self._name_lock.take_back(connection)
        for consumed in list(self._queues.values()):
            self._consume(connection, consumed)
        self._mend_at = _next_mending(connection)
        self._retry_at = time.monotonic() + (connection.heartbeat or _RETRY_EVERY_S)
        self._observer.subscribed(broker=self.broker.name)

    def _lost(self, error: LinkError | None) -> None:
        for consumed in self._queues.values():
            consumed.consumer = None
        reason = error.reason if error else STOPPED
        self._observer.unsubscribed(broker=self.broker.name, reason=reason)
        if error and not self._stopping.is_set():
            logger.warning("subscriber reconnects: %s", error)

    def _finished(self) -> bool:
        return not self._tasks

    def _turn(self, connection: kombu.Connection) -> bool:
        for _ in range(len(self._tasks)):
            self._tasks.popleft()(connection)
        if time.monotonic() >= self._mend_at:
            self._mend(connection)
        return bool(self._tasks)

    def _due(self) -> float:
        return self._mend_at

    def _mend(self, connection: kombu.Connection) -> None:
        """Put right what others may have broken, or would not give us before."""
        self._mend_at = _next_mending(connection)
        if self._binder:
            self._bind(self._binder)
        if self._name_lock and not self._name_lock.held:
            self._name_lock.take_back(connection)
        if time.monotonic() >= self._retry_at:
            self._retry(connection)

    def _retry(self, connection: kombu.Connection) -> None:
        """What the broker refused at the last reconnect a person may have mended since."""
        self._retry_at = time.monotonic() + (connection.heartbeat or _RETRY_EVERY_S)
        refused = [each for each in self._queues.values() if not each.consumer]
        self._tried_dead_letters &= not refused
        for consumed in refused:
            self._consume(connection, consumed)

    def _bind(self, channel: Any) -> None:
        """Whoever deletes an exchange deletes our bindings too, and no broker tells us.

        Nobody waits for the answers: there are none, unless something is refused, and then reading
        raises it. One channel carries all, so that no binding overtakes its exchange.
        """
        bound = [each.consumer.queues[0] for each in self._queues.values() if each.consumer]
        for exchange in {queue.exchange.name: queue.exchange for queue in bound}.values():
            exchange.declare(nowait=True, channel=channel)
        for queue in bound:
            queue.queue_bind(nowait=True, channel=channel)

    def _consume(self, connection: kombu.Connection, consumed: _Consumption) -> None:
        self._queues[consumed.spec.name] = consumed
        # One of a connection that broke before all queues were declared is none.
        consumed.consumer = None
        try:
            with translated(self.broker.name):
                self._declare(connection, consumed)
        except MeshError as error:
            if error.retryable:
                raise
            if not consumed.settled.is_set():
                self._queues.pop(consumed.spec.name, None)
                consumed.failure = error
            logger.error("cannot consume %s: %s", consumed.spec.name, error)  # noqa: TRY400
        consumed.settled.set()

    def _declare(self, connection: kombu.Connection, consumed: _Consumption) -> None:
        if consumed.spec.dead_letters:
            self._keep_dead_letters(connection)
        channel = connection.channel()
        try:
            self._start(channel, consumed)
        except amqp.ChannelError:
            # py-amqp has opened it again; with every try there would be one more.
            channel.close()
            raise

    def _start(self, channel: Any, consumed: _Consumption) -> None:
        spec = consumed.spec
        consumer = kombu.Consumer(channel, [queue_of(spec)], prefetch_count=prefetch_of(spec))

        def deliver(message: Any, _: object = None) -> None:
            consumed.handler(_Received(self, consumed, consumer, message))

        # A message that kombu cannot make sense of is a stranger's, and refused like any other.
        consumer.on_message = consumer.on_decode_error = deliver
        consumer.consume()
        consumed.consumer = consumer

    def _keep_dead_letters(self, connection: kombu.Connection) -> None:
        """Once a connection. A chart works without them, so a refusal is only logged."""
        if self._tried_dead_letters:
            return
        self._tried_dead_letters = True
        try:
            with connection.channel() as channel:
                dead_letters()(channel).declare()
        except amqp.ChannelError as error:
            logger.error("rejected frames are not kept: %s", error)  # noqa: TRY400

    def _cancel(self, queue: str) -> None:
        consumed = self._queues.pop(queue, None)
        if consumed is None or consumed.consumer is None:
            return
        consumer, consumed.consumer = consumed.consumer, None
        if consumed.spec.delete_on_stop:
            consumer.cancel()
            # Behind the bindings that the binder may have sent, or those would find no queue.
            (self._binder or consumer.channel).queue_delete(queue)
        # A quorum queue gives what a cancelled consumer has not acknowledged to the next one late,
        # behind newer frames; what a closed channel has not, it gives first.
        consumer.channel.close()

    def settle(self, received: _Received, settle: Callable[[], None]) -> None:
        """Acknowledge on the worker's thread; forgotten when its channel is no more."""

        def task(_: kombu.Connection) -> None:
            if received.consumed.consumer is received.consumer:
                settle()

        self._post(task)


def _next_mending(connection: kombu.Connection) -> float:
    return time.monotonic() + min(_MEND_EVERY_S, connection.heartbeat or math.inf)


@dataclass(frozen=True, slots=True, eq=False)
class _Received:
    """A kombu message behind the `Delivery` port."""

    subscriber: BrokerSubscriber
    consumed: _Consumption
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
