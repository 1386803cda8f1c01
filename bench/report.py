"""The figures as a table, and as JSON."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from samples import Sample, Sizes
from scrape import Scrape

LOCAL = "local post_fifo"

Columns = Mapping[str, Sequence[Sample]]


def machine(versions: Sequence[str]) -> str:
    """What the figures were measured on."""
    cores = len(os.sched_getaffinity(0))
    return ", ".join(
        [
            f"{cores} core{'s' if cores > 1 else ''}",
            f"{platform.system()} {platform.machine()}",
            f"{platform.python_implementation()} {platform.python_version()}",
            *versions,
        ]
    )


def table(columns: Columns) -> str:
    """Medians of the runs, the ratio to the local chart, and the lowest and highest run below."""
    rows = [["", *columns]]
    for title, field, show in (
        ("events per second", "events_per_s", _rate),
        ("idle latency, median", "latency_median_s", _milliseconds),
        ("idle latency, p99", "latency_p99_s", _milliseconds),
    ):
        rows.append([title, *_cells(columns, field, show)])
        rows.append(["  lowest to highest run", *_ranges(columns, field, show)])
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(_line(row, widths) for row in rows)


def scraped(scrape: Scrape) -> str:
    """What a scrape takes."""
    return (
        f"A scrape of a process with {scrape.charts:,} charts ({scrape.lines:,} lines): "
        f"median {_milliseconds(scrape.median_s)}, p99 {_milliseconds(scrape.p99_s)}."
    )


def as_json(columns: Columns, sizes: Sizes, where: str, scrape: Scrape) -> dict[str, Any]:
    """Everything that was measured, and the medians."""
    return {
        "machine": where,
        "events": {"burst": sizes.burst, "idle": sizes.paced},
        "scrape": asdict(scrape),
        "columns": {
            title: {
                "runs": [asdict(sample) for sample in samples],
                "median": {f.name: _median(samples, f.name) for f in fields(Sample)},
            }
            for title, samples in columns.items()
        },
    }


def brief(sample: Sample) -> str:
    """One measurement in a few words."""
    return f"{_rate(sample.events_per_s)} events/s, {_milliseconds(sample.latency_median_s)}"


def _cells(columns: Columns, field: str, show: Callable[[float], str]) -> list[str]:
    local = _median(columns[LOCAL], field)
    cells = []
    for title, samples in columns.items():
        value = _median(samples, field)
        ratio = "" if title == LOCAL else f"  x {value / local:#.2g}".rstrip(".")
        cells.append(show(value) + ratio.ljust(8 if ratio else 0))
    return cells


def _ranges(columns: Columns, field: str, show: Callable[[float], str]) -> list[str]:
    ranges = []
    for samples in columns.values():
        values = [getattr(sample, field) for sample in samples]
        ranges.append(f"{show(min(values))} to {show(max(values))}")
    return ranges


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if index else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


def _median(samples: Sequence[Sample], field: str) -> float:
    values: list[float] = [getattr(sample, field) for sample in samples]
    return statistics.median(values)


def _rate(events_per_s: float) -> str:
    return f"{round(events_per_s, -2):,.0f}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f} ms"


def laid_out(rows: list[list[str]]) -> str:
    """Rows in columns that stand under each other."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
