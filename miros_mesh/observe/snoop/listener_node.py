"""A place on the mesh for a program that watches: a node without a chart."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

from miros_mesh.config.settings import MeshConfig
from miros_mesh.node.node import NODES, Node
from miros_mesh.node.registry import Ending
from miros_mesh.observer import Observer


class ListenerNode:
    """A node of its own with the settings' broker and keys, which sends nothing.

    No chart shares it, since its observer is in the settings by which charts find their node. It
    has no node name, which one process alone may have, and searches for no broker.
    """

    def __init__(self, config: MeshConfig, role: str, observer: Observer) -> None:
        # Stands for a chart's name in the registry of nodes; it never travels.
        self.name = f"{role}-{secrets.token_hex(4)}"
        self._config = replace(
            config,
            # A name is held at the broker, and one that a running program has would be refused.
            node_name=None,
            # It signs nothing, as it sends nothing.
            node_identity=None,
            discovery=(),
            discovery_dns_names=(),
            # The registry finds a node by its settings: with an observer that no others have, they
            # are equal to none, and each monitor gets a node of its own.
            observers=(*config.observers, observer),
        )

    def enter(self, stop: Callable[[], object]) -> Node:
        """Start the node and return it; `stop` is called at the end of the program.

        Raises what `Registry.enter` raises.
        """
        # Nothing to do at the beginning of the end, unlike a chart, which then finishes what it has
        # begun.
        return NODES.enter(self._config, self.name, Ending(lambda: None, stop))

    def leave(self, node: Node) -> None:
        """Stop the node that `enter` returned."""
        NODES.leave(node, self.name)
