"""The same broker inside one process: for tests, and for charts whose process is alone."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import NamedTuple

import kombu

from miros_mesh.embedded import definitions
from miros_mesh.embedded.database import Database
from miros_mesh.embedded.doorbell import LocalDoorbells
from miros_mesh.embedded.schema import open_memory
from miros_mesh.embedded.store import Store
from miros_mesh.embedded.transport import StoreTransport


class Publication(NamedTuple):
    """A message as a publisher hands it to the broker."""

    exchange: str
    routing_key: str
    properties: bytes
    body: bytes


PassOn = Callable[[Publication], Iterable[Publication]]
"""Returns what the broker stores in place of a publication: usually that and nothing else."""


class MemoryStore:
    """A broker that lives as long as this object; connections of any thread may share it."""

    def __init__(self) -> None:
        self._database = open_memory()
        self._doorbells = LocalDoorbells()
        weakref.finalize(self, self._database.close)
        self._own: Store | None = None
        # Guards `_own`, which one thread at a time may use.
        self._using = threading.Lock()

    def dial(self, pass_on: PassOn | None = None) -> kombu.Connection:
        """Return an unconnected connection to this broker.

        `pass_on` is asked what becomes of each publication of the connection, on the thread that
        publishes.
        """
        options = {"store": self, "pass_on": pass_on}
        return kombu.Connection(transport=MemoryTransport, transport_options=options)

    def open(self, pass_on: PassOn | None = None) -> Store:
        """Return what one connection can do with this broker."""
        if pass_on is None:
            return Store(self._database, self._doorbells, leave=_stay)
        return _Altered(self._database, self._doorbells, pass_on)

    def publish(self, publication: Publication) -> None:
        """Store a message, from any thread, as if a publisher of its own had sent it."""
        with self._using:
            self._store.publish(*publication)

    def queues(self) -> list[definitions.QueueState]:
        """Count the messages of every queue that are not acknowledged, and its consumers."""
        with self._using:
            return self._store.ask(definitions.queue_states)

    def bindings(self) -> list[tuple[str, str, str]]:
        """List all bindings: queue, exchange, pattern."""
        with self._using:
            return self._store.ask(definitions.bindings)

    @property
    def _store(self) -> Store:
        if self._own is None:
            self._own = self.open()
        return self._own


class _Altered(Store):
    """What a connection can do that somebody plays tricks on."""

    def __init__(self, database: Database, doorbells: LocalDoorbells, pass_on: PassOn) -> None:
        super().__init__(database, doorbells, leave=_stay)
        self._pass_on = pass_on

    def publish(self, exchange: str, routing_key: str, properties: bytes, body: bytes) -> int:
        """Store what is passed on; say in how many queues the message itself belongs."""
        # What was lost has a confirm all the same: the publisher notices nothing.
        queues = self.matching(exchange, routing_key)
        for each in self._pass_on(Publication(exchange, routing_key, properties, body)):
            super().publish(*each)
        return queues


class MemoryTransport(StoreTransport):
    """The transport to a broker in this process; `MemoryStore.dial` makes a connection of it."""

    driver_type = "memory"

    def open_store(self) -> Store:
        """Open the store that the options hold."""
        options = self.client.transport_options
        store: MemoryStore = options["store"]
        return store.open(options.get("pass_on"))


def _stay() -> None:
    """Leave the database to the others who share it."""
