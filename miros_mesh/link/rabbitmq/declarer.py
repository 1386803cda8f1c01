"""Declares, binds and deletes on a channel of its own, so that a refusal costs nothing else.

Bindings are made again and again: an administrator who deletes an exchange deletes them, unsaid.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import amqp
import kombu

from miros_mesh.link.rabbitmq.channels import OwnedChannel, open_channel, refusal_of
from miros_mesh.text import logger_of

logger = logger_of(__name__)

# A call takes the client about 0.05 ms and RabbitMQ about 0.2 ms: with a thousand queues, to bind
# all at once would hold up the subscriber's thread for 50 ms every time.
BINDINGS_AT_ONCE: Final = 100
# A busy broker takes seconds to notice that a process has gone. A program that reads a queue beside
# us holds up the start of its chart for no longer.
_FORMER_GONE_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.01


class Declarer:
    """One channel for all that may be refused; after a refusal the next use opens it again.

    A broker keeps an order only within a channel: no binding overtakes its exchange, and no
    deletion the bindings that were sent before it.

    RabbitMQ counts the channels of a user a moment late: where a user may have no other one,
    `pause` waits before it is opened again.
    """

    def __init__(
        self, connection: kombu.Connection, *, pause: Callable[[], object] = lambda: None
    ) -> None:
        self._pause = pause
        self._channel: Any = open_channel(connection)
        self._next = 0
        # Those of the last `bind_some`; whether a refusal of them may be on its way, and whether
        # one has come since.
        self._bound: Sequence[kombu.Queue] = ()
        self._unanswered = self._unbound = False

    @property
    def channel(self) -> Any:
        """The channel, open at every look, on which no refusal of `bind_some` is to come."""
        if self._unanswered and not refusal_of(self._channel):
            # Any call that is answered: the refusal comes before that, and raises here.
            with suppress(amqp.ChannelError):
                self._channel.basic_qos(0, 0, False)
        return self._opened()

    def _opened(self) -> Any:
        unanswered, self._unanswered = self._unanswered, False
        if refusal_of(self._channel):
            self._unbound = self._unbound or unanswered
            self._pause()
            self._channel = self._channel.replacement()
        return self._channel

    def declare(self, queue: kombu.Queue) -> None:
        """Declare a queue and its exchanges, and bind it."""
        # Only the last answer is waited for: if one of all is refused, that raises it.
        channel = self.channel
        bindings = _bindings_of(queue)
        _declare_exchanges(channel, bindings)
        queue.queue_declare(nowait=True, channel=channel)
        _bind(channel, queue, bindings)

    def declare_unbound(self, queue: kombu.Queue) -> None:
        """Declare a queue that nothing is published to."""
        queue.queue_declare(channel=self.channel)

    def exists(self, queue: str) -> bool:
        """Whether there is a queue of this name, whatever it is like."""
        try:
            self.waiting(queue)
        except amqp.NotFound:
            return False
        return True

    def waiting(self, queue: str) -> int:
        """Count the messages of a queue that were not delivered; `NotFound` if there is none."""
        return int(self.channel.queue_declare(queue, passive=True).message_count)

    def await_former(self, queue: str) -> None:
        """Wait until the former consumer of a queue is gone, `_FORMER_GONE_S` at most.

        A quorum queue takes back what that has not settled a moment after its connection was
        closed (RabbitMQ 3.10 and 4.0). Who consumes before gets what stands behind it first.
        """
        until, pause = time.monotonic() + _FORMER_GONE_S, threading.Event()
        while self.channel.queue_declare(queue, passive=True).consumer_count:
            if time.monotonic() >= until:
                logger.warning(
                    "another program consumes the queue %s: events that it gives back come late",
                    queue,
                )
                return
            pause.wait(_LOOK_EVERY_S)

    def bind(self, queue: kombu.Queue) -> None:
        """Bind a queue that exists, to exchanges that may not."""
        channel = self.channel
        bindings = _bindings_of(queue)
        _declare_exchanges(channel, bindings)
        _bind(channel, queue, bindings)

    def unbind(self, queue: kombu.Queue) -> None:
        """End the bindings of a queue; one that is not there is no error."""
        for each in _bindings_of(queue):
            self.channel.queue_unbind(queue.name, each.exchange.name, each.routing_key)

    def delete(self, queue: str) -> None:
        """Delete a queue, with what is in it; none is no error."""
        # With if-empty a quorum queue of RabbitMQ closes the connection (540).
        self.channel.queue_delete(queue)

    def require_readable(self, queue: str) -> None:
        """Raise the refusal that consuming a queue would meet, and close no other channel by it."""
        channel = self.channel
        if not isinstance(channel, OwnedChannel):
            # Of our own transports none has permissions.
            return
        try:
            message = channel.basic_get(queue)
        except amqp.ResourceLocked:
            # So much a quorum queue with a single active consumer says to those who may read it.
            return
        if message:
            channel.basic_reject(message.delivery_tag, requeue=True)
            # Its answer comes when the message is in its place again.
            channel.queue_declare(queue, passive=True)

    def bind_some(self, queues: Sequence[kombu.Queue]) -> Mapping[str, amqp.PreconditionFailed]:
        """Make the next `BINDINGS_AT_ONCE` bindings of the queues, and their exchanges, anew.

        After the last one it starts over.
        Waits for no answer: there are none unless something is refused, which the next use of the
        channel finds.
        Returns which queues of the last call cannot be bound, by their names.
        """
        # A refusal of the last call has come since; to make sure would be to wait for a broker that
        # hangs.
        channel = self._opened()
        refused: Mapping[str, amqp.PreconditionFailed] = {}
        if self._unbound:
            self._unbound = False
            refused = self._bind_singly()
            channel = self.channel
        every = [(queue, each) for queue in queues for each in _bindings_of(queue)]
        # Queues come and go between two calls: one of them may then be bound a round later.
        begin = self._next if self._next < len(every) else 0
        self._next = begin + BINDINGS_AT_ONCE
        some = every[begin : self._next]
        self._bound = list({queue.name: queue for queue, _ in some}.values())
        # Both are no change where they exist already, so there is no need to look first.
        _declare_exchanges(channel, [each for _, each in some])
        for queue, each in some:
            each.bind(queue, nowait=True, channel=channel)
        self._unanswered = True
        return refused

    def _bind_singly(self) -> Mapping[str, amqp.PreconditionFailed]:
        # The broker has not heard of those behind the one that was refused. Each with all of its
        # bindings: those of one queue may be in two rounds, and a binding more does no harm.
        refused = {}
        for queue in self._bound:
            try:
                self.bind(queue)
            except amqp.PreconditionFailed as error:
                # There is another exchange of this name.
                refused[queue.name] = error
            except amqp.ChannelError:
                # A permission that was taken away takes no binding with it; a queue that was
                # deleted ends its consumer.
                continue
        return refused


def _bindings_of(queue: kombu.Queue) -> Sequence[kombu.binding]:
    # Kombu keeps them as a set: in one order, so that a round goes on where the last one ended.
    return sorted(queue.bindings, key=lambda each: (each.exchange.name, each.routing_key))


def _declare_exchanges(channel: Any, bindings: Sequence[kombu.binding]) -> None:
    for exchange in {each.exchange.name: each.exchange for each in bindings}.values():
        exchange.declare(nowait=True, channel=channel)


def _bind(channel: Any, queue: kombu.Queue, bindings: Sequence[kombu.binding]) -> None:
    """Bind a queue, and return when the broker has done the last of it."""
    *before, last = bindings
    for each in before:
        each.bind(queue, nowait=True, channel=channel)
    last.bind(queue, nowait=False, channel=channel)


def places(name: str) -> tuple[str, str, str]:
    """Return the names that a queue has in turn: its generations, or what is left of a cluster."""
    return name, f"{name}.2", f"{name}.3"
