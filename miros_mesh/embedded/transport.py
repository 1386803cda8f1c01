"""The Kombu transport of the embedded broker: a connection, and the loop that delivers."""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import amqp
import kombu
from amqp.exceptions import RecoverableChannelError, RecoverableConnectionError
from kombu.transport import virtual

from miros_mesh.embedded.channel import Channel, Subscription
from miros_mesh.embedded.doorbell import FolderDoorbells
from miros_mesh.embedded.message import Place
from miros_mesh.embedded.prefetch import Acknowledgements
from miros_mesh.embedded.schema import Durability, open_file
from miros_mesh.embedded.store import Store
from miros_mesh.embedded.upkeep import PERIOD_S
from miros_mesh.errors import EmbeddedStoreError, UnsupportedError
from miros_mesh.private_files import prepare_home
from miros_mesh.systems import HAS_UNIX_SOCKETS

# Against a doorbell that was removed from the folder, and for the upkeep.
_LONGEST_WAIT_S: Final = 1.0


class StoreTransport(virtual.Transport):
    """A connection, whatever its store is. One thread at a time may use it.

    `fileno()` is readable whenever `drain_events` has something to do.
    """

    Channel = Channel
    driver_type = "embedded"
    driver_name = "sqlite"
    connection_errors = (amqp.ConnectionError, EmbeddedStoreError)
    channel_errors = (amqp.ChannelError,)
    recoverable_connection_errors = (RecoverableConnectionError,)
    recoverable_channel_errors = (RecoverableChannelError,)
    implements = virtual.Transport.implements.extend(
        exchange_type=frozenset(("direct", "topic", "fanout"))
    )

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self._store: Store | None = None
        self._acknowledgements: Acknowledgements | None = None
        self.channel_ids = itertools.count(1)
        # By the number of the queue: all; in the order of their turns those with messages to hand
        # out; those whose reader may find some. A subscription that is in none of the latter two
        # waits for news, or for its prefetch.
        self._subscriptions: dict[int, Subscription] = {}
        self._ready: OrderedDict[Subscription, None] = OrderedDict()
        self._hungry: dict[Subscription, None] = {}
        # Whether this connection has rung its own doorbell since it was silenced.
        self._rung = False
        # Of the last look; see `News`.
        self._turns: int | None = None
        self._look_at = 0.0
        """When (`time.monotonic`) to look even if the doorbell was not rung."""

    @property
    def stores_at_once(self) -> bool:
        """Whether a message may be stored on a thread that is to wait for nothing."""
        return False

    def open_store(self) -> Store:
        """Connect to the broker that the transport options name."""
        raise NotImplementedError

    @property
    def store(self) -> Store:
        """The open store; `RecoverableConnectionError` when the connection is closed."""
        if self._store is None:
            raise RecoverableConnectionError("the connection is closed")
        return self._store

    @property
    def acknowledgements(self) -> Acknowledgements:
        """What waits to be stored, of all channels."""
        if self._acknowledgements is None:
            raise RecoverableConnectionError("the connection is closed")
        return self._acknowledgements

    def establish_connection(self) -> StoreTransport:
        """Open the store; the transport is the connection."""
        self._collect(self)
        self._store = self.open_store()
        self._acknowledgements = Acknowledgements(self._store.settle)
        try:
            self._store.keep_up()
        except BaseException:
            # Kombu knows of no connection, and would close none.
            self.close_connection(self)
            raise
        return self

    def verify_connection(self, connection: object) -> bool:
        """Tell whether it is open, and was opened by this process."""
        return self._store is not None and not self._store.inherited

    def close_connection(self, connection: object) -> None:
        """Close all channels and the store."""
        try:
            for channel in list(self.channels):
                channel.close()
            if self._store is not None:
                store, self._store = self._store, None
                store.close()
        finally:
            self._collect(self)

    def fileno(self) -> int:
        """Return a descriptor that is readable while there may be something to deliver or store."""
        return self.store.doorbell.fileno()

    def drain_events(self, connection: object, timeout: float | None = None, **_: Any) -> None:
        """Deliver one message; raises `TimeoutError` if none comes in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._deliver_one():
            self._wait(deadline)

    def enlist(self, subscription: Subscription) -> None:
        """Begin to deliver to a subscription, first what is stored already."""
        self._subscriptions[subscription.reader.queue] = subscription
        self.attend(subscription.reader.queue)

    def discharge(self, subscription: Subscription) -> None:
        """Deliver nothing more to a subscription."""
        if self._is_enlisted(subscription):
            del self._subscriptions[subscription.reader.queue]
            self._ready.pop(subscription, None)
            self._hungry.pop(subscription, None)

    def settle(self, places: list[Place]) -> None:
        """Acknowledge handled messages; has a drain follow if that made work for one."""
        self.acknowledgements.add(places)
        self._go_on(places)

    def refuse(self, places: list[Place]) -> None:
        """Reject messages for good; has a drain follow if that made work for one."""
        self.store.refuse(places)
        self._go_on(places)

    def attend(self, queue: int) -> None:
        """Look at the reader of a queue again; has a drain follow if there is work for one."""
        if (subscription := self._subscriptions.get(queue)) and self._sort(subscription):
            self._have_a_drain_follow()

    def _go_on(self, places: list[Place]) -> None:
        for queue in {queue for queue, _ in places}:
            self.attend(queue)
        if self._acknowledgements:
            self._have_a_drain_follow()

    def _have_a_drain_follow(self) -> None:
        if not self._rung:
            self._rung = True
            self.store.doorbell.ring()

    def _sort(self, subscription: Subscription) -> bool:
        """Put a subscription where it belongs; returns whether it needs a drain."""
        if not self._is_enlisted(subscription):
            return False
        if subscription.reader.ready:
            self._ready[subscription] = None
        elif subscription.reader.wants_refill:
            self._hungry[subscription] = None
        else:
            return False
        return True

    def _deliver_one(self) -> bool:
        if self._hand_out():
            return True
        # Silence first: a publisher that commits after our look rings again.
        rung = self.store.doorbell.silence()
        self._rung = False
        now = time.monotonic()
        # None who commits forgets to ring, but one that is killed in between.
        if not (rung or self._hungry or self.acknowledgements) and now < self._look_at:
            return False
        self._look_at = now + PERIOD_S
        self._look()
        if self._ready:
            # More may be ready than this call delivers, and a caller may select before the next.
            self._have_a_drain_follow()
        return self._hand_out()

    def _look(self) -> None:
        """Fetch for the subscriptions that have news, are new themselves, or may go on."""
        store = self.store
        self.acknowledgements.flush()
        store.keep_up()
        if not self._subscriptions:
            return
        news = store.news()
        for queue in news.queues:
            if subscription := self._subscriptions.get(queue):
                subscription.reader.more = True
                self._sort(subscription)
        if news.turns != self._turns:
            # Raises for a consumer that cannot be told otherwise; the news are noted by then.
            self._take_turns()
            self._turns = news.turns
        for subscription in list(self._hungry):
            subscription.reader.refill(store)
            del self._hungry[subscription]
            self._sort(subscription)

    def _hand_out(self) -> bool:
        """Serve the consumers in turn."""
        while self._ready:
            subscription, _ = self._ready.popitem(last=False)
            if subscription.reader.ready:
                try:
                    subscription.deliver()
                finally:
                    self._sort(subscription)
                return True
        return False

    def _is_enlisted(self, subscription: Subscription) -> bool:
        return self._subscriptions.get(subscription.reader.queue) is subscription

    def _take_turns(self) -> None:
        """Tell consumers whose queue was deleted or taken, and begin where it is our turn."""
        standings = self.store.standings()
        for queue, subscription in list(self._subscriptions.items()):
            reader, now = subscription.reader, standings.get(queue)
            if now is None or now.consumer != reader.standing.consumer:
                subscription.cancelled()
            elif now.sharing or now != reader.standing:
                reader.take_standing(now)
                self._sort(subscription)

    def _wait(self, deadline: float | None) -> None:
        left = _LONGEST_WAIT_S if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.store.doorbell.wait(min(left, _LONGEST_WAIT_S))

    def _collect(self, connection: object) -> None:
        """Let go without touching the store, which may be another process's, or broken."""
        store, self._store, self._acknowledgements = self._store, None, None
        self._turns, self._rung, self._look_at = None, False, 0.0
        for known in (self._subscriptions, self._ready, self._hungry):
            known.clear()
        for channel in list(self.channels):
            channel.closed = True
            self.close_channel(channel)
        if store is not None:
            store.abandon()


