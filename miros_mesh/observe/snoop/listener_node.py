"""A place on the mesh for whoever watches it: a node without a chart."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

from miros_mesh.config.settings import MeshConfig
from miros_mesh.node.node import NODES, Node
from miros_mesh.node.registry import Ending
from miros_mesh.observer import Observer


class ListenerNode:
    """A node of its own with the settings' broker and keys; it speaks to nobody."""

    def __init__(self, config: MeshConfig, role: str, observer: Observer) -> None:
        self.name = f"{role}-{secrets.token_hex(4)}"
        # A node name is one process's, and whoever only listens has nobody to find. The observer
        # is nobody else's either, so no chart with the same settings shares this node.
        self._config = replace(
            config,
            node_name=None,
            discovery=(),
            discovery_dns_names=(),
            observers=(*config.observers, observer),
        )

    def enter(self, stop: Callable[[], object]) -> Node:
        """The started node; `stop` is called at interpreter exit. Raises what `Node.start` does."""
        return NODES.enter(self._config, self.name, Ending(lambda: None, stop))

    def leave(self, node: Node) -> None:
        """Stop the node."""
        NODES.leave(node, self.name)
