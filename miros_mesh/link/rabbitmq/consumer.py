"""One queue consumed on a channel that it shares, and what was delivered and not settled yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from miros_mesh.link.rabbitmq.channels import OwnedChannel, refusal_of
from miros_mesh.link.rabbitmq.headers import AGAIN_HEADER, COUNT_HEADERS
from miros_mesh.text import logger_of
from miros_mesh.timing.task_line import TaskLine

logger = logger_of(__name__)

# How many acknowledgements may wait for a moment, where the prefetch is large enough: a process
# that is killed has them again.
_ACKS_AT_MOST: Final = 16
# A broker that is there takes a fraction of that.
_LONG_S: Final = 2.0


class Consumer:
    """For the subscriber's thread alone, but for the deliveries that it hands out."""

    def __init__(
        self,
        channel: Any,
        queue: str,
        prefetch: int,
        *,
        line: TaskLine[Any],
        deliver: Callable[[Consumer, MessageDelivery], None],
        cancelled: Callable[[Consumer], None],
    ) -> None:
        self.channel = channel
        self.queue = queue
        self._line = line
        self._prefetch = prefetch
        # Our own transports gather acknowledgements themselves.
        gathered = isinstance(channel, OwnedChannel)
        self._acks_at_most = min(_ACKS_AT_MOST, prefetch // 2) if gathered else 0
        self._deliver = deliver
        self._cancelled = cancelled
        self._tag = ""
        # In the order of their delivery; tags of one channel, which mean nothing on another.
        self._unsettled: dict[int, MessageDelivery] = {}
        self._ending = False
        self.parked: list[MessageDelivery] = []
        """What waits until an older queue is empty."""
        self.empty_looks = 0
        """How often in succession the queue was found empty."""

    @property
    def idle(self) -> bool:
        """Whether all that was delivered is settled."""
        return not self._unsettled

    @property
    def alive(self) -> bool:
        """Whether more may be delivered."""
        return not self._ending and not refusal_of(self.channel)

    @property
    def in_order(self) -> bool:
        """Whether `stop` gives everything back in its order.

        What is under way when a RabbitMQ hears of a cancel it gives back at once: of a quorum queue
        that is before what we reject. Nothing is while as much as may be is not settled, and to us
        it does no harm while nothing is.
        """
        full = len(self._unsettled) >= self._prefetch
        return self.idle or full or not (self.alive and isinstance(self.channel, OwnedChannel))

    def start(self) -> None:
        """Consume, with the prefetch that the channel was given last."""
        began = time.monotonic()
        try:
            # Not by way of a kombu.Consumer, which would keep a list of queues for each.
            self._tag = self.channel.basic_consume(
                self.queue,
                no_ack=False,
                callback=self._on_message,
                on_cancel=self._on_cancel,
            )
        except OSError:
            # A quorum queue without a leader is declared as any other. Then nothing answers, until
            # the connection ends for lack of heartbeats, and its error says nothing of the queue.
            if (waited_s := time.monotonic() - began) > _LONG_S:
                logger.warning(
                    "no answer in %.0f s when %s was to be consumed: has this queue a leader? See "
                    "docs/runbook.md, A queue without a leader",
                    waited_s,
                    self.queue,
                )
            raise

    def cancel(self) -> None:
        """Consume no more; what comes until the broker knows is not handed out."""
        self._ending = True
        self.channel.basic_cancel(self._tag)

    def stop(self) -> None:
        """Consume no more, and give back what is not settled, in order.

        A quorum queue would give what a cancelled consumer holds to the next one late, behind newer
        messages; what is rejected comes first.
        """
        self.cancel()
        for tag in self._unsettled:
            self.channel.basic_reject(tag, requeue=True)
        self.forget()

    def forget(self) -> None:
        """Settle nothing any more: the channel is gone, and the broker delivers again."""
        self._unsettled.clear()
        self.parked.clear()

    def hand_over(
        self,
        deliver: Callable[[Consumer, MessageDelivery], None],
        cancelled: Callable[[Consumer], None],
    ) -> None:
        """Deliver to another one, first what is not settled, which no other may settle any more."""
        self._deliver, self._cancelled = deliver, cancelled
        self.parked.clear()
        for tag, delivery in list(self._unsettled.items()):
            self._unsettled[tag] = again = MessageDelivery(self, delivery.message)
            deliver(self, again)

    def settle(self, delivery: MessageDelivery, how: Callable[[int], object]) -> None:
        """Settle a delivery, unless it was given back, or to another, or its channel is gone.

        Also after the broker has cancelled the consumer: it waits for each of them all the same.
        """
        tag = delivery.message.delivery_tag
        if self._unsettled.get(tag) is delivery and not refusal_of(self.channel):
            del self._unsettled[tag]
            how(tag)

    def _on_cancel(self, _: str) -> None:
        self._ending = True
        self._cancelled(self)

    def _on_message(self, raw: Any) -> None:
        delivery = MessageDelivery(self, self.channel.message_to_python(raw))
        self._unsettled[delivery.message.delivery_tag] = delivery
        self.empty_looks = 0
        if not self._ending:
            if self._acks_at_most:
                self._line.expect()
            self._deliver(self, delivery)

    def acknowledge(self, delivery: MessageDelivery) -> None:
        """Acknowledge a delivery in a moment; any thread."""

        def task(_: object) -> None:
            self.settle(delivery, self.channel.basic_ack)

        if self._acks_at_most:
            self._line.post_soon(task, self._acks_at_most)
        else:
            self._line.post(task)

    def reject(self, delivery: MessageDelivery) -> None:
        """Reject a delivery for good; any thread."""

        def how(tag: int) -> None:
            self.channel.basic_reject(tag, requeue=False)

        self._line.post(lambda _: self.settle(delivery, how))


@dataclass(frozen=True, slots=True, eq=False)
class MessageDelivery:
    """A received kombu message, as the `Delivery` of the port."""

    consumer: Consumer
    message: Any

    @property
    def body(self) -> bytes:
        """The bytes as they were published."""
        body = self.message.body
        # py-amqp gives an empty body as text.
        return body.encode() if isinstance(body, str) else bytes(body)

    @property
    def topic(self) -> str:
        """The routing key that the broker delivers it under."""
        return str((self.message.delivery_info or {}).get("routing_key", ""))

    @property
    def returned(self) -> bool:
        """The broker's word that it was handed out before."""
        return bool((self.message.delivery_info or {}).get("redelivered"))

    @property
    def redelivered(self) -> bool:
        """Whether the broker, or who published it, says that it may have been seen before."""
        return self.returned or bool(self._headers.get(AGAIN_HEADER))

    @property
    def deliveries(self) -> int:
        """Which delivery of it this is, as far as the broker counts them."""
        if not (headers := self._headers):
            return 1 + self.returned
        counts = [headers.get(name) for name in COUNT_HEADERS]
        # A header may be anybody's, and of any kind.
        told = [count for count in counts if isinstance(count, int)]
        return 1 + max([int(self.redelivered), *told])

    @property
    def _headers(self) -> dict[str, Any]:
        return self.message.headers or {}

    def ack(self) -> None:
        """Let the broker forget it: it was handled."""
        self.consumer.acknowledge(self)

    def reject(self) -> None:
        """Let the broker forget or dead-letter it: it is unusable."""
        self.consumer.reject(self)
