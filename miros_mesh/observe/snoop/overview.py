"""How the nodes of the mesh are, by the status that each of them sends once a second."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import LifecycleError
from miros_mesh.health import Outage
from miros_mesh.node.node import Node
from miros_mesh.observe.snoop.listener_node import ListenerNode
from miros_mesh.observe.snoop.listening import ListeningClock
from miros_mesh.observe.snoop.views import ChartView, NodeView, RequestView, WorkView
from miros_mesh.observer import Observer
from miros_mesh.wire.envelope import ChartWork, NodeStatus, WorkingStatus

MAX_NODES = 1_000
# Long enough to see in a table that a node is silent, and to find out why.
GONE_S = 60.0
# A rate is over the last three seconds: four statuses, which come a second apart.
_KEPT = 4

Heard = tuple[float, NodeStatus]
"""When it came, by the clock of the overview, and what the node said."""


class Overview(Observer):
    """Joins the mesh without a chart and keeps the last statuses of all nodes.

        with Overview(config) as overview:
            print(overview.nodes)

    While it is cut off from its broker, the nodes are shown as they were then, and none falls
    silent. All but `start` and `stop`, which are for its owner, may be called from any thread.
    """

    def __init__(self, config: MeshConfig | None = None, *, max_nodes: int = MAX_NODES) -> None:
        self._listener = ListenerNode(config or MeshConfig.from_env(), "overview", self)
        self._max_nodes = max_nodes
        self.clock = ListeningClock()
        # This and `_began` are for the owner's thread alone, and for the end of the program.
        self._node: Node | None = None
        self._began = False
        # Guards `_heard`, which a thread of the node fills. Nothing is called while it is held.
        self._changing = threading.Lock()
        # By node name, the longest silent first; of each at most `_KEPT`, the oldest first.
        self._heard: OrderedDict[str, deque[Heard]] = OrderedDict()
        # Only the thread that opens frames counts: this node sends nothing that could be dropped.
        self._refused: Counter[str] = Counter()

    def start(self) -> Self:
        """Connect and listen.

        Raises the `LinkError` that prevents it, or `LifecycleError` the second time.
        """
        if self._began:
            raise LifecycleError("an Overview starts once; make a new one")
        self._began = True
        # Outside the `try`: what fails to start leaves nothing that could be stopped.
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
        """The nodes by name, without those that left or were silent for `GONE_S`."""
        now = self.clock()
        with self._changing:
            for name in [n for n, heard in self._heard.items() if now - heard[-1][0] > GONE_S]:
                del self._heard[name]
            # Copies, since the node's thread adds to the deques as soon as the lock is free.
            heard = [list(each) for each in self._heard.values()]
        return sorted((_view(each, now) for each in heard), key=lambda view: view.name)

    @property
    def refused(self) -> Mapping[str, int]:
        """How many frames could not be read, by reason; `undecryptable`: under another key."""
        # A copy in one step of the interpreter: the node's thread may count meanwhile.
        return dict(self._refused)

    @property
    def outage(self) -> tuple[str, Outage] | None:
        """The broker that it cannot hear, with why and since when; None while it can."""
        node = self._node
        health = node.health() if node else None
        if health is None or health.consuming or health.home not in health.outages:
            return None
        return health.home, health.outages[health.home]

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self._refused[reason] += events

    def unsubscribed(self, *, broker: str, reason: str) -> None:
        now = self.clock()
        with self._changing:
            last = max((heard[-1][0] for heard in self._heard.values()), default=now)
        self.clock.stand(last)

    def subscribed(self, *, broker: str) -> None:
        self.clock.go_on()

    def _take(self, statuses: Sequence[NodeStatus]) -> None:
        # By this host's clock: that of the other node may be wrong by hours, and may be set.
        now = self.clock()
        with self._changing:
            for status in statuses:
                self._note(now, status)

    def _note(self, now: float, status: NodeStatus) -> None:
        heard = self._heard.get(status.node)
        if heard and heard[-1][1].incarnation != status.incarnation:
            # By the node's own clock: a late status of an earlier incarnation. Where that clock was
            # set back with the restart, the new incarnation is shown once the old one is gone.
            if status.time < heard[-1][1].time:
                return
            # The node was started again, and its counts with it.
            heard = None
        if status.leaving:
            self._heard.pop(status.node, None)
            return
        if heard is None:
            heard = self._heard[status.node] = deque(maxlen=_KEPT)
        # A status that came late or twice, say after a connection that broke: older than what is
        # shown.
        elif status.sequence <= heard[-1][1].sequence:
            return
        heard.append((now, status))
        self._heard.move_to_end(status.node)
        if len(self._heard) > self._max_nodes:
            self._heard.popitem(last=False)


def _view(heard: Sequence[Heard], now: float) -> NodeView:
    # The same status where only one has come: a rate over no time is None.
    (_, first), (at, last) = heard[0], heard[-1]
    before = {chart.name: chart.handled for chart in first.charts}
    # By the sender's clock: how long a status was under way does not count.
    seconds = last.time - first.time
    charts = [
        ChartView(
            chart.name,
            chart.state,
            _rate(before.get(chart.name), chart.handled, seconds),
            chart.last_signal,
            chart.handled,
            chart.dead,
        )
        for chart in last.charts
    ]
    peers = {peer.name: peer.state for peer in last.peers}
    return NodeView(
        last.node,
        now - at,
        last.consuming,
        last.outbox_events,
        peers,
        charts,
        last.incarnation,
        [_work(each) for each in last.work] if isinstance(last, WorkingStatus) else [],
    )


def _work(said: ChartWork) -> WorkView:
    asks = [RequestView(each.event, each.signal, each.waited_s) for each in said.asks]
    return WorkView(
        said.chart, said.waiting, said.event, said.same_for_s, asks, said.deaf, said.group
    )


def _rate(before: int | None, handled: int, seconds: float) -> float | None:
    """Return events per second; None for a chart that is new, or whose count or clock went back."""
    if before is None or handled < before or seconds <= 0:
        return None
    return (handled - before) / seconds
