"""What was measured along an axis as a table, as JSON and as lines of a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from scale.axes import Walked
from scale.growth import Growth, Metric, Point, growth, medians


def rounds_of(walked: Walked) -> str:
    """How often all was measured."""
    return f"Medians of {walked.rounds} rounds." if walked.rounds > 1 else "One round."


def table(walked: Walked) -> str:
    """A row for each metric and broker: the medians, and how they grow."""
    rows = [[walked.axis.what, *(f"{count:,}" for count in walked.counts), "power", "at the end"]]
    rows[0].append("grows")
    for title, points in walked.points.items():
        rows.append([title, *([""] * (len(rows[0]) - 1))])
        rows += [
            _row(walked.counts, points, metric)
            for metric in walked.axis.metrics
            if medians(points, metric.key)
        ]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(_line(row, widths) for row in rows)


def figures(walked: Walked) -> dict[str, Any]:
    """Everything that was measured along an axis, the medians, and how they grow."""
    return {
        "what": walked.axis.what,
        "rounds": walked.rounds,
        "failures": walked.failures,
        "brokers": {
            title: {metric.key: _figure(points, metric) for metric in walked.axis.metrics}
            for title, points in walked.points.items()
        },
    }


def series(walked: Walked, metric: Metric) -> dict[str, list[tuple[float, float]]]:
    """The medians of a metric in its unit, as a line for each broker; without those of zero."""
    lines = {
        title: [
            (float(count), value * metric.unit.factor)
            for count, value in medians(points, metric.key).items()
            if value > 0
        ]
        for title, points in walked.points.items()
    }
    return {title: line for title, line in lines.items() if line}


def _figure(points: Mapping[int, Sequence[Point]], metric: Metric) -> dict[str, Any]:
    values = medians(points, metric.key)
    grown = growth(values, metric)
    return {
        "rounds": {
            count: [p[metric.key] for p in points[count] if metric.key in p] for count in values
        },
        "median": values,
        "growth": asdict(grown) if grown else None,
    }


def _row(counts: Sequence[int], points: Mapping[int, Sequence[Point]], metric: Metric) -> list[str]:
    values = medians(points, metric.key)
    cells = [metric.unit.show(values[count]) if count in values else "-" for count in counts]
    return [f"  {metric.title}", *cells, *_grows(growth(values, metric))]


def _grows(grown: Growth | None) -> list[str]:
    if grown is None:
        return ["", "", ""]
    return [f"{grown.exponent:+.2f}", f"{grown.at_end:+.2f}", grown.word]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    *_, last = range(len(row))
    return "  ".join(
        cell.ljust(width) if index in (0, last) else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()
