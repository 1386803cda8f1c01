"""An embedded broker for the processes of one machine, as a Kombu transport on SQLite."""

from miros_mesh.link.embedded.home import load_or_create_key, prepare_home
from miros_mesh.link.embedded.memory import MemoryStore, MemoryTransport
from miros_mesh.link.embedded.transport import EmbeddedTransport

__all__ = [
    "EmbeddedTransport",
    "MemoryStore",
    "MemoryTransport",
    "load_or_create_key",
    "prepare_home",
]
