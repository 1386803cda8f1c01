"""One worker for each peer: takes parcels from the outbox and publishes them until confirmed.

A parcel that is put while nothing waits and nothing is on its way is published by the thread that
puts it, if that costs no wait: two threads need not be woken one after the other. All else is for
the worker's thread, the answer of the broker too.

A broker that refuses a publication closes the channel, and does not say which one it means:

| state   | parcels on their way   | when a refusal comes                        | and then |
| ------- | ---------------------- | ------------------------------------------- | -------- |
| flowing | up to the window       | one was on its way: it is meant. Else all   | probing, |
|         |                        | that were are sent again                    | or on    |
| probing | one, until all that    | it is meant: it is split, or refused if it  | probing  |
|         | were are answered      | has one event or none of it is permitted    |          |

An exchange that is not there is declared again, and nothing is refused for it; where that may not
be, what was to go there is refused, and nothing else. But one that this connection has declared is
asked for on a new connection first: a broker that deletes a virtual host takes the rights there,
then the exchanges, and only then closes the connections to it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any

import amqp
import kombu
from amqp.spec import Basic

from miros_mesh.errors import (
    ConnectionLostError,
    LinkError,
    MessageTooLargeError,
    PermissionDeniedError,
)
from miros_mesh.link.confirms import Confirmed, Confirms
from miros_mesh.link.connections import ConnectionPools
from miros_mesh.link.known_refusals import KnownRefusals
from miros_mesh.link.nack_backoff import NackBackoff
from miros_mesh.link.outbox import Outbox
from miros_mesh.link.ports import Broker, Parcel
from miros_mesh.link.publishing_channel import PublishingChannel
from miros_mesh.link.translation import translated
from miros_mesh.link.worker import PATIENCE_S, Incoming, Worker
from miros_mesh.observer import STOPPED, Observer
from miros_mesh.report import StopReport
from miros_mesh.text import logger_of
from miros_mesh.timing.locks import tried

logger = logger_of(__name__)

# What is larger takes too long to seal and to write for a thread that does something else. Sealed
# it fits into one frame of AMQP: what does not is left to the worker, which seals it once more.
_AT_ONCE_BYTES = 3_200
# Then the connection is read: confirms must not wait behind a backlog.
_PUBLISHES_PER_TURN = 32
# Of `amqp.RecoverableChannelError` and the like: the broker has no such exchange.
_NOT_FOUND = 404
# For the close of a connection on which the broker owes us an answer already.
_SHORT_PATIENCE_S = 0.05
# A thread that was cut ends at once; a hook of the program's may hold it up.
_JOIN_TIMEOUT_S = 2.0
# The second by py-amqp, over a channel that is closed while it publishes there.
_BREAKS = (amqp.AMQPError, AttributeError)


class BrokerPublisher(Worker):
    """Keeps each parcel until the broker has confirmed it; `window` parcels may be on their way.

    A new connection publishes again, in order, what the last one left unconfirmed. Any thread may
    `put`; the outbox has a lock of its own, and everything else belongs to who has `_using`.
    """

    def __init__(
        self,
        *,
        name: str,
        broker: Broker,
        pools: ConnectionPools,
        attempts: int | None,
        exchanges: tuple[str, ...],
        outbox: Outbox,
        window: int,
        confirm_timeout_s: float,
        observer: Observer,
        more_exchanges: Callable[[], tuple[str, ...]] = tuple,
        transient_exchanges: Collection[str] = (),
    ) -> None:
        super().__init__(
            name=name, broker=broker, pools=pools, attempts=attempts, observer=observer
        )
        self._exchanges = exchanges
        self._more_exchanges = more_exchanges
        self._declared: tuple[str, ...] = ()
        """Of those, what was declared on this connection."""
        self._outbox = outbox
        self._window = window
        self._confirm_timeout_s = confirm_timeout_s
        self._channel = PublishingChannel(
            broker.name, self._stopping.wait, transient=frozenset(transient_exchanges)
        )
        # Replaced with each channel, which counts its publications from 1 again.
        self._confirms = Confirms(self._confirmed)
        self._nacks = NackBackoff(broker.name)
        # Replaced with each connection.
        self._refusals = KnownRefusals()
        self._probes = 0
        """How many answers have to come, one by one, since the broker refused one of several."""
        # Written while the connection is read, so on this thread as all the rest.
        self._blocked = False
        # Guards the connection and all of the above but the outbox. The worker's thread has it, but
        # for while it waits for input. Others only try to get it, under the lock of a network, and
        # take none under it but those of outbox and frame; so it has no place in any order.
        self._using = threading.Lock()
        self._using.acquire()
        self._torn = False
        """Whether a thread is publishing at once, or has been broken off: what the broker has of it
        is not known then."""
        self._broke: Exception | None = None
        """What has broken it off."""

    def put(self, parcel: Parcel) -> Sequence[Parcel]:
        """Queue a parcel; returns what the outbox dropped to make room. Never waits.

        Publishes it at once where nothing is in its way.
        """
        rests, published = self._outbox.idle, False
        try:
            dropped = self._outbox.put(parcel)
            if rests and parcel.size_bytes <= _AT_ONCE_BYTES:
                published = self._publish_at_once()
        finally:
            # Also if the handler of a signal raises here: until the thread has seen that, an
            # embedded broker may stay locked.
            if not published:
                self.wake()
        return dropped

    def grown(self, parcel: Parcel, size_bytes: int, events: int = 1) -> Sequence[Parcel]:
        """Count events that a queued parcel took since; returns what was dropped for them."""
        return self._outbox.grown(parcel, size_bytes, events)

    def report(self) -> StopReport:
        """Say what has become until now of the events put here."""
        return self._outbox.report()

    def drain(self, timeout_s: float) -> None:
        """Wait until all is confirmed that was put here, `timeout_s` at most.

        What is no event of a program, a goodbye say, is waited for while the broker confirms some.
        """
        # Without its thread nothing is confirmed any more, and the wait would be for nothing.
        if self.alive and not self._thread.is_current:
            self._outbox.wait_empty(timeout_s, PATIENCE_S)

    def stop(self, drain_timeout_s: float) -> StopReport:
        """Drain, end the worker, and say what became of the events put here."""
        self.drain(drain_timeout_s)
        drained = self._outbox.wait_empty(0)
        self._end(_JOIN_TIMEOUT_S, PATIENCE_S if drained else _SHORT_PATIENCE_S)
        return self._outbox.report()

    def abort(self, timeout_s: float) -> None:
        """End the worker without draining; waits for it for `timeout_s` at most."""
        self._end(timeout_s)

    def abandon(self) -> None:
        """In a forked child: wake and publish no more, on what is the parent's."""
        super().abandon()
        # No thread of the child ever releases this one.
        self._using = threading.Lock()
        self._using.acquire()

    def _publish_at_once(self) -> bool:
        """Publish the next parcel on the calling thread; False leaves it to the worker's.

        Calls no hook, and waits for nothing.
        """
        got: list[bool] = []
        try:
            if not (tried(self._using, got) and self._rests):
                return False
            # Until it is known what has become of it: whatever breaks or interrupts this costs the
            # connection, and the next one publishes it again.
            self._torn = True
            published = self._try_next()
            self._torn = False
        except Exception as error:  # noqa: BLE001 - raised on the worker's thread
            # Not told here, where the lock of a network is held: who logs may transmit.
            self._broke = error
            return False
        finally:
            if True in got:
                self._using.release()
        # Others may have put something meanwhile.
        return published and self._outbox.idle

    def _try_next(self) -> bool:
        """Publish the next parcel if that takes no wait; whether nothing is left to do for it."""
        if (parcel := self._outbox.take()) is None:
            return False
        body = parcel.seal()
        self._confirms.expect(parcel, body)
        if (
            # Of these hooks are told, on the worker's thread.
            not (self._refusals.refusal(parcel) or self._refusals.too_large(parcel))
            and self._channel.publish_at_once(
                body,
                exchange=parcel.exchange,
                routing_key=parcel.routing_key,
                persistent=parcel.persistent,
                again=self._outbox.is_again(parcel),
            )
        ):
            self._confirms.written()
            return self._confirms.asynchronous and not self._channel.has_rest
        self._confirms.expect_not()
        # To where it was: in front of what waits.
        self._outbox.split(parcel, (parcel,))
        return False

    @property
    def _rests(self) -> bool:
        """Whether all is as usual, and the broker owes no answer."""
        confirms = self._confirms
        return self._channel.at_once and not (
            confirms
            or self._allowed < 1
            or not confirms.proven
            or self._blocked
            or self._torn
            or self._probes
            or self._nacks.pausing
            or self._stopping.is_set()
            or self._more_exchanges() != self._declared
        )

    def _wait_for_input(self, incoming: Incoming, timeout_s: float) -> None:
        self._using.release()
        try:
            super()._wait_for_input(incoming, timeout_s)
        finally:
            self._using.acquire()
        if self._torn:
            raise self._broke or ConnectionLostError(
                f"{self.broker.name}: who published an event was interrupted"
            )
        # What another thread could not write without waiting, before anything else is written.
        self._channel.write_rest()

    def _opened(self, connection: kombu.Connection) -> None:
        self._torn, self._broke = False, None
        self._channel.connect(connection)
        # First: a publication to an exchange that is missing closes the channel, some time later.
        self._declare_all()
        self._heed_alarms(connection.connection)
        self._refusals = KnownRefusals()
        self._publish_on()
        self._observer.peer_up(peer=self.broker.name)

    def _declare_all(self) -> None:
        for exchange in self._exchanges:
            refusal = self._channel.declare(exchange)
            # It may be there all the same. What is sent there tells, and holds up nothing else; but
            # who waits for a first connection hears at once that the network is out of reach.
            if refusal and exchange == self._exchanges[0] and not self._settled.is_set():
                raise refusal
        self._declared = self._more_exchanges()
        for exchange in self._declared:
            self._channel.declare(exchange)

    def _declare_more(self) -> None:
        """Declare what has come since the connection began; a refusal is only logged."""
        before, self._declared = self._declared, self._more_exchanges()
        refusals = [self._channel.declare(each) for each in self._declared if each not in before]
        if any(refusals):
            self._publish_on()

    def _publish_on(self) -> None:
        # The confirms before anything is published: RabbitMQ numbers from `confirm.select` on.
        channel = self._channel.opened()
        self._confirms = Confirms(self._confirmed)
        self._confirms.watch(channel)
        # What the last channel left unconfirmed may be stored already: it is sent once more, and
        # receivers drop the second copy by its number.
        self._outbox.rewind()

    def _lost(self, error: LinkError | None) -> None:
        # No broker says `unblocked` on a connection that is gone: `Health` would show it blocked
        # for ever.
        self._unblock()
        if error and not self._stopping.is_set():
            logger.warning("publisher reconnects: %s", error)
        reason = error.reason if error else STOPPED
        self._observer.peer_down(peer=self.broker.name, reason=reason)

    def _heed_alarms(self, transport: Any) -> None:
        """Hear of memory and disk alarms: the broker then reads nothing from who publishes."""
        if hasattr(transport, "on_blocked"):
            transport.on_blocked, transport.on_unblocked = self._block, self._unblock

    def _block(self, _: str) -> None:
        self._blocked = True
        logger.warning(
            "publisher blocked: %s reports a memory or disk alarm; "
            "events wait in the outbox until it ends",
            self.broker.name,
        )
        self._observer.blocked(peer=self.broker.name)

    def _unblock(self) -> None:
        if self._blocked:
            self._blocked = False
            self._confirms.wait_anew()
            self._observer.unblocked(peer=self.broker.name)

    def _turn(self, connection: kombu.Connection) -> bool:
        # The confirm time-out stands still, too: `_unblock` begins it anew.
        if self._blocked:
            return False
        self._confirms.stored()
        self._confirms.check(self._confirm_timeout_s, self.broker.name)
        if self._confirms.nacked:
            self._retreat()
        if self._nacks.pausing:
            return False
        more, broke = True, None
        try:
            if self._more_exchanges() != self._declared:
                # Perhaps on a new channel.
                self._declare_more()
            else:
                more = self._publish_some()
        except _BREAKS as error:
            broke = error
        self._outlive(broke, connection)
        return more

    def _publish_some(self) -> bool:
        """Publish what waits and may be on its way; whether there may be more."""
        for number in range(_PUBLISHES_PER_TURN):
            if len(self._confirms) >= self._allowed:
                return False
            parcel = self._outbox.take()
            if parcel is None:
                return False
            if not self._spared(parcel):
                # For the first one of a turn the connection was read just now.
                self._publish(parcel, read_before=number > 0)
        return True

    def _read(self, connection: kombu.Connection, incoming: Incoming) -> None:
        broke = None
        try:
            super()._read(connection, incoming)
        except _BREAKS as error:
            broke = error
        self._outlive(broke, connection)

    def _outlive(self, broke: Exception | None, connection: kombu.Connection) -> None:
        """Go on after the broker has refused a publication, on the same connection if it can."""
        refusal = self._channel.refusal
        if broke is None and refusal is None:
            return
        refusal = refusal or _refused_publication(broke)
        if refusal:
            missing: Collection[str] = ()
            if refusal.reply_code == _NOT_FOUND:
                missing = self._confirms.exchanges(named_in=refusal.reply_text)
            else:
                self._hear_refusal(refusal)
            # Some codes close the connection; the next one goes on in the same way.
            if connection.connected:
                self._declare_missing(missing)
                self._publish_on()
                return
        if broke:
            raise broke

    def _declare_missing(self, exchanges: Collection[str]) -> None:
        for exchange in exchanges:
            was_there = exchange in self._channel.declared
            if refusal := self._channel.declare(exchange):
                if was_there and isinstance(refusal, PermissionDeniedError):
                    raise ConnectionLostError(
                        f"{self.broker.name}: the exchange {exchange} has gone, and so has the "
                        "right to declare it"
                    )
                self._refusals.learn_missing(exchange, refusal)

    def _hear_refusal(self, error: amqp.AMQPError) -> None:
        """Find out which parcel is meant; one alone on its way is.

        Raises the `LinkError` of what may pass, a fault of the broker say: a new connection is
        tried after a pause.
        """
        try:
            with translated(self.broker.name):
                raise error
        except LinkError as refusal:
            if refusal.retryable:
                raise
            if parcel := self._confirms.only:
                self._refusals.learn(parcel, refusal)
                self._probes = max(self._probes, 1)
                # All events of a parcel have one topic: a permission lacks for each of them.
                self._set_aside(parcel, refusal, whole=isinstance(refusal, PermissionDeniedError))
            else:
                self._probes = len(self._confirms)

    def _set_aside(self, parcel: Parcel, refusal: LinkError, *, whole: bool) -> None:
        """Split a parcel, or take it out of the outbox, since it is refused."""
        parts = () if whole else parcel.split()
        self._probes = max(self._probes - 1 + len(parts), 0)
        if parts:
            self._outbox.split(parcel, parts)
        else:
            # In this order: a node that stops waits until the outbox is empty, and then for what
            # is kept of refused events.
            parcel.refused(self.broker.name, refusal)
            self._outbox.refuse(parcel)

    def _spared(self, parcel: Parcel) -> bool:
        """Whether the broker need not be asked: it has just refused the like of this parcel."""
        if refusal := self._refusals.refusal(parcel):
            # A size alone may be right for a part of it.
            whole = not isinstance(refusal, MessageTooLargeError)
            self._set_aside(parcel, refusal, whole=whole)
            return True
        if self._refusals.too_large(parcel) and (parts := parcel.split()):
            self._outbox.split(parcel, parts)
            return True
        return False

    def _retreat(self) -> None:
        """Once everything on its way was answered, pause, and send what was nacked again."""
        # Not before: `rewind` would send again what is still on its way, too.
        if not self._confirms:
            self._nacks.nacked(self._confirms.nacked)
            self._confirms.start_over()
            self._outbox.rewind()

    def _due(self) -> float:
        return self._nacks.resume_at if self._nacks.pausing else math.inf

    @property
    def _allowed(self) -> int:
        """How many parcels may be on their way at once."""
        if self._confirms.nacked:
            return 0
        # One until the first confirm: a broker with an alarm reads nothing from who publishes, and
        # says so only after the first publication; more of them would fill the socket, and a full
        # socket would hold up this thread.
        one_by_one = self._probes or self._nacks.one_by_one or not self._confirms.proven
        return 1 if one_by_one else self._window

    def _publish(self, parcel: Parcel, *, read_before: bool) -> None:
        # Expected first: before it writes, py-amqp reads what has come (an alarm, say), so
        # callbacks of the confirms run inside of `publish`; and our own transports confirm by
        # returning.
        body = parcel.seal()
        self._confirms.expect(parcel, body)
        self._channel.publish(
            body,
            exchange=parcel.exchange,
            routing_key=parcel.routing_key,
            persistent=parcel.persistent,
            again=self._outbox.is_again(parcel),
            read_before=read_before,
        )
        self._confirms.published()

    def _confirmed(self, done: Confirmed) -> None:
        parcel = done.parcel
        parcel.stored(self.broker.name, done.routed)
        self._nacks.confirmed()
        self._refusals.forget(parcel, done.size_bytes)
        self._probes = max(self._probes - 1, 0)
        self._observer.published(
            network=parcel.network,
            peer=self.broker.name,
            events=parcel.events,
            size_bytes=done.size_bytes,
            seconds=done.seconds,
        )
        if not done.routed:
            self._unroutable(parcel)
        # Last: who finds the outbox empty knows that all was told, and charts have the signals.
        self._outbox.confirm(parcel, routed=done.routed)

    def _unroutable(self, parcel: Parcel) -> None:
        # A node status that no queue takes is no loss, and would be counted every second.
        if not parcel.events:
            return
        if parcel.expendable:
            self._observer.dropped(
                network=parcel.network, reason="unroutable", events=parcel.events
            )
        else:
            self._observer.unroutable(
                peer=self.broker.name, topic=parcel.routing_key, events=parcel.events
            )


def _refused_publication(error: Exception | None) -> amqp.AMQPError | None:
    """Return an error by which a broker refuses a publication, with the connection maybe."""
    of_ours = getattr(error, "method_sig", None) == Basic.Publish
    return error if isinstance(error, amqp.AMQPError) and of_ours else None
