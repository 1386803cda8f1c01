"""One worker for each node: declares queues, hands out what comes, acknowledges it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import amqp
import kombu

from miros_mesh.errors import (
    BrokerUnreachableError,
    ChannelLimitError,
    ConnectionLostError,
    LinkError,
)
from miros_mesh.link.connections import ConnectionPools
from miros_mesh.link.ports import Broker, Handler, QueueSpec
from miros_mesh.link.rabbitmq.channels import ConsumingChannel
from miros_mesh.link.rabbitmq.consumed_queue import ConsumedQueue
from miros_mesh.link.rabbitmq.consumer import Consumer
from miros_mesh.link.rabbitmq.declarer import Declarer
from miros_mesh.link.rabbitmq.name_lock import NameLock
from miros_mesh.link.rabbitmq.queues import letters
from miros_mesh.link.translation import translated
from miros_mesh.link.worker import Worker
from miros_mesh.observer import STOPPED, Observer
from miros_mesh.text import logger_of
from miros_mesh.timing.task_line import TaskLine

# How long a queue of the first hundred stays unbound after its exchange was deleted, and how long
# one that was refused waits to be tried again.
_CHECK_EVERY_S = 2.0
# While a generation of a queue is emptied, behind which another one waits.
_LOOK_EVERY_S = 0.2
# Each costs a channel: what is refused for good must not keep the connection unread.
_REFUSALS_AT_ONCE = 50
# Where a user may have no channel more than we need.
_REOPEN_PAUSE_S = 0.2
# More of them between two checks are a fault that a new connection may put right.
_REOPENED_AT_MOST = 5

logger = logger_of(__name__)


class BrokerSubscriber(Worker):
    """Consumes any number of queues with two channels, so that none stands in another's way.

    All consumers are on the one. What may be refused is asked for on the other, and costs nothing
    but that channel. A queue that is refused is tried again every two seconds. A queue for which
    others wait has one more, by whose end they get all in order.

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
        super().__init__(
            name=name, broker=broker, pools=pools, attempts=attempts, observer=observer
        )
        self._name_lock = NameLock(name_lock, broker.name) if name_lock else None
        # Changed on the worker's thread alone; `stop` copies its keys from another, in one step.
        self._queues: dict[str, ConsumedQueue] = {}
        # Those that were removed, and still hold what the broker has to get back in order.
        self._leaving: dict[str, ConsumedQueue] = {}
        self._line: TaskLine[kombu.Connection] = TaskLine(self.wake)
        self._check_at = 0.0
        self._look_at = math.inf
        # Of the present connection; tasks run only while there is one.
        self._declarer: Declarer
        self._consuming: ConsumingChannel
        # Of queues that others wait for, by their names: a channel ends all that is on it.
        self._own: dict[str, ConsumingChannel] = {}
        self._new_channel: Callable[[], ConsumingChannel]
        self._tried_dead_letters = False
        self._reopen_pause_s = 0.0
        # Those for which `add` waits: its threads add and discard, the worker's looks at its end.
        self._awaited: set[ConsumedQueue] = set()
        self._has_ended = False

    def add(
        self,
        spec: QueueSpec,
        handler: Handler,
        timeout_s: float,
        lost: Callable[[], object] = lambda: None,
    ) -> bool:
        """Declare, bind and consume a queue; returns when messages can arrive.

        Returns whether a lasting queue existed before. Raises the `LinkError` that prevents it.
        """
        consumed = ConsumedQueue(spec, handler, lost)
        self._awaited.add(consumed)
        try:
            return self._added(consumed, timeout_s)
        finally:
            self._awaited.discard(consumed)

    def _added(self, consumed: ConsumedQueue, timeout_s: float) -> bool:
        spec = consumed.spec
        # After it is among those that are told of the end, or it could miss that.
        if self._has_ended or not self.alive:
            raise self._gone()
        self._post(lambda _: self._consume(consumed))
        # A broker that is slow may still give it: the removal stands behind the task in the line.
        if not consumed.settled.wait(timeout_s):
            self.remove(spec.name)
            raise BrokerUnreachableError(
                f"{self.broker.name} did not accept the queue {spec.name} within {timeout_s:g} s"
            )
        if consumed.failure:
            raise consumed.failure
        return consumed.existed

    def refused(self) -> Sequence[tuple[QueueSpec, str]]:
        """Return the queues that the broker refuses now, each with the reason of a `LinkError`."""
        # A copy in one step: the worker's thread may change the dictionary at any moment.
        return [(each.spec, each.deaf) for each in list(self._queues.values()) if each.deaf]

    def remove(self, queue: str, wait_s: float = 0.0) -> None:
        """Consume no more from a queue; deletes it where its spec says so.

        Waits, `wait_s` at most, until the broker has the acknowledgements of before. An `add` that
        waits for the queue ends.
        """
        self._give_up(queue)
        gone = threading.Event()

        def task(_: kombu.Connection) -> None:
            self._cancel(queue)
            gone.set()

        self._post(task)
        if wait_s and self.alive:
            gone.wait(wait_s)

    def step_aside(self, queue: str) -> None:
        """Let all who wait for a queue go before; what is not settled of it is theirs."""

        def task(_: kombu.Connection) -> None:
            consumed = self._queues.get(queue)
            # One that is refused is in no line.
            if consumed and consumed.consumers:
                self._stop_consuming(consumed)
                self._consume(consumed)

        self._post(task)

    def stop(self, timeout_s: float) -> None:
        """Hand outstanding acknowledgements to the broker and end the worker."""
        # Behind the acknowledgements that were posted so far; the worker ends when all are done.
        for queue in list(self._queues):
            self.remove(queue)
        self._end(timeout_s)

    def _post(self, task: Callable[[kombu.Connection], None]) -> None:
        self._line.post(task)

    def _opened(self, connection: kombu.Connection) -> None:
        self._declarer = Declarer(
            connection, pause=lambda: self._stopping.wait(self._reopen_pause_s)
        )
        self._new_channel = partial(ConsumingChannel, connection)
        self._consuming = self._new_channel()
        self._own.clear()
        self._tried_dead_letters = False
        if self._name_lock:
            # A taken name ends a first connection; later ones must not keep charts waiting.
            if self._settled.is_set():
                self._name_lock.take_back(self._declarer.channel, connection.heartbeat or 0)
            else:
                self._name_lock.take(self._declarer.channel)
        for consumed in list(self._queues.values()):
            # The last connection may have broken while its queues were declared, before `_lost`.
            consumed.forget()
            self._consume(consumed)
        self._recover()
        self._check_at = _next_check(connection)
        self._observer.subscribed(broker=self.broker.name)

    def _lost(self, error: LinkError | None) -> None:
        # From now on acknowledgements of the old connection are ignored; the broker delivers again.
        for consumed in (*self._queues.values(), *self._leaving.values()):
            consumed.forget()
        self._leaving.clear()
        self._look_at = math.inf
        reason = error.reason if error else STOPPED
        self._observer.unsubscribed(broker=self.broker.name, reason=reason)
        if error and not self._stopping.is_set():
            logger.warning("subscriber reconnects: %s", error)

    def _finished(self) -> bool:
        return not self._line

    def _over(self) -> None:
        self._has_ended = True
        self._give_up()

    def _give_up(self, queue: str | None = None) -> None:
        """End the waits of `add` for this queue, or for all."""
        for consumed in list(self._awaited):
            if queue in {None, consumed.spec.name} and not consumed.settled.is_set():
                consumed.failure = self._gone()
                consumed.settled.set()

    def _gone(self) -> ConnectionLostError:
        return ConnectionLostError(f"the subscriber of {self.broker.name} has ended")

    def _turn(self, connection: kombu.Connection) -> bool:
        now = time.monotonic()
        # Acknowledgements may wait for a moment, but not behind what asks for what is settled.
        if self._line.urgent or self._stopping.is_set() or now >= self._due():
            for task in self._line.take():
                task(connection)
        self._recover()
        if now >= self._look_at:
            self._look_for_ends()
        if now >= self._check_at:
            self._check(connection)
        return self._line.urgent

    def _due(self) -> float:
        return min(self._check_at, self._look_at, self._line.due_at)

    def _check(self, connection: kombu.Connection) -> None:
        """Make again what was deleted at the broker, and ask again for what it did not give."""
        self._check_at = _next_check(connection)
        for consuming in self._channels:
            consuming.reopened = 0
        # Of our own transports none has a heartbeat, and nothing is deleted behind our back.
        if connection.heartbeat:
            self._bind()
        # Every two seconds, until the broker has noticed that our last connection is dead.
        if self._name_lock and not self._name_lock.held:
            self._name_lock.take_back(self._declarer.channel, connection.heartbeat or 0)
        self._retry()
        self._recover()

    def _bind(self) -> None:
        """Bind some queues again; one that cannot be bound hears nothing."""
        bound = {each.generations.newest: each for each in self._queues.values() if each.consumers}
        refused = self._declarer.bind_some(list(bound))
        for queue, consumed in bound.items():
            if queue.name in refused:
                try:
                    with translated(self.broker.name):
                        raise refused[queue.name]
                except LinkError as error:
                    self._refused(consumed, error)

    def _retry(self) -> None:
        """Ask again for queues that the broker refused: an administrator may have helped since."""
        refused = [each for each in self._queues.values() if not each.consumers]
        if refused:
            self._tried_dead_letters = False
        still = 0
        for consumed in refused:
            # Behind the others, so that the next time begins with those that were not tried.
            self._queues.pop(consumed.spec.name)
            self._consume(consumed)
            still += not consumed.consumers
            if still >= _REFUSALS_AT_ONCE:
                return

    def _consume(self, consumed: ConsumedQueue) -> None:
        """Begin, or go on, to consume a queue; a refusal makes it deaf and raises nothing."""
        self._queues[consumed.spec.name] = consumed
        try:
            with translated(self.broker.name):
                self._begin(consumed)
        except ChannelLimitError as error:
            # The two were open before. A user with no channel to spare needs a pause between the
            # end of one and the beginning of the next, and here before the next connection, too.
            self._reopen_pause_s = _REOPEN_PAUSE_S
            self._stopping.wait(_REOPEN_PAUSE_S)
            if consumed.spec.consumers == "standby":
                # The one that there is no room for: to try again would cost the others each time.
                self._refused(consumed, error)
                consumed.settled.set()
            raise ConnectionLostError(str(error)) from error
        except LinkError as error:
            # The connection is at fault and not the queue: connect anew, and `add` goes on waiting.
            if error.retryable and not isinstance(error.__cause__, amqp.ChannelError):
                raise
            self._refused(consumed, error)
        else:
            self._heard(consumed)
        consumed.settled.set()

    def _begin(self, consumed: ConsumedQueue) -> None:
        def cancelled(consumer: Consumer) -> None:
            self._post(lambda _: self._ended(consumed, consumer))

        if consumed.spec.dead_letters:
            self._keep_dead_letters()
        consuming = self._consuming
        if consumed.spec.consumers == "standby":
            consuming = self._own_channel(consumed.spec.name)
        if left := self._leaving.pop(consumed.spec.name, None):
            consumed.follow(left, cancelled=cancelled)
        consumed.consume(
            self._declarer,
            consuming,
            line=self._line,
            cancelled=cancelled,
        )
        if len(consumed.consumers) > 1:
            self._look_soon()

    def _own_channel(self, queue: str) -> ConsumingChannel:
        if queue not in self._own:
            self._own[queue] = self._new_channel()
        return self._own[queue]

    @property
    def _channels(self) -> list[ConsumingChannel]:
        return [self._consuming, *self._own.values()]

    def _refused(self, consumed: ConsumedQueue, error: LinkError) -> None:
        self._stop_consuming(consumed)
        # At the first try the caller of `add` is told, and the queue forgotten; a queue that a
        # chart already lives on stays, for `_retry`.
        if not consumed.settled.is_set():
            self._queues.pop(consumed.spec.name, None)
            consumed.failure = error
        elif error.reason == consumed.deaf:
            return
        elif consumed.spec.chart:
            self._observer.deaf(chart=consumed.spec.chart, reason=error.reason)
        consumed.deaf, consumed.heard = error.reason, False
        logger.error("subscriber cannot consume %s: %s", consumed.spec.name, error)

    def _heard(self, consumed: ConsumedQueue) -> None:
        if consumed.deaf:
            logger.info("subscriber consumes %s again", consumed.spec.name)
        if consumed.spec.chart and not consumed.heard:
            self._observer.hearing(chart=consumed.spec.chart)
        consumed.deaf, consumed.heard = "", True

    def _ended(self, consumed: ConsumedQueue, consumer: Consumer) -> None:
        """Consume a queue again of which the broker has ended the consumer, and no other."""
        # Unless the chart has left meanwhile, or the connection is another one.
        if not consumed.has(consumer):
            return
        logger.warning(
            "%s ended the consumer of the queue %s, which was deleted or has moved: declared and "
            "consumed again; what was lost with it is asked for again",
            self.broker.name,
            consumer.queue,
        )
        self._consume(consumed)

    def _recover(self) -> None:
        """Consume again what was consumed on a channel that the broker has closed since."""
        for consuming in self._channels if self._own else (self._consuming,):
            self._recover_on(consuming)

    def _recover_on(self, consuming: ConsumingChannel) -> None:
        while consuming.broken:
            if consuming.reopened >= _REOPENED_AT_MOST:
                raise ConnectionLostError(f"{self.broker.name} closes the channel again and again")
            logger.warning(
                "%s closed a channel, whose queues are consumed again: %s",
                self.broker.name,
                consuming.renewed(),
            )
            for consumed in list(self._queues.values()):
                if not consumed.alive:
                    self._consume(consumed)

    def _look_soon(self) -> None:
        self._look_at = min(self._look_at, time.monotonic() + _LOOK_EVERY_S)

    def _look_for_ends(self) -> None:
        """Go on where an older generation is empty, and let go of queues that were left."""
        several = [each for each in self._queues.values() if len(each.consumers) > 1]
        for consumed in several:
            with suppress(amqp.ChannelError):
                if consumed.look_for_the_end(self._declarer):
                    # The next one may be none that is wanted, either.
                    self._consume(consumed)
        self._leaving = {name: each for name, each in self._leaving.items() if not each.left()}
        self._look_at = math.inf
        if several or self._leaving:
            self._look_soon()

    def _keep_dead_letters(self) -> None:
        """Declare them, once a connection. Charts work without, so a refusal is only logged."""
        if self._tried_dead_letters:
            return
        self._tried_dead_letters = True
        try:
            letters()(self._declarer.channel).declare()
        except amqp.ChannelError as error:
            logger.error(  # noqa: TRY400 - the error says no more than this
                "dead letters are not kept: %s refuses the queue for them: %s",
                self.broker.name,
                error,
            )

    def _cancel(self, queue: str) -> None:
        consumed = self._queues.pop(queue, None)
        if consumed is None or not consumed.consumers:
            self._close_own(queue)
            return
        consumed.leave()
        if consumed.spec.delete_on_stop:
            consumed.stop()
            # Who may not delete it leaves it to expire.
            with suppress(amqp.ChannelError):
                self._declarer.delete(consumed.generations.newest.name)
        # At the end of the connection the broker takes all back, in order.
        elif self._stopping.is_set():
            return
        elif consumed.spec.consumers == "standby":
            self._stop_consuming(consumed)
        elif not consumed.left():
            self._leaving[queue] = consumed
            self._look_soon()
            # It was cancelled by no call that the broker has answered.
            self._consuming.settle_all()

    def _stop_consuming(self, consumed: ConsumedQueue) -> None:
        if not self._close_own(consumed.spec.name):
            consumed.stop()
            return
        consumed.forget()

    def _close_own(self, queue: str) -> bool:
        """Close the channel of a queue that has one of its own; return whether it has."""
        own = self._own.pop(queue, None)
        if own:
            own.close()
        return own is not None


def _next_check(connection: kombu.Connection) -> float:
    return time.monotonic() + min(_CHECK_EVERY_S, connection.heartbeat or math.inf)
