"""The table of metrics: names, buckets, and the series that begin at zero."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from miros_mesh.observe.metrics.observer import MetricsObserver
from miros_mesh.observe.metrics.table import LOSSES, NETWORKS, SECONDS
from support.scraped import scraped


def test_the_build_is_named(registry: CollectorRegistry, observer: MetricsObserver) -> None:
    [build] = [name for name in scraped(registry) if name.startswith("build_info/")]

    assert scraped(registry)[build] == 1
    assert len(build.split("/")) == 3


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["received_events", "gaps", "missing_events"])
def test_what_is_counted_by_network_alone_starts_at_zero(
    name: str, network: str, registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    assert scraped(registry)[f"{name}_total/{network}"] == 0


def test_buckets_reach_from_half_a_millisecond_to_minutes() -> None:
    assert list(SECONDS) == sorted(SECONDS)
    assert (SECONDS[0], SECONDS[-1]) == (0.0005, 300)


def test_the_losses_that_alerts_ask_for_begin_at_zero(
    registry: CollectorRegistry, observer: MetricsObserver
) -> None:
    samples = scraped(registry)
    for network, reasons in LOSSES.items():
        for reason in reasons:
            assert samples[f"dropped_events_total/{network}/{reason}"] == 0
