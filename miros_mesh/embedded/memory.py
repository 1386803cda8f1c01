"""The same broker inside one process: for tests, and for charts whose process is alone."""

from __future__ import annotations

import weakref

import kombu

from miros_mesh.embedded.doorbell import LocalDoorbells
from miros_mesh.embedded.schema import open_memory
from miros_mesh.embedded.store import Store
from miros_mesh.embedded.transport import StoreTransport


class MemoryStore:
    """A broker that lives as long as this object; connections of any thread may share it."""

    def __init__(self) -> None:
        self._database = open_memory()
        self._doorbells = LocalDoorbells()
        weakref.finalize(self, self._database.close)

    def dial(self) -> kombu.Connection:
        """Return an unconnected connection to this broker."""
        return kombu.Connection(transport=MemoryTransport, transport_options={"store": self})

    def open(self) -> Store:
        """Return what one connection can do with this broker."""
        return Store(self._database, self._doorbells, leave=lambda: None)


class MemoryTransport(StoreTransport):
    """The transport to a broker in this process; `MemoryStore.dial` makes a connection of it."""

    driver_type = "memory"

    def open_store(self) -> Store:
        """Open the store that the options hold."""
        store: MemoryStore = self.client.transport_options["store"]
        return store.open()
