"""Prometheus metrics of a process."""

from miros_mesh.observe.metrics.observer import MetricsObserver

__all__ = ["MetricsObserver"]
