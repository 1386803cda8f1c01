"""How the nodes of the mesh are, as each of them tells it once a second."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import LifecycleError
from miros_mesh.health import PeerState
from miros_mesh.node.node import Node
from miros_mesh.observe.snoop.listener_node import ListenerNode
from miros_mesh.observer import Observer
from miros_mesh.wire.envelope import NodeStatus

MAX_NODES = 1_000
# A node that is silent this long has died, or is cut off; later it is shown no more.
SILENT_S = 3.5
GONE_S = 60.0
# Rates are over this many pulses, which come a second apart.
_PULSES = 4


@dataclass(frozen=True, slots=True)
class ChartView:
    """A chart, when its node was heard of last."""

    name: str
    state: str
    events_per_s: float | None
    """None until its node was heard of twice."""
    last_signal: str
    handled: int
    dead: bool


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node that takes part in a snoop network, when it was heard of last."""

    name: str
    silent_s: float
    """How long ago that is."""
    consuming: bool
    outbox_events: int
    peers: Mapping[str, PeerState]
    charts: Sequence[ChartView]

    @property
    def silent(self) -> bool:
        """Whether it should have been heard of since."""
        return self.silent_s > SILENT_S


class Overview(Observer):
    """Joins the mesh without a chart and listens to the pulses of all nodes."""

    def __init__(self, config: MeshConfig | None = None, *, max_nodes: int = MAX_NODES) -> None:
        self._listener = ListenerNode(config or MeshConfig.from_env(), "overview", self)
        self._max_nodes = max_nodes
        self._node: Node | None = None
        self._began = False
        self._heard: OrderedDict[str, deque[tuple[float, NodeStatus]]] = OrderedDict()
        self._refused = 0
        self._changing = threading.Lock()

    def start(self) -> Self:
        """Connect and listen; raises the `LinkError` that prevents it."""
        if self._began:
            raise LifecycleError("an Overview starts once; make a new one")
        self._began = True
        self._node = node = self._listener.enter(self.stop)
        try:
            node.watch(node.statuses, self._listener.name, self._take)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Disconnect; what was heard can still be read."""
        node, self._node = self._node, None
        if node:
            self._listener.leave(node)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def nodes(self) -> list[NodeView]:
        """The nodes by name, without those that left or have been silent for a minute."""
        now = time.monotonic()
        with self._changing:
            for name in [n for n, heard in self._heard.items() if now - heard[-1][0] > GONE_S]:
                del self._heard[name]
            heard = [list(each) for each in self._heard.values()]
        return sorted((_view(each, now) for each in heard), key=lambda view: view.name)

    @property
    def refused(self) -> int:
        """How many frames could not be read: under another key, say."""
        return self._refused

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self._refused += events

    def _take(self, statuses: Sequence[NodeStatus]) -> None:
        now = time.monotonic()
        with self._changing:
            for pulse in statuses:
                self._note(now, pulse)

    def _note(self, now: float, pulse: NodeStatus) -> None:
        heard = self._heard.get(pulse.node)
        if heard and heard[-1][1].incarnation != pulse.incarnation:
            # It was started anew, and counts from the beginning.
            heard = None
        if pulse.leaving:
            self._heard.pop(pulse.node, None)
            return
        if heard is None:
            heard = self._heard[pulse.node] = deque(maxlen=_PULSES)
        elif pulse.sequence <= heard[-1][1].sequence:
            return
        heard.append((now, pulse))
        self._heard.move_to_end(pulse.node)
        if len(self._heard) > self._max_nodes:
            self._heard.popitem(last=False)


def _view(heard: Sequence[tuple[float, NodeStatus]], now: float) -> NodeView:
    (_, first), (at, last) = heard[0], heard[-1]
    before = {chart.name: chart.handled for chart in first.charts}
    seconds = last.time - first.time
    charts = [
        ChartView(
            chart.name,
            chart.state,
            # A clock that was set back, or a chart that is new, gives no rate.
            (chart.handled - before[chart.name]) / seconds
            if seconds > 0 and before.get(chart.name, chart.handled + 1) <= chart.handled
            else None,
            chart.last_signal,
            chart.handled,
            chart.dead,
        )
        for chart in last.charts
    ]
    peers = {peer.name: peer.state for peer in last.peers}
    return NodeView(last.node, now - at, last.consuming, last.outbox_events, peers, charts)
