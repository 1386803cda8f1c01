"""The nodes of this process: charts with equal settings share one."""

from __future__ import annotations

import atexit
import threading

from miros_mesh.config import MeshConfig
from miros_mesh.errors import StoppedError
from miros_mesh.node import Node
from miros_mesh.report import StopReport


class Nodes:
    """The live nodes, by their settings."""

    def __init__(self) -> None:
        self._nodes: dict[MeshConfig, Node] = {}
        self._at_exit = False
        self._lock = threading.RLock()

    def enter(self, config: MeshConfig, chart: str) -> Node:
        """The started node of these settings, with the chart's name reserved on it.

        Raises what `Node.start` and `Node.reserve` raise.
        """
        while True:
            node = self._reserved(config, chart)
            try:
                node.start()
            except BaseException as error:
                self.leave(node, chart)
                if isinstance(error, StoppedError):
                    # It failed for, or was left by, another chart while this one waited.
                    continue
                raise
            return node

    def leave(self, node: Node, chart: str) -> StopReport:
        """A chart leaves; its node stops with the last one, and says what became of its events."""
        with self._lock:
            last = node.leave(chart)
            if last and self._nodes.get(node.config) is node:
                del self._nodes[node.config]
        return node.stop() if last else node.report()

    def stop_all(self) -> None:
        """The last net, at interpreter exit."""
        with self._lock:
            nodes, self._nodes = list(self._nodes.values()), {}
        for node in nodes:
            node.stop()

    def _reserved(self, config: MeshConfig, chart: str) -> Node:
        with self._lock:
            if not self._at_exit:
                self._at_exit = True
                atexit.register(self.stop_all)
            node = self._nodes.get(config)
            if node is None or node.stopped:
                node = self._nodes[config] = Node(config)
            node.reserve(chart)
            return node


# The one process-wide object: that charts of equal settings find each other's node asks for it.
NODES = Nodes()
