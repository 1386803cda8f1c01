"""Gauges of the nodes, as Prometheus sees them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from miros_mesh import NetworkedActiveObject
from miros_mesh.observe.metrics.observer import MetricsObserver
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import Heard, alone, node_of
from support.scraped import scraped


def test_the_states_of_a_node_are_looked_at_when_prometheus_asks(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    assert scraped(registry)["ready"] == 0
    config = MemoryMesh().config(node_name="one", observers=(observer,), outbox_events=500)
    charts = [NetworkedActiveObject(name, config=config) for name in ("door", "bell")]
    elsewhere = NetworkedActiveObject("elsewhere", config=MemoryMesh().config())
    for chart in (*charts, elsewhere):
        chart.start_at(alone(Heard()))
    try:
        samples = scraped(registry)
        assert (samples["ready"], samples["node_info/one"]) == (1, 1)
        assert (samples["charts"], samples["dead_charts"]) == (2, 0)
        assert (samples["peers/up"], samples["peers/down"], samples["peers/blocked"]) == (1, 0, 0)
        assert samples["outbox_limit_events"] == 500
        assert [v for name, v in samples.items() if name.startswith("outbox_events/")] == [0]
    finally:
        for chart in (*charts, elsewhere):
            chart.stop()
    assert scraped(registry)["ready"] == 0


def test_a_node_with_a_deaf_chart_does_not_count_as_subscribed_until_the_chart_hears_or_leaves(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    config = MemoryMesh().config(observers=(observer,))
    charts = [NetworkedActiveObject(name, config=config) for name in ("door", "bell", "hall")]
    for chart in charts:
        chart.start_at(alone(Heard()))
    node = node_of(charts[0])
    subscribed = f"subscribed/{node.home.name}"
    try:
        assert (scraped(registry)["ready"], scraped(registry)[subscribed]) == (1, 1)

        node.observer.deaf(chart="door", reason="permission")
        node.observer.deaf(chart="bell", reason="permission")
        samples = scraped(registry)
        assert (samples["ready"], samples[subscribed]) == (0, 0)
        assert (samples["chart_deaf/door"], samples["chart_deaf/bell"]) == (1, 1)

        node.observer.hearing(chart="door")
        charts[1].stop()
        samples = scraped(registry)
        assert (samples["ready"], samples[subscribed]) == (1, 1)
        assert not [name for name in samples if name.startswith("chart_deaf/")]
    finally:
        for chart in charts:
            chart.stop()
