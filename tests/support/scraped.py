"""What Prometheus would read of a registry."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


def scraped(registry: CollectorRegistry) -> dict[str, float]:
    """Every sample by its name and label values, in the order of the labels' names."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {_path(sample): sample.value for family in families for sample in family.samples}


def _path(sample: Sample) -> str:
    values = (sample.labels[name] for name in sorted(sample.labels))
    return "/".join([sample.name.removeprefix("miros_mesh_"), *values])
