"""The nodes of this process: charts with equal settings share one."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import StoppedError
from miros_mesh.node.node import Node
from miros_mesh.report import StopReport

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Ending:
    """How a chart is stopped from outside."""

    begin: Callable[[], object]
    """Returns at once; the chart finishes what it has begun."""
    stop: Callable[[], object]
    """The chart's own `stop`."""


class Nodes:
    """The live nodes, by their settings, and how their charts are stopped."""

    def __init__(self) -> None:
        self._nodes: dict[MeshConfig, Node] = {}
        # Those whose stop has begun: it may be interrupted, and is then resumed at exit.
        self._stopping: set[Node] = set()
        self._endings: dict[tuple[Node, str], Ending] = {}
        self._inherited: list[Node] = []
        self._in_use = False
        self._lock = threading.RLock()

    def enter(self, config: MeshConfig, chart: str, ending: Ending) -> Node:
        """The started node of these settings, with the chart's name reserved on it.

        Raises what `Node.start` and `Node.reserve` raise.
        """
        while True:
            node = self._reserved(config, chart, ending)
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
            self._endings.pop((node, chart), None)
            if last:
                self._stopping.add(node)
                if self._nodes.get(node.config) is node:
                    del self._nodes[node.config]
        if not last:
            return node.report()
        report = node.stop()
        self._stopping.discard(node)
        return report

    @property
    def live(self) -> tuple[Node, ...]:
        """Those that start or run at this moment; never waits for one that does."""
        return tuple(node for node in list(self._nodes.values()) if not node.stopped)

    def stop_all(self) -> None:
        """At interpreter exit, whoever forgot it: stop every chart, all within one time limit."""
        with self._lock:
            endings = list(self._endings.values())
        for call in (*(each.begin for each in endings), *(each.stop for each in endings)):
            try:
                call()
            except Exception:
                logger.exception("a chart could not be stopped at exit")
        with self._lock:
            nodes = {*self._nodes.values(), *self._stopping}
            self._nodes = {}
        for node in nodes:
            node.stop()

    def _reserved(self, config: MeshConfig, chart: str, ending: Ending) -> Node:
        with self._lock:
            self._watch_process()
            node = self._nodes.get(config)
            if node is None or node.stopped:
                node = self._nodes[config] = Node(config)
            node.reserve(chart)
            self._endings[node, chart] = ending
            return node

    def _watch_process(self) -> None:
        if not self._in_use:
            self._in_use = True
            atexit.register(self.stop_all)
            os.register_at_fork(after_in_child=self._disown)

    def _disown(self) -> None:
        """In a forked child: what the parent runs is the parent's."""
        # A thread of the parent may hold the lock for ever here.
        self._lock = threading.RLock()
        # Kept, lest the child closes what it has inherited.
        self._inherited += {*self._nodes.values(), *self._stopping}
        self._nodes, self._stopping, self._endings = {}, set(), {}
        for node in self._inherited:
            node.abandon()


# The one process-wide object: that charts of equal settings find each other's node asks for it.
NODES = Nodes()
