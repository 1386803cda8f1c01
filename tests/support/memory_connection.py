"""A connection of Kombu that needs no server and no file."""

from __future__ import annotations

import kombu

from miros_mesh.embedded.memory import MemoryStore, MemoryTransport


def memory_connection(store: MemoryStore | None = None) -> kombu.Connection:
    """An unconnected connection to a store, a new one by default."""
    options = {"store": store or MemoryStore()}
    return kombu.Connection(transport=MemoryTransport, transport_options=options)
