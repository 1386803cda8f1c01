"""Which charts the nodes have, by their rolls: also those that take part in no snoop network."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import UndecryptableFrameError
from miros_mesh.node.node import Node
from miros_mesh.observe.snoop.listener_node import ListenerNode
from miros_mesh.observer import Observer
from miros_mesh.wire.envelope import NodeRoll, RollEntry

MAX_NODES: Final = 1_000
# Of its own interval: a node that is silent for so long has gone, or is cut off.
_GONE_AFTER: Final = 3.5


@dataclass(slots=True)
class NodeCharts:
    """The charts of one process of a node."""

    incarnation: str
    started: float
    sequence: int = 0
    heard: float = 0.0
    next_s: float = 0.0
    charts: dict[str, RollEntry] = field(default_factory=dict)


class Rolls(Observer):
    """Hears the rolls of all nodes; `nodes` may be read from any thread."""

    def __init__(self, config: MeshConfig, now: Callable[[], float] = time.monotonic) -> None:
        """Take the settings, and a clock that stands while others cannot be heard."""
        # A node that tells its charts of others hears the rolls itself.
        self._listener = ListenerNode(config.overridden(tell_charts=False), "page", self)
        self._node: Node | None = None
        self._now = now
        # Guards `_nodes`. Nothing is called while it is held.
        self._changing = threading.Lock()
        self._nodes: OrderedDict[str, NodeCharts] = OrderedDict()
        # Counted on the thread that opens frames alone.
        self.undecryptable = 0

    def start(self) -> None:
        """Connect and listen. Raises the `LinkError` that prevents it."""
        self._node = node = self._listener.enter(self.stop)
        try:
            node.hear_rolls(self.hear)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Disconnect; a second call does nothing."""
        node, self._node = self._node, None
        if node:
            self._listener.leave(node)

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        # Of what else its node hears, the overview's has counted.
        if (network, reason) == ("roll", UndecryptableFrameError.reason):
            self.undecryptable += events

    def hear(self, rolls: Sequence[NodeRoll]) -> None:
        """Take what nodes say of themselves; called on the node's thread that receives."""
        with self._changing:
            for roll in rolls:
                self._take(roll)

    def nodes(self) -> dict[str, tuple[str, dict[str, RollEntry]]]:
        """Return by node its incarnation and its charts, without nodes that are silent for long."""
        now = self._now()
        with self._changing:
            for name, known in list(self._nodes.items()):
                if now - known.heard > _GONE_AFTER * known.next_s or not known.charts:
                    del self._nodes[name]
            return {n: (each.incarnation, dict(each.charts)) for n, each in self._nodes.items()}

    def _take(self, roll: NodeRoll) -> None:
        known = self._nodes.get(roll.node)
        if known is None or known.incarnation != roll.incarnation:
            if known and roll.started < known.started:
                # A late word of an earlier process.
                return
            known = self._nodes[roll.node] = NodeCharts(roll.incarnation, roll.started)
        if roll.sequence <= known.sequence:
            return
        known.sequence, known.heard, known.next_s = roll.sequence, self._now(), roll.next_s
        before = {} if roll.whole else known.charts
        said = before | {each.name: each for each in roll.charts}
        known.charts = {name: each for name, each in said.items() if each.state != "stopped"}
        self._nodes.move_to_end(roll.node)
        if len(self._nodes) > MAX_NODES:
            self._nodes.popitem(last=False)
