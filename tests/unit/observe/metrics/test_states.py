"""Gauges of the nodes, as Prometheus sees them."""

from __future__ import annotations

import pytest
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


def test_a_node_with_a_deaf_chart_does_not_count_as_subscribed(
    registry: CollectorRegistry, observer: MetricsObserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = MemoryMesh().config(observers=(observer,))
    chart = NetworkedActiveObject("door", config=config)
    chart.start_at(alone(Heard()))
    node = node_of(chart)
    subscribed = f"subscribed/{node.home.name}"
    try:
        assert (scraped(registry)["ready"], scraped(registry)[subscribed]) == (1, 1)
        assert not [name for name in scraped(registry) if name.startswith("chart_deaf/")]

        refused = [(node.queues.of_chart(name, "#"), "permission") for name in ("door", "bell")]
        monkeypatch.setattr(node.subscriber, "refused", lambda: refused)

        samples = scraped(registry)
        assert (samples["ready"], samples[subscribed]) == (0, 0)
        assert (samples["chart_deaf/door"], samples["chart_deaf/bell"]) == (1, 1)
    finally:
        chart.stop()