class EmbeddedTransport(StoreTransport):
    """The transport to the broker in a folder; `dial` makes a connection of it."""

    @property
    def stores_at_once(self) -> bool:
        """Whether no disk is waited for."""
        return bool(self.client.transport_options["durability"] == "process")

    def open_store(self) -> Store:
        """Open the store in the folder, which every process of the user may share."""
        options = self.client.transport_options
        folder, cutter = prepare_home(Path(options["folder"])), options.get("cutter")
        durability = options["durability"]
        database = open_file(folder, durability, lambda: cutter is not None and cutter.passed)
        doorbells = FolderDoorbells(folder)

        def leave() -> None:
            doorbells.close()
            database.close()

        return Store(database, doorbells, leave)


def require_supported() -> None:
    """Raise `UnsupportedError` where processes cannot meet in a folder."""
    if not HAS_UNIX_SOCKETS:
        raise UnsupportedError(
            "the embedded broker needs sockets in a folder (AF_UNIX), and Python has none on this "
            "system; name a RabbitMQ with broker_url or MIROS_MESH_BROKER_URL"
        )


def dial(folder: Path, durability: Durability = "process") -> kombu.Connection:
    """Return an unconnected connection to the embedded broker in a folder.

    What it commits outlives the end of any process; with the durability `power` a power cut too.
    """
    options = {"folder": str(folder), "durability": durability}
    return kombu.Connection(transport=EmbeddedTransport, transport_options=options)
