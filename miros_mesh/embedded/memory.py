"""The same broker inside one process: for tests, and for charts that never leave home."""

from __future__ import annotations

import weakref

from miros_mesh.embedded.opening import open_memory
from miros_mesh.embedded.store import Store
from miros_mesh.embedded.streets import LocalStreet
from miros_mesh.embedded.transport import StoreTransport


class MemoryStore:
    """A broker that lives as long as this object; connections of any thread may share it."""

    def __init__(self) -> None:
        self._database = open_memory()
        self._street = LocalStreet()
        weakref.finalize(self, self._database.close)

    def open(self) -> Store:
        """What one connection sees of it."""
        return Store(self._database, self._street, leave=lambda: None)


class MemoryTransport(StoreTransport):
    """`kombu.Connection(transport=MemoryTransport, transport_options={"store": MemoryStore()})`."""

    driver_type = "memory"

    def open_store(self) -> Store:
        """The store that the options hold."""
        store: MemoryStore = self.client.transport_options["store"]
        return store.open()
