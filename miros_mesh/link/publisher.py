"""One worker a broker: outbox -> confirmed publish, and again after a reconnect."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import kombu

from miros_mesh.errors import ConfirmTimeoutError, LinkError, PublishRefusedError
from miros_mesh.link.outbox import Outbox
from miros_mesh.link.pools import Pools
from miros_mesh.link.ports import Broker, Parcel
from miros_mesh.link.worker import Worker
from miros_mesh.observer import STOPPED, Observer

logger = logging.getLogger(__name__)

_PUBLISHES_PER_TURN = 32


class BrokerPublisher(Worker):
    """Keeps each parcel until the broker has confirmed it; `window` parcels may be on their way."""

    def __init__(
        self,
        *,
        name: str,
        broker: Broker,
        pools: Pools,
        attempts: int,
        exchanges: tuple[str, ...],
        outbox: Outbox,
        window: int,
        confirm_timeout_s: float,
        observer: Observer,
    ) -> None:
        super().__init__(name=name, broker=broker, pools=pools, attempts=attempts)
        self._exchanges = exchanges
        self._outbox = outbox
        self._window = window
        self._confirm_timeout_s = confirm_timeout_s
        self._observer = observer
        self._producer: kombu.Producer | None = None
        self._confirms = Confirms(self._confirmed)

    def put(self, parcel: Parcel) -> None:
        """Queue a parcel; never waits."""
        self._outbox.put(parcel)
        self.wake()

    def grown(self, parcel: Parcel, size_bytes: int) -> None:
        """A queued parcel took one more event of that size."""
        self._outbox.grown(size_bytes)

    def stop(self, drain_timeout_s: float) -> int:
        """Drain, end the worker, and return how many events stay undelivered."""
        if self.alive:
            self._outbox.wait_empty(drain_timeout_s)
        self._end(drain_timeout_s)
        return self._outbox.events

    def _opened(self, connection: kombu.Connection) -> None:
        channel = connection.channel()
        for exchange in self._exchanges:
            kombu.Exchange(exchange, type="topic", durable=True)(channel).declare()
        self._confirms = Confirms(self._confirmed)
        self._confirms.watch(channel)
        self._outbox.rewind()
        self._producer = kombu.Producer(channel, auto_declare=False)
        self._observer.peer_up(peer=self.broker.name)

    def _lost(self, error: LinkError | None) -> None:
        self._producer = None
        reason = error.reason if error else STOPPED
        self._observer.peer_down(peer=self.broker.name, reason=reason)
        if error and not self._stopping.is_set():
            logger.warning("publisher reconnects: %s", error)

    def _turn(self, connection: kombu.Connection) -> bool:
        self._confirms.check(self._confirm_timeout_s, self.broker.name)
        producer = self._producer
        if producer is None:
            return False
        for _ in range(_PUBLISHES_PER_TURN):
            if len(self._confirms) >= self._window:
                return False
            parcel = self._outbox.take()
            if parcel is None:
                return False
            self._publish(producer, parcel)
        return True

    def _publish(self, producer: kombu.Producer, parcel: Parcel) -> None:
        body = parcel.seal()
        self._confirms.expect(parcel, len(body))
        producer.publish(
            body,
            exchange=parcel.exchange,
            routing_key=parcel.routing_key,
            delivery_mode=2,
            content_type="application/octet-stream",
            content_encoding="binary",
            retry=False,
        )
        self._confirms.published()

    def _confirmed(self, parcel: Parcel, size_bytes: int, seconds: float) -> None:
        self._outbox.confirm(parcel)
        self._observer.published(
            network=parcel.network,
            peer=self.broker.name,
            events=parcel.events,
            size_bytes=size_bytes,
            seconds=seconds,
        )


class Confirms:
    """Matches the broker's acks to parcels by delivery tag; one object a channel.

    Transports that store before `publish` returns (embedded, memory) confirm by returning.
    """

    def __init__(self, confirmed: Callable[[Parcel, int, float], None]) -> None:
        self._confirmed = confirmed
        self._pending: OrderedDict[int, tuple[Parcel, int, float]] = OrderedDict()
        self._tag = 0
        self._asynchronous = False
        self._refused: Parcel | None = None

    def __len__(self) -> int:
        return len(self._pending)

    def watch(self, channel: Any) -> None:
        """Ask for confirms where the channel gives them."""
        if not hasattr(channel, "confirm_select"):
            return
        self._asynchronous = True
        channel.confirm_select()
        channel.events["basic_ack"].add(self._acked)
        channel.events["basic_nack"].add(self._nacked)

    def expect(self, parcel: Parcel, size_bytes: int) -> None:
        """The next publication on the channel is this parcel."""
        self._tag += 1
        self._pending[self._tag] = (parcel, size_bytes, time.monotonic())

    def published(self) -> None:
        """The publish call has returned."""
        if not self._asynchronous:
            self._acked(self._tag, multiple=False)

    def check(self, timeout_s: float, where: str) -> None:
        """Raise what makes the channel unusable: a nack, or a confirm that does not come."""
        if self._refused:
            raise PublishRefusedError(f"{where} refused to store a message (nack)")
        if self._pending:
            _, _, since = next(iter(self._pending.values()))
            if time.monotonic() - since > timeout_s:
                raise ConfirmTimeoutError(f"{where} confirmed nothing for {timeout_s:g} s")

    def _acked(self, tag: int, multiple: bool) -> None:
        for done in self._covered(tag, multiple):
            parcel, size_bytes, since = self._pending.pop(done)
            self._confirmed(parcel, size_bytes, time.monotonic() - since)

    def _nacked(self, tag: int, multiple: bool) -> None:
        for refused in self._covered(tag, multiple):
            self._refused, _, _ = self._pending[refused]

    def _covered(self, tag: int, multiple: bool) -> list[int]:
        if not multiple:
            return [tag] if tag in self._pending else []
        covered = []
        for pending in self._pending:
            if pending > tag:
                break
            covered.append(pending)
        return covered
