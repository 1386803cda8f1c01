"""One worker for each peer: takes parcels from the outbox and publishes them until confirmed."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import kombu

from miros_mesh.errors import LinkError
from miros_mesh.link.confirms import Confirms
from miros_mesh.link.connections import ConnectionPools
from miros_mesh.link.nack_backoff import NackBackoff
from miros_mesh.link.outbox import Outbox
from miros_mesh.link.ports import Broker, Parcel
from miros_mesh.link.worker import Worker
from miros_mesh.observer import STOPPED, Observer
from miros_mesh.report import StopReport

logger = logging.getLogger(__name__)

# Then the connection is read: confirms must not wait behind a backlog.
_PUBLISHES_PER_TURN = 32


class BrokerPublisher(Worker):
    """Keeps each parcel until the broker has confirmed it; `window` parcels may be on their way.

    A new connection publishes again, in order, what the last one left unconfirmed. Any thread may
    `put`; the outbox has a lock of its own, and everything else belongs to the worker's thread.
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
    ) -> None:
        super().__init__(
            name=name, broker=broker, pools=pools, attempts=attempts, observer=observer
        )
        self._exchanges = exchanges
        self._outbox = outbox
        self._window = window
        self._confirm_timeout_s = confirm_timeout_s
        self._producer: kombu.Producer | None = None
        # Replaced with each connection, since a new channel counts its publications from 1 again.
        self._confirms = Confirms(self._confirmed, self._unroutable)
        self._nacks = NackBackoff(broker.name)
        # Written while the connection is read, so on this thread as all the rest.
        self._blocked = False

    def put(self, parcel: Parcel) -> Sequence[Parcel]:
        """Queue a parcel; returns what the outbox dropped to make room. Never waits."""
        dropped = self._outbox.put(parcel)
        self.wake()
        return dropped

    def grown(self, parcel: Parcel, size_bytes: int, events: int = 1) -> Sequence[Parcel]:
        """Count events that a queued parcel took since; returns what was dropped for them."""
        return self._outbox.grown(parcel, size_bytes, events)

    def report(self) -> StopReport:
        """Say what has become until now of the events put here."""
        return self._outbox.report()

    def stop(self, drain_timeout_s: float) -> StopReport:
        """Drain, end the worker, and say what became of the events put here."""
        # Without its thread nothing is confirmed any more, and the wait would be for nothing.
        if self.alive:
            self._outbox.wait_empty(drain_timeout_s)
        self._end(drain_timeout_s)
        return self._outbox.report()

    def abort(self, timeout_s: float) -> None:
        """End the worker without draining; waits for it for `timeout_s` at most."""
        self._end(timeout_s)

    def _opened(self, connection: kombu.Connection) -> None:
        # The exchange first: a publication to one that is missing closes the channel, some time
        # later. Then the confirms, before anything is published: RabbitMQ numbers from
        # `confirm.select` on.
        channel = connection.channel()
        for exchange in self._exchanges:
            kombu.Exchange(exchange, type="topic", durable=True)(channel).declare()
        self._confirms = Confirms(self._confirmed, self._unroutable)
        self._confirms.watch(channel)
        self._heed_alarms(connection.connection)
        # What the last connection left unconfirmed may be stored already: it is sent once more, and
        # receivers drop the second copy by its number.
        self._outbox.rewind()
        self._producer = kombu.Producer(channel, auto_declare=False)
        self._observer.peer_up(peer=self.broker.name)

    def _lost(self, error: LinkError | None) -> None:
        self._producer = None
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
        self._confirms.check(self._confirm_timeout_s, self.broker.name)
        if self._confirms.nacked:
            self._retreat()
        producer = self._producer
        if producer is None or self._nacks.pausing:
            return False
        for _ in range(_PUBLISHES_PER_TURN):
            if len(self._confirms) >= self._allowed:
                return False
            parcel = self._outbox.take()
            if parcel is None:
                return False
            self._publish(producer, parcel)
        return True

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
        return self._window if self._confirms.proven and not self._nacks.one_by_one else 1

    def _publish(self, producer: kombu.Producer, parcel: Parcel) -> None:
        # Expected first: before it writes, py-amqp reads what has come (an alarm, say), so
        # callbacks of the confirms run inside of `publish`; and our own transports confirm by
        # returning.
        body = parcel.seal()
        self._confirms.expect(parcel, len(body))
        producer.publish(
            body,
            exchange=parcel.exchange,
            routing_key=parcel.routing_key,
            # Persistent: a confirm of RabbitMQ then means that it is on disk, or on a majority.
            delivery_mode=2,
            content_type="application/octet-stream",
            content_encoding="binary",
            # RabbitMQ confirms what no queue takes, too; so it has to return it.
            mandatory=self._confirms.asynchronous,
            # Kombu's own retry connects anew by itself, behind the back of the confirms.
            retry=False,
        )
        self._confirms.published()

    def _confirmed(self, parcel: Parcel, size_bytes: int, seconds: float) -> None:
        self._outbox.confirm(parcel)
        self._nacks.confirmed()
        self._observer.published(
            network=parcel.network,
            peer=self.broker.name,
            events=parcel.events,
            size_bytes=size_bytes,
            seconds=seconds,
        )

    def _unroutable(self, parcel: Parcel) -> None:
        # A node status that no queue takes is no loss, and would be counted every second.
        if parcel.events:
            self._observer.dropped(
                network=parcel.network, reason="unroutable", events=parcel.events
            )
