"""Gauges of the nodes, which are looked at when Prometheus asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from miros_mesh.node.node import Node
from miros_mesh.observe.metrics.labels import Label

# A process has a node for each set of settings of its charts: mostly one.
MAX_NODES: Final = 10
STATES: Final = ("up", "down", "blocked")

_GAUGES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "miros_mesh_node_info": ("Always 1; the label names a node of the process.", ("node",)),
    "miros_mesh_ready": ("1 while all nodes of the process are connected and hear.", ()),
    "miros_mesh_charts": ("Charts, dead ones among them.", ()),
    "miros_mesh_dead_charts": ("Charts whose handler raised, and that were not stopped.", ()),
    "miros_mesh_open_requests": ("Requests that wait for an answer.", ()),
    "miros_mesh_subscribed": (
        "1 while a node receives from its home broker by every queue that it has there.",
        ("broker",),
    ),
    "miros_mesh_chart_deaf": ("1 for a chart whose queue cannot be consumed.", ("chart",)),
    "miros_mesh_peers": ("Peers by state: up, down, or blocked for want of memory.", ("state",)),
    "miros_mesh_outbox_events": ("Events that wait for a peer's confirm.", ("peer",)),
    "miros_mesh_outbox_limit_events": ("How many may wait for one peer.", ()),
}


class NodeStates(Collector):
    """Gauges of the nodes that `nodes` names at the moment of a scrape: no hook keeps them."""

    def __init__(self, nodes: Callable[[], Iterable[Node]], broker: Label, chart: Label) -> None:
        self._nodes = nodes
        self._broker = broker
        self._chart = chart
        self._node = Label(MAX_NODES)

    def describe(self) -> Iterable[Metric]:
        """Return the gauges without values, for a registry that asks for their names."""
        return [_gauge(name) for name in _GAUGES]

    def collect(self) -> Iterable[Metric]:
        """Return the gauges of this moment; without a node all of them are zero."""
        # On the thread of the scrape. A node that stops meanwhile still answers, with what it was.
        nodes = list(self._nodes())
        states = dict.fromkeys(STATES, 0)
        outboxes: Counter[str] = Counter()
        consuming: Counter[str] = Counter()
        deaf: Counter[str] = Counter()
        # As `/ready` says: without a node the process handles nothing.
        dead, ready = 0, bool(nodes)
        for node in nodes:
            health = node.health()
            ready = ready and health.ready
            dead += len(health.dead_charts)
            consuming[self._broker(health.home)] += health.consuming
            # Names beyond the limit of the label are counted together.
            deaf.update(map(self._chart, health.deaf_charts))
            for state in health.peers.values():
                states[state] += 1
            for peer, events in node.outboxes().items():
                # A sum: several nodes may send to one peer, and peers beyond the limit of the label
                # are `other`.
                outboxes[self._broker(peer)] += events
        # The largest one is shown; nodes of one process mostly have the same.
        limits = [node.config.outbox_events for node in nodes]
        yield _gauge("miros_mesh_node_info", {self._node(node.name): 1 for node in nodes})
        yield _gauge("miros_mesh_ready", float(ready))
        yield _gauge("miros_mesh_charts", sum(node.charts for node in nodes))
        yield _gauge("miros_mesh_dead_charts", dead)
        yield _gauge("miros_mesh_open_requests", sum(node.open_requests for node in nodes))
        yield _gauge("miros_mesh_subscribed", consuming)
        yield _gauge("miros_mesh_chart_deaf", deaf)
        yield _gauge("miros_mesh_peers", states)
        yield _gauge("miros_mesh_outbox_events", outboxes)
        yield _gauge("miros_mesh_outbox_limit_events", max(limits, default=0))


def _gauge(name: str, values: dict[str, int] | float | None = None) -> GaugeMetricFamily:
    text, labels = _GAUGES[name]
    if isinstance(values, dict):
        family = GaugeMetricFamily(name, text, labels=labels)
        for label, value in values.items():
            family.add_metric([label], value)
        return family
    # prometheus_client refuses a family with both a value and labels.
    return GaugeMetricFamily(
        name, text, value=values, labels=None if values is not None else labels
    )
