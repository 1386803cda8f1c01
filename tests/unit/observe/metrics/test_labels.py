"""A label keeps its first values, and a gauge says what is there."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from miros_mesh.observe.metrics.observer import MetricsObserver
from support.scraped import scraped


def test_later_charts_are_counted_together_and_none_is_lost(registry: CollectorRegistry) -> None:
    observer = MetricsObserver(registry, max_charts=2)

    for chart in ("a", "b", "c", "d", "a"):
        observer.transmitted(network="mesh", chart=chart)

    samples = scraped(registry)
    assert samples["transmitted_events_total/a/mesh"] == 2
    assert samples["transmitted_events_total/b/mesh"] == 1
    assert samples["transmitted_events_total/other/mesh"] == 2


def test_the_gauge_of_the_other_peers_says_how_many_are_connected(
    registry: CollectorRegistry,
) -> None:
    observer = MetricsObserver(registry, max_brokers=1)

    for peer in ("first", "second", "third"):
        observer.peer_up(peer=peer)
    observer.peer_down(peer="third", reason="closed")

    samples = scraped(registry)
    assert samples["peer_connected/first"] == 1
    assert samples["peer_connected/other"] == 1
