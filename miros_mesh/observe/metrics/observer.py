"""Prometheus metrics of a process. The registry is an argument: a name can exist in it once."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from threading import Lock
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

from miros_mesh.errors import MetricNamesTakenError
from miros_mesh.node.node import NODES, Node
from miros_mesh.observe.metrics.states import Label, NodeStates
from miros_mesh.observe.version import version
from miros_mesh.observer import STOPPED, Observer

PREFIX: Final = "miros_mesh_"
NETWORKS: Final = ("mesh", "snoop_trace", "snoop_spy")
MAX_NETWORKS: Final = 10
MAX_REASONS: Final = 30
MAX_SOURCES: Final = 6
# The losses that an alert asks for. A series that appears with its first loss looks to `increase`
# as if nothing had changed, so these begin at zero.
LOSSES: Final[dict[str, tuple[str, ...]]] = {
    "mesh": (
        *("outbox_overflow", "peer_lost", "no_peer", "stopped"),
        *("payload", "undecryptable", "malformed", "oversize", "version", "signal_table_full"),
    ),
    "snoop_trace": ("outbox_overflow", "undecryptable", "malformed"),
    "snoop_spy": ("outbox_overflow", "undecryptable", "malformed"),
}
SECONDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 30, 60, 300),
)

FRAME_BYTES: Final = tuple(256 * 4**power for power in range(9))

_COUNTERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "transmitted_events": ("Events and records put into an outbox.", ("network", "chart")),
    "confirmed_frames": ("Frames that a peer confirmed.", ("network", "peer")),
    "confirmed_events": ("Events and records that a peer confirmed.", ("network", "peer")),
    "confirmed_bytes": ("Sealed bytes that a peer confirmed.", ("network", "peer")),
    "received_frames": ("Frames that arrived and were opened.", ("network",)),
    "received_events": ("Events and records that arrived.", ("network",)),
    "received_bytes": ("Sealed bytes that arrived and were opened.", ("network",)),
    "handed_over_events": ("Events that entered a chart's FIFO.", ("chart",)),
    "dropped_events": ("Events that will not be delivered.", ("network", "reason")),
    "overflowed_events": (
        "Events and records that went because the outbox for a peer was full.",
        ("network", "peer"),
    ),
    "gaps": ("Holes in the sequence numbers of a sender.", ("network",)),
    "missing_events": ("Sequence numbers in those holes.", ("network",)),
    "repaired_events": ("Missing events that came when asked for.", ("network",)),
    "peer_losses": ("Connections to peers that broke.", ("reason",)),
    "peer_reconnects": ("Connections to peers that broke and came back.", ("peer",)),
    "peer_blocks": ("Times a peer was short of memory or disk.", ("peer",)),
    "subscription_losses": ("Connections to a home broker that broke.", ("reason",)),
    "scouts": ("Addresses that discovery looked at.", ("source", "verdict")),
    "cache_reads": ("Looks into the cache of the local network: hit or miss.", ("outcome",)),
    "aliens": ("Brokers that unknown nodes named, by what became of them.", ("outcome",)),
    "charts_left": ("Charts elsewhere on the mesh that said goodbye.", ()),
    "chart_deaths": ("Charts whose thread was ended by an exception.", ("chart",)),
}


class MetricsObserver(Observer):
    """Counts what the mesh does. Nodes that report to one registry share one observer.

    Raises `MetricNamesTakenError` for a registry that has another one. A label keeps its first
    values and calls all later ones "other", so that no stranger and no bug can grow the number of
    time series without end.
    """

    def __init__(
        self,
        registry: CollectorRegistry = REGISTRY,
        *,
        max_charts: int = 100,
        max_brokers: int = 100,
    ) -> None:
        self._network = Label(MAX_NETWORKS, NETWORKS)
        self._chart = Label(max_charts)
        self._reason = Label(MAX_REASONS, (reason for own in LOSSES.values() for reason in own))
        self._broker = Label(max_brokers)
        self._source = Label(MAX_SOURCES)
        self._word = Label(MAX_REASONS)
        self._counters = {name: _counter(name) for name in _COUNTERS}
        self._confirm_seconds = _histogram(
            "confirm_seconds", "From publishing a frame to its confirm.", "network"
        )
        self._delivery_seconds = _histogram(
            "delivery_seconds", "From transmit, by the sender's clock, to the FIFO."
        )
        self._frame_bytes = _histogram(
            *("frame_bytes", "Sealed frames, confirmed or received.", "network", "direction"),
            buckets=FRAME_BYTES,
        )
        self._scout_seconds = _histogram(
            "scout_seconds", "A look of discovery at one address.", "source"
        )
        self._search_seconds = _histogram(
            "search_seconds", "A run of discovery: all candidates of one source.", "source"
        )
        connected = _gauge("peer_connected", "1 while a peer is connected.", "peer")
        blocked = _gauge("peer_blocked", "1 while a peer is short of memory or disk.", "peer")
        consuming = _gauge("subscribed", "1 while the node consumes.", "broker")
        self._peers = _Presence(connected, self._broker)
        self._blocked = _Presence(blocked, self._broker)
        self._home = _Presence(consuming, self._broker)
        self._broken: set[str] = set()
        self._max_broken = max_brokers
        _register(
            registry,
            [
                *self._counters.values(),
                *(self._confirm_seconds, self._delivery_seconds, self._frame_bytes),
                *(self._scout_seconds, self._search_seconds),
                *(connected, blocked, consuming, _build_info()),
                NodeStates(self._nodes, self._broker),
            ],
        )

    def _nodes(self) -> Iterable[Node]:
        return [node for node in NODES.live if self in node.config.observers]

    def transmitted(self, *, network: str, chart: str) -> None:
        self._count("transmitted_events", 1, self._network(network), self._chart(chart))

    def published(
        self, *, network: str, peer: str, events: int, size_bytes: int, seconds: float
    ) -> None:
        labels = self._network(network), self._broker(peer)
        self._count("confirmed_frames", 1, *labels)
        self._count("confirmed_events", events, *labels)
        self._count("confirmed_bytes", size_bytes, *labels)
        self._confirm_seconds.labels(labels[0]).observe(seconds)
        self._frame_bytes.labels(labels[0], "confirmed").observe(size_bytes)

    def received(self, *, network: str, events: int, size_bytes: int) -> None:
        label = self._network(network)
        self._count("received_frames", 1, label)
        self._count("received_events", events, label)
        self._count("received_bytes", size_bytes, label)
        self._frame_bytes.labels(label, "received").observe(size_bytes)

    def handed_over(self, *, chart: str, seconds: float) -> None:
        self._count("handed_over_events", 1, self._chart(chart))
        # A sender's clock that is ahead of ours must not make the sum of the histogram fall.
        self._delivery_seconds.observe(max(0.0, seconds))

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self._count("dropped_events", events, self._network(network), self._reason(reason))

    def overflowed(self, *, peer: str, network: str, events: int) -> None:
        self._count("overflowed_events", events, self._network(network), self._broker(peer))

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        label = self._network(network)
        self._count("gaps", 1, label)
        self._count("missing_events", missing, label)

    def repaired(self, *, network: str, events: int) -> None:
        self._count("repaired_events", events, self._network(network))

    def peer_up(self, *, peer: str) -> None:
        self._peers.enter(peer)
        if peer in self._broken:
            self._broken.discard(peer)
            self._count("peer_reconnects", 1, self._broker(peer))

    def peer_down(self, *, peer: str, reason: str) -> None:
        was_there = self._peers.leave(peer)
        if reason != STOPPED:
            self._count("peer_losses", 1, self._reason(reason))
            if was_there and len(self._broken) < self._max_broken:
                self._broken.add(peer)

    def blocked(self, *, peer: str) -> None:
        self._blocked.enter(peer)
        self._count("peer_blocks", 1, self._broker(peer))

    def unblocked(self, *, peer: str) -> None:
        self._blocked.leave(peer)

    def subscribed(self, *, broker: str) -> None:
        self._home.enter(broker)

    def unsubscribed(self, *, broker: str, reason: str) -> None:
        self._home.leave(broker)
        if reason != STOPPED:
            self._count("subscription_losses", 1, self._reason(reason))

    def scouted(self, *, source: str, host: str, verdict: str, seconds: float) -> None:
        label = self._source(source)
        self._count("scouts", 1, label, self._word(verdict))
        self._scout_seconds.labels(label).observe(seconds)

    def searched(self, *, source: str, found: int, seconds: float) -> None:
        self._search_seconds.labels(self._source(source)).observe(seconds)

    def cache_read(self, *, hit: bool) -> None:
        self._count("cache_reads", 1, "hit" if hit else "miss")

    def alien(self, *, outcome: str) -> None:
        self._count("aliens", 1, self._word(outcome))

    def chart_left(self, *, node: str, chart: str) -> None:
        self._count("charts_left", 1)

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        self._count("chart_deaths", 1, self._chart(chart))

    def _count(self, name: str, amount: int, *labels: str) -> None:
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc(amount)


class _Presence:
    """A gauge of who is there: 0 or 1 for each name, and how many of those called "other"."""

    def __init__(self, gauge: Gauge, label: Label) -> None:
        self._gauge = gauge
        self._label = label
        self._present: set[str] = set()
        self._changing = Lock()

    def enter(self, name: str) -> None:
        with self._changing:
            self._present.add(name)
            self._show(self._label(name))

    def leave(self, name: str) -> bool:
        """Whether it was there."""
        with self._changing:
            was_there = name in self._present
            self._present.discard(name)
            self._show(self._label(name))
        return was_there

    def _show(self, label: str) -> None:
        self._gauge.labels(label).set(sum(self._label(name) == label for name in self._present))


def _register(registry: CollectorRegistry, collectors: Iterable[Collector]) -> None:
    """All of them or none."""
    done: list[Collector] = []
    for collector in collectors:
        try:
            registry.register(collector)
        except ValueError as error:
            for each in done:
                registry.unregister(each)
            raise MetricNamesTakenError(
                f"the registry has metrics of the prefix {PREFIX} already: hand the first "
                "MetricsObserver to all nodes of the process, or take another CollectorRegistry"
            ) from error
        done.append(collector)


def _counter(name: str) -> Counter:
    text, labels = _COUNTERS[name]
    counter = Counter(PREFIX + name, text, labels, registry=None)
    if labels == ("network",):
        # For the same reason as the losses.
        for network in NETWORKS:
            counter.labels(network)
    if name == "cache_reads":
        for outcome in ("hit", "miss"):
            counter.labels(outcome)
    if name == "dropped_events":
        for network, reasons in LOSSES.items():
            for reason in reasons:
                counter.labels(network, reason)
    return counter


def _histogram(
    name: str, text: str, *labels: str, buckets: tuple[float, ...] = SECONDS
) -> Histogram:
    return Histogram(PREFIX + name, text, labels, registry=None, buckets=buckets)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(PREFIX + name, text, labels, registry=None, multiprocess_mode="livesum")


def _build_info() -> Gauge:
    # A gauge, because prometheus_client's own Info is silent in multiprocess mode.
    gauge = _gauge("build_info", "Always 1; the labels say what runs.", "version", "python")
    gauge.labels(version(), platform.python_version()).set(1)
    return gauge
