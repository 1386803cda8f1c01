"""A registry, and an observer that reports to it."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from miros_mesh.observe.metrics.observer import MetricsObserver


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def observer(registry: CollectorRegistry) -> MetricsObserver:
    return MetricsObserver(registry)
