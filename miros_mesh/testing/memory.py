"""A mesh without a broker, a file or a second process."""

from __future__ import annotations

from typing import Any

from miros_mesh.config.settings import MeshConfig
from miros_mesh.embedded.memory import MemoryStore
from miros_mesh.link.kombu_link import KombuLink
from miros_mesh.link.ports import LinkSettings
from miros_mesh.wire.keyring import generate_key


class MemoryMesh:
    """Charts hear each other when their configs come from the same `MemoryMesh`.

        mesh = MemoryMesh()
        a = NetworkedActiveObject("a", config=mesh.config(node_name="one"))
        b = NetworkedActiveObject("b", config=mesh.config(node_name="two"))

    It passes the same contract tests as the embedded broker and RabbitMQ.
    """

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._key = generate_key()

    def config(self, **settings: Any) -> MeshConfig:
        """Settings of a node on this mesh; any field of `MeshConfig` may be given."""
        # `link_factory` is compared, so only configs of one mesh can be equal and share a node.
        return MeshConfig(**{"mesh_encryption_key": self._key, "link_factory": self, **settings})

    def __call__(self, settings: LinkSettings) -> KombuLink:
        """Make the link of a node on this mesh."""
        return memory_link(settings, self._store)


def memory_link(settings: LinkSettings, store: MemoryStore) -> KombuLink:
    """Make a link between nodes of one process."""
    return KombuLink(settings, lambda _: store.dial())
