"""The table of metrics: names, buckets, and the series that begin at zero."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from miros_mesh.node.network_specs import NAMES
from miros_mesh.observe.metrics.observer import MAX_NETWORKS, MAX_REASONS, MetricsObserver
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


def test_there_is_room_for_every_network_and_every_reason_of_the_library() -> None:
    page = Path(__file__).parents[4] / "docs/observability.md"
    _, _, rest = page.read_text().partition("`miros_mesh_dropped_events_total`:\n\n")
    rows, _, _ = rest.partition("\n\n")
    reasons = {
        word for row in rows.splitlines() for word in re.findall(r"`(\w+)`", row.split("|")[1])
    }

    assert {"expired", "late_reply", "partition_by"} <= reasons
    assert len(reasons) < MAX_REASONS
    # Beside them stands `chart`, for what a chart loses of its own.
    assert len(NAMES) + 1 < MAX_NETWORKS
