"""The Kombu transport of the embedded broker: a connection, and the loop that delivers."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any, Final

import amqp
import kombu
from amqp.exceptions import RecoverableChannelError, RecoverableConnectionError
from kombu.transport import virtual

from miros_mesh.embedded import definitions
from miros_mesh.embedded.channel import Channel, Subscription
from miros_mesh.embedded.doorbell import FolderDoorbells
from miros_mesh.embedded.message import Place
from miros_mesh.embedded.prefetch import Acknowledgements
from miros_mesh.embedded.schema import open_file
from miros_mesh.embedded.store import Store
from miros_mesh.errors import EmbeddedStoreError
from miros_mesh.private_files import prepare_home

# A doorbell never fails to ring, but somebody may clear the folder under our feet.
_LONGEST_WAIT_S: Final = 1.0


class StoreTransport(virtual.Transport):
    """Everything but where the store is. One thread at a time may use a connection.

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
        self._subscriptions: deque[Subscription] = deque()
        self._version = 0

    def open_store(self) -> Store:
        """Connect to the broker that the transport options name."""
        raise NotImplementedError

    @property
    def store(self) -> Store:
        """The open store; raises when the connection is closed."""
        if self._store is None:
            raise RecoverableConnectionError("the connection is closed")
        return self._store

    @property
    def acknowledgements(self) -> Acknowledgements:
        """Those of all channels, stored together."""
        if self._acknowledgements is None:
            raise RecoverableConnectionError("the connection is closed")
        return self._acknowledgements

    def establish_connection(self) -> StoreTransport:
        """Open the store; the transport is the connection."""
        self._collect(self)
        self._store = self.open_store()
        self._acknowledgements = Acknowledgements(self._store.settle)
        self._store.keep_up()
        return self

    def verify_connection(self, connection: object) -> bool:
        """Whether it is open, and opened by this process."""
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
        """Readable while there may be something to deliver or to store."""
        return self.store.doorbell.fileno()

    def drain_events(self, connection: object, timeout: float | None = None, **_: Any) -> None:
        """Deliver one message; raises `TimeoutError` if none comes in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._deliver_one():
            self._wait(deadline)

    def enlist(self, subscription: Subscription) -> None:
        """Deliver to one more."""
        self._version = 0
        self._subscriptions.append(subscription)
        self.store.doorbell.ring()

    def discharge(self, subscription: Subscription) -> None:
        """Deliver to one less."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def settle(self, places: list[Place]) -> None:
        """These are handled; if that makes work for a drain, see to it that one follows."""
        self.acknowledgements.add(places)
        self._let_more_come()

    def refuse(self, places: list[Place]) -> None:
        """These are rejected for good, as `settle` sees to those that are handled."""
        self.store.refuse(places)
        self._let_more_come()

    def _let_more_come(self) -> None:
        if self._acknowledgements or any(s.reader.held_back for s in self._subscriptions):
            self.store.doorbell.ring()

    def _deliver_one(self) -> bool:
        if self._hand_out():
            return True
        store = self.store
        # Silence first: whoever publishes after our look rings again.
        store.doorbell.silence()
        self.acknowledgements.flush()
        store.keep_up()
        self._tell_the_cancelled()
        for subscription in tuple(self._subscriptions):
            subscription.reader.refill(store.fetch)
        if any(subscription.reader.ready for subscription in self._subscriptions):
            # More may be ready than this call delivers, and a caller may select before the next.
            store.doorbell.ring()
        return self._hand_out()

    def _hand_out(self) -> bool:
        """Serve the consumers in turn."""
        for _ in range(len(self._subscriptions)):
            subscription = self._subscriptions[0]
            self._subscriptions.rotate(-1)
            if subscription.reader.ready:
                subscription.deliver()
                return True
        return False

    def _tell_the_cancelled(self) -> None:
        """Tell the consumers whose queue was deleted."""
        version = self.store.ask(definitions.version)
        if version != self._version:
            consumed = self.store.consumed()
            for subscription in tuple(self._subscriptions):
                if subscription.reader.queue not in consumed:
                    subscription.cancelled()
            self._version = version

    def _wait(self, deadline: float | None) -> None:
        left = _LONGEST_WAIT_S if deadline is None else deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.store.doorbell.wait(min(left, _LONGEST_WAIT_S))

    def _collect(self, connection: object) -> None:
        """Let go without touching the store: it may be another process's, or broken."""
        store, self._store, self._acknowledgements = self._store, None, None
        self._subscriptions.clear()
        for channel in list(self.channels):
            channel.closed = True
            self.close_channel(channel)
        if store is not None:
            store.abandon()


class EmbeddedTransport(StoreTransport):
    """`kombu.Connection(transport=EmbeddedTransport, transport_options={"folder": "..."})`."""

    def open_store(self) -> Store:
        """The store in the folder, which every process of the user may share."""
        folder = prepare_home(Path(self.client.transport_options["folder"]))
        database, doorbells = open_file(folder), FolderDoorbells(folder)

        def leave() -> None:
            doorbells.close()
            database.close()

        return Store(database, doorbells, leave)


def dial(folder: Path) -> kombu.Connection:
    """Return an unconnected connection to the embedded broker in a folder."""
    return kombu.Connection(transport=EmbeddedTransport, transport_options={"folder": str(folder)})
