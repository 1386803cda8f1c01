"""Prometheus metrics of a node. The registry is an argument, since a name can exist in it once."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from miros_mesh.observer import STOPPED, Observer

PREFIX: Final = "miros_mesh_"
OTHER: Final = "other"
NETWORKS: Final = ("mesh", "snoop_trace", "snoop_spy")
MAX_NETWORKS: Final = 10
MAX_REASONS: Final = 30
MAX_SOURCES: Final = 6
SECONDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 30, 60, 300),
)

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
    "subscription_losses": ("Connections to a home broker that broke.", ("reason",)),
    "scouts": ("Addresses that discovery looked at.", ("source", "verdict")),
    "cache_reads": ("Looks into the cache of the local network: hit or miss.", ("outcome",)),
    "aliens": ("Brokers that unknown nodes named, by what became of them.", ("outcome",)),
    "charts_left": ("Charts elsewhere on the mesh that said goodbye.", ()),
    "chart_deaths": ("Charts whose thread was ended by an exception.", ("chart",)),
}


class MetricsObserver(Observer):
    """Counts what the mesh does. Nodes that report to one registry share one observer.

    A label keeps its first values and calls all later ones "other", so that no stranger and no
    bug can grow the number of time series without end.
    """

    def __init__(
        self, registry: CollectorRegistry, *, max_charts: int = 100, max_brokers: int = 100
    ) -> None:
        self._network = _Label(MAX_NETWORKS, NETWORKS)
        self._chart = _Label(max_charts)
        self._reason = _Label(MAX_REASONS)
        self._broker = _Label(max_brokers)
        self._counters = {name: _counter(name, registry) for name in _COUNTERS}
        self._confirm_seconds = _histogram(
            "confirm_seconds", "From publishing a frame to its confirm.", registry, "network"
        )
        self._delivery_seconds = _histogram(
            "delivery_seconds", "From transmit, by the sender's clock, to the FIFO.", registry
        )
        self._source = _Label(MAX_SOURCES)
        self._word = _Label(MAX_REASONS)
        self._scout_seconds = _histogram(
            "scout_seconds", "A look of discovery at one address.", registry, "source"
        )
        self._search_seconds = _histogram(
            "search_seconds", "All candidates of one source of discovery.", registry, "source"
        )
        self._peers = _Presence(
            _gauge("peer_connected", "1 while a peer is connected.", registry, "peer"), self._broker
        )
        self._blocked = _Presence(
            _gauge("peer_blocked", "1 while a peer is short of memory or disk.", registry, "peer"),
            self._broker,
        )
        self._home = _Presence(
            _gauge("subscribed", "1 while the node consumes.", registry, "broker"), self._broker
        )
        _publish_build_info(registry)

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

    def received(self, *, network: str, events: int, size_bytes: int) -> None:
        label = self._network(network)
        self._count("received_frames", 1, label)
        self._count("received_events", events, label)
        self._count("received_bytes", size_bytes, label)

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

    def peer_down(self, *, peer: str, reason: str) -> None:
        self._peers.leave(peer)
        if reason != STOPPED:
            self._count("peer_losses", 1, self._reason(reason))

    def blocked(self, *, peer: str) -> None:
        self._blocked.enter(peer)

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


class _Label:
    """A label that takes a limited number of values."""

    def __init__(self, limit: int, known: Iterable[str] = ()) -> None:
        self._limit = limit
        self._known = set(known)
        self._learning = Lock()

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        with self._learning:
            if len(self._known) < self._limit:
                self._known.add(value)
        return value if value in self._known else OTHER


class _Presence:
    """A gauge of who is there: 0 or 1 for each name, and how many of those called "other"."""

    def __init__(self, gauge: Gauge, label: _Label) -> None:
        self._gauge = gauge
        self._label = label
        self._present: set[str] = set()
        self._changing = Lock()

    def enter(self, name: str) -> None:
        with self._changing:
            self._present.add(name)
            self._show(self._label(name))

    def leave(self, name: str) -> None:
        with self._changing:
            self._present.discard(name)
            self._show(self._label(name))

    def _show(self, label: str) -> None:
        self._gauge.labels(label).set(sum(self._label(name) == label for name in self._present))


def _counter(name: str, registry: CollectorRegistry) -> Counter:
    text, labels = _COUNTERS[name]
    counter = Counter(PREFIX + name, text, labels, registry=registry)
    if labels == ("network",):
        # A series that appears with its first loss looks to an alert as if nothing had changed.
        for network in NETWORKS:
            counter.labels(network)
    return counter


def _histogram(name: str, text: str, registry: CollectorRegistry, *labels: str) -> Histogram:
    return Histogram(PREFIX + name, text, labels, registry=registry, buckets=SECONDS)


def _gauge(name: str, text: str, registry: CollectorRegistry, *labels: str) -> Gauge:
    return Gauge(PREFIX + name, text, labels, registry=registry, multiprocess_mode="livesum")


def _publish_build_info(registry: CollectorRegistry) -> None:
    # A gauge, because prometheus_client's own Info is silent in multiprocess mode.
    gauge = _gauge(
        "build_info", "Always 1; the labels say what runs.", registry, "version", "python"
    )
    gauge.labels(_version(), platform.python_version()).set(1)


def _version() -> str:
    try:
        return importlib.metadata.version("miros-mesh")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
