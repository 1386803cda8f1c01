"""A queue that a node consumes, whatever becomes of its generations and of its channel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import amqp

from miros_mesh.errors import MeshError
from miros_mesh.link.ports import Handler, QueueSpec
from miros_mesh.link.rabbitmq.agreement import Agreement
from miros_mesh.link.rabbitmq.channels import ConsumingChannel
from miros_mesh.link.rabbitmq.consumer import Consumer, MessageDelivery
from miros_mesh.link.rabbitmq.declarer import Declarer
from miros_mesh.link.rabbitmq.generations import Generations
from miros_mesh.link.rabbitmq.queues import LETTERS, QUORUM_PREFETCH, prefetch_of, queue_of
from miros_mesh.timing.task_line import TaskLine

# The first may be true of a queue whose last messages are on their way to us.
_LOOKS: Final = 2


Deliver = Callable[[Consumer, MessageDelivery], None]


class ConsumedQueue:
    """What is to be consumed, and the consumers that the present connection has for it.

    Of two generations both are consumed, and what the newer one delivers is parked until the older
    one is empty. Were it left alone for so long, it could expire.

    For the subscriber's thread alone, but for `settled` and what is set before it.
    """

    def __init__(
        self, spec: QueueSpec, handler: Handler, lost: Callable[[], object] = lambda: None
    ) -> None:
        self.spec = spec
        self._lost = lost
        self._handler: Handler | None = handler
        self.settled = threading.Event()
        """Set once the broker has given or refused it; `add` waits for that."""
        self.failure: MeshError | None = None
        self.existed = False
        """Whether a lasting queue was there before."""
        self.generations = Generations(
            spec.name,
            lambda name: queue_of(spec, name),
            # What others consume too is not to be deleted by one for whom it is empty.
            lasting=spec.consumers == "one" and not spec.delete_on_stop,
            private=spec.consumers == "one" and spec.delete_on_stop,
        )
        self._agreement = Agreement(spec.terms, LETTERS) if spec.terms else None
        self.consumers: list[Consumer] = []
        """The oldest generation's first. None without a connection, and while it is refused."""
        self.deaf = ""
        """Why the broker refuses it: the reason of the error."""
        self.heard = False
        """Whether the observer was told that it is consumed."""

    def consume(
        self,
        declarer: Declarer,
        consuming: ConsumingChannel,
        *,
        line: TaskLine[Any],
        cancelled: Callable[[Consumer], None],
    ) -> None:
        """Declare it, and start the consumers that are missing. Raises what refuses that."""

        def consumer(name: str, deliver: Deliver = self._take) -> Consumer:
            prefetch = self._prefetch
            channel = consuming.prepared(prefetch)
            return Consumer(
                channel, name, prefetch, line=line, deliver=deliver, cancelled=cancelled
            )

        if self._agreement:
            self._agreement.enter(declarer, lambda name: consumer(name, _refuse))
        existed = self.generations.declare(declarer)
        if not self.settled.is_set():
            self.existed = existed
            # Later the chart knows which number is next, and waits for that.
            for name in self.generations.names if existed else ():
                declarer.await_former(name)
        if consuming.wary or self.deaf:
            for name in self.generations.names:
                declarer.require_readable(name)
        self._start(consumer)
        self._release()

    def _start(self, consumer: Callable[[str], Consumer]) -> None:
        running = {each.queue: each for each in self.consumers if each.alive}
        if len(running) < len(self.consumers):
            self._lost()
        names = self.generations.names
        self.consumers = [running.get(name) or consumer(name) for name in names]
        for each in self.consumers:
            if each.queue not in running:
                each.start()

    @property
    def alive(self) -> bool:
        """Whether the broker has ended none of its consumers; so it is without any, too."""
        return all(each.alive for each in self._held)

    def has(self, consumer: Consumer) -> bool:
        """Whether that is one of its consumers now."""
        return consumer in self._held

    @property
    def _held(self) -> list[Consumer]:
        agreed = self._agreement and self._agreement.consumer
        return [*self.consumers, agreed] if agreed else self.consumers

    def look_for_the_end(self, declarer: Declarer) -> bool:
        """Give up the oldest of several generations once it is empty; returns whether it was."""
        if len(self.consumers) <= 1:
            return False
        oldest = self.consumers[0]
        if not (oldest.idle and oldest.alive):
            return False
        oldest.empty_looks = 0 if declarer.waiting(oldest.queue) else oldest.empty_looks + 1
        if oldest.empty_looks < _LOOKS:
            return False
        oldest.cancel()
        if not oldest.idle or declarer.waiting(oldest.queue):
            # Something came at the last moment: its consumer is started again.
            oldest.stop()
            return True
        self.consumers.pop(0)
        self._release()
        self.generations.emptied(declarer)
        return True

    def leave(self) -> None:
        """Hand out nothing more; `left` says when the broker has everything back."""
        self._handler = None

    def left(self) -> bool:
        """Stop the consumers that can be, without a change of order; returns whether all have.

        Those of a queue that does not last always can, and those of one that others consume: they
        get the rest at once. What is held of another one until then is in no way: no other process
        may consume it while this one lives.
        """
        spec = self.spec
        at_once = spec.delete_on_stop or spec.consumers != "one"
        self.stop(lambda consumer: at_once or self._in_order(consumer))
        return not self.consumers

    def _in_order(self, consumer: Consumer) -> bool:
        # An older generation may have no delivery limit. A quorum queue without one puts behind all
        # others what is rejected, but not what is held when the connection ends.
        older = consumer.queue != self.generations.names[-1]
        return consumer.idle if older else consumer.in_order

    def follow(self, left: ConsumedQueue, *, cancelled: Callable[[Consumer], None]) -> None:
        """Take over what is not settled of one that has left, and go on with it."""
        self.existed = True
        self.generations, self.consumers = left.generations, left.consumers
        left.consumers = []
        for consumer in self.consumers:
            consumer.hand_over(self._take, cancelled)

    def stop(self, which: Callable[[Consumer], bool] = lambda _: True) -> None:
        """Consume no more, and give back what is not settled."""
        ending = list(filter(which, self.consumers))
        if ending and self._handler:
            self._lost()
        for consumer in ending:
            try:
                consumer.stop()
            except amqp.ChannelError:
                # Closed by the broker, which has all of it back.
                consumer.forget()
        self.consumers = [each for each in self.consumers if each not in ending]
        if self._agreement and not self.consumers:
            self._agreement.leave()

    def forget(self) -> None:
        """Settle nothing any more: the connection is gone."""
        for consumer in self.consumers:
            consumer.forget()
        if self.consumers and self._handler:
            self._lost()
        if self._agreement:
            self._agreement.forget()
        self.consumers, self.heard = [], False

    @property
    def _prefetch(self) -> int:
        # An older generation may be a quorum queue where the spec says otherwise.
        several = len(self.generations.names) > 1
        prefetch = prefetch_of(self.spec)
        return min(prefetch, QUORUM_PREFETCH) if several else prefetch

    def _take(self, consumer: Consumer, delivery: MessageDelivery) -> None:
        if self._handler is None:
            return
        if consumer is self.consumers[0]:
            self._handler(delivery)
        else:
            consumer.parked.append(delivery)

    def _release(self) -> None:
        """Hand out what waited for an older generation, if there is none any more."""
        first = self.consumers[0]
        parked, first.parked = first.parked, []
        for delivery in parked:
            self._take(first, delivery)


def _refuse(_: Consumer, delivery: MessageDelivery) -> None:
    # Nothing is published there, but those who may publish at the broker can do it.
    delivery.reject()
