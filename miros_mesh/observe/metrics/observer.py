"""The observer that counts what the hooks tell, in metrics of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.registry import Collector

from miros_mesh.errors import MetricNamesTakenError
from miros_mesh.networks.requests import ANSWERED, OUTCOMES
from miros_mesh.node.node import NODES, Node
from miros_mesh.observe.metrics.labels import Label, Presence
from miros_mesh.observe.metrics.states import NodeStates
from miros_mesh.observe.metrics.table import (
    COUNTERS,
    HISTOGRAMS,
    LOSSES,
    NETWORKS,
    PREFIX,
    build_info,
    counter,
    gauge,
    histogram,
)
from miros_mesh.observer import STOPPED, Observer

# Of each of these labels the library itself has fewer values; the rest is room for those to come.
MAX_NETWORKS: Final = 12
MAX_REASONS: Final = 50
MAX_SOURCES: Final = 6


class MetricsObserver(Observer):
    """Counts what the mesh does. Nodes that report to one registry share one observer.

    A label keeps its first values and calls all later ones "other", so that no stranger and no bug
    can grow the number of time series without end.
    """

    def __init__(
        self,
        registry: CollectorRegistry = REGISTRY,
        *,
        max_charts: int = 100,
        max_brokers: int = 100,
    ) -> None:
        """Register the metrics, all of them or none.

        Args:
            registry: where they go; each name can be in it once.
            max_charts: how many values the label `chart` takes.
            max_brokers: how many values the labels `peer` and `broker` take.

        Raises:
            MetricNamesTakenError: the registry has another observer's metrics.
        """
        # Hooks come from the threads of all nodes at once. Labels, gauges of presence and the
        # metrics of prometheus_client have their own locks; this object has none.
        self._network = Label(MAX_NETWORKS, NETWORKS)
        self._chart = Label(max_charts)
        self._reason = Label(MAX_REASONS, (reason for own in LOSSES.values() for reason in own))
        self._broker = Label(max_brokers)
        self._source = Label(MAX_SOURCES)
        # Of verdicts of discovery and of what became of aliens, together.
        self._word = Label(MAX_REASONS)
        # The library has no more of these.
        self._outcome = Label(len(OUTCOMES), OUTCOMES)
        self._counters = {name: counter(name) for name in COUNTERS}
        self._histograms = {name: histogram(name) for name in HISTOGRAMS}
        connected, blocked = gauge("peer_connected"), gauge("peer_blocked")
        self._peers = Presence(connected, self._broker)
        self._blocked = Presence(blocked, self._broker)
        # Peers that were lost and are not back. Without a lock: each operation on a set is atomic.
        self._broken: set[str] = set()
        self._max_broken = max_brokers
        # Last: from here on a scrape may come at any moment, on a thread of its own.
        _register(
            registry,
            [
                *self._counters.values(),
                *self._histograms.values(),
                *(connected, blocked, build_info()),
                NodeStates(self._nodes, self._broker, self._chart),
            ],
        )

    def _nodes(self) -> Iterable[Node]:
        # Two observers with a registry each may live in one process, and each shows its own nodes.
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
        self._observe("confirm_seconds", seconds, labels[0])
        self._observe("frame_bytes", size_bytes, labels[0], "confirmed")

    def received(self, *, network: str, events: int, size_bytes: int) -> None:
        label = self._network(network)
        self._count("received_frames", 1, label)
        self._count("received_events", events, label)
        self._count("received_bytes", size_bytes, label)
        self._observe("frame_bytes", size_bytes, label, "received")

    def handed_over(self, *, chart: str, seconds: float) -> None:
        self._count("handed_over_events", 1, self._chart(chart))
        # A sender's clock that is ahead of ours must not make the sum of the histogram fall.
        self._observe("delivery_seconds", max(0.0, seconds))

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self._count("dropped_events", events, self._network(network), self._reason(reason))

    def overflowed(self, *, peer: str, network: str, events: int) -> None:
        self._count("overflowed_events", events, self._network(network), self._broker(peer))

    def publication_refused(self, *, peer: str, network: str, reason: str, events: int) -> None:
        labels = self._network(network), self._broker(peer), self._reason(reason)
        self._count("refused_events", events, *labels)

    def unroutable(self, *, peer: str, topic: str, events: int) -> None:
        self._count("unroutable_events", events, self._broker(peer))

    def set_aside(self, *, chart: str, reason: str) -> None:
        self._count("dead_letters", 1, self._chart(chart), self._reason(reason))

    def request_ended(self, *, chart: str, outcome: str, seconds: float) -> None:
        self._count("requests_ended", 1, self._chart(chart), self._outcome(outcome))
        if outcome == ANSWERED:
            self._observe("round_trip_seconds", seconds)

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        label = self._network(network)
        self._count("gaps", 1, label)
        self._count("missing_events", missing, label)

    def repaired(self, *, network: str, events: int) -> None:
        self._count("repaired_events", events, self._network(network))

    def peer_up(self, *, peer: str) -> None:
        self._peers.enter(peer)
        # A node calls the hooks of one peer on one thread, that of its publisher.
        if peer in self._broken:
            self._broken.discard(peer)
            self._count("peer_reconnects", 1, self._broker(peer))

    def peer_down(self, *, peer: str, reason: str) -> None:
        was_there = self._peers.leave(peer)
        if reason != STOPPED:
            self._count("peer_losses", 1, self._reason(reason))
            # A peer that was never connected is no lost one, however often an attempt fails. The
            # limit bounds the memory: discovery may bring brokers for months that never come back.
            if was_there and len(self._broken) < self._max_broken:
                self._broken.add(peer)

    def unreached(self, *, peer: str, reason: str) -> None:
        self._count("connection_failures", 1, self._broker(peer), self._reason(reason))

    def blocked(self, *, peer: str) -> None:
        self._blocked.enter(peer)
        self._count("peer_blocks", 1, self._broker(peer))

    def unblocked(self, *, peer: str) -> None:
        self._blocked.leave(peer)

    def unsubscribed(self, *, broker: str, reason: str) -> None:
        if reason != STOPPED:
            self._count("subscription_losses", 1, self._reason(reason))

    def scouted(self, *, source: str, host: str, verdict: str, seconds: float) -> None:
        label = self._source(source)
        self._count("scouts", 1, label, self._word(verdict))
        self._observe("scout_seconds", seconds, label)

    def searched(self, *, source: str, found: int, seconds: float) -> None:
        self._observe("search_seconds", seconds, self._source(source))

    def cache_read(self, *, hit: bool) -> None:
        self._count("cache_reads", 1, "hit" if hit else "miss")

    def alien(self, *, outcome: str) -> None:
        self._count("aliens", 1, self._word(outcome))

    def chart_left(self, *, node: str, chart: str) -> None:
        self._count("charts_left", 1)

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        self._count("chart_deaths", 1, self._chart(chart))

    def chart_revived(self, *, chart: str) -> None:
        self._count("chart_revivals", 1, self._chart(chart))

    def thread_died(self, *, thread: str, peer: str, error: BaseException) -> None:
        self._count("thread_deaths", 1, self._broker(peer))

    def _count(self, name: str, amount: int, *labels: str) -> None:
        counter = self._counters[name]
        (counter.labels(*labels) if labels else counter).inc(amount)

    def _observe(self, name: str, value: float, *labels: str) -> None:
        own = self._histograms[name]
        (own.labels(*labels) if labels else own).observe(value)


def _register(registry: CollectorRegistry, collectors: Iterable[Collector]) -> None:
    """Register all of them, or none."""
    done: list[Collector] = []
    for collector in collectors:
        try:
            registry.register(collector)
        except ValueError as error:
            # What stayed would make the next attempt fail because of this one.
            for each in done:
                registry.unregister(each)
            raise MetricNamesTakenError(
                f"the registry has metrics of the prefix {PREFIX} already: hand the first "
                "MetricsObserver to all nodes of the process, or take another CollectorRegistry"
            ) from error
        done.append(collector)
