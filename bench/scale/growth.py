"""How a figure grows: the exponent of what it depends on, in a number and in a word."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from scale.units import Unit

Point = Mapping[str, float]
"""What one measurement has come to, by the keys of the metrics; some are not there everywhere."""
# An exponent that differs by less is taken for the same: rounds differ by as much.
NEAR = 0.15
# So many points, the largest, say how it goes on; the small ones are ruled by what is constant.
LAST = 3


@dataclass(frozen=True)
class Metric:
    """One figure of a measurement, and how it is shown."""

    key: str
    title: str
    unit: Unit
    good: bool = False
    """Whether more of it is better: a rate, and no cost."""
    plotted: bool = False


@dataclass(frozen=True)
class Growth:
    """How a figure depends on what was changed: about as its power of `exponent`."""

    exponent: float
    """Fitted to all points."""
    at_end: float
    """Fitted to the largest ones."""
    word: str
    """What `at_end` means."""


def growth(values: Mapping[int, float], metric: Metric) -> Growth | None:
    """Fit a power to the medians; None where there are too few, or one is not above zero."""
    points = sorted((count, value) for count, value in values.items())
    if len(points) < LAST or any(value <= 0 for _, value in points):
        return None
    at_end = _slope(points[-LAST:])
    return Growth(_slope(points), at_end, _word(at_end, metric.good))


def medians(points: Mapping[int, Sequence[Point]], key: str) -> dict[int, float]:
    """Return the median of the rounds for each count that has some."""
    values = {
        count: [each[key] for each in rounds if key in each] for count, rounds in points.items()
    }
    return {count: statistics.median(each) for count, each in values.items() if each}


def growing_linearly(
    lines: Collection[Sequence[tuple[float, float]]],
) -> list[tuple[float, float]]:
    """The line of what grows linearly from the lowest first point on, as far as the others go."""
    points = [point for line in lines for point in line]
    x, y = min(line[0] for line in lines)
    times = min(max(x for x, _ in points) / x, max(y for _, y in points) / y)
    return [(x, y), (x * times, y * times)] if times > 1 else []


def _slope(points: Sequence[tuple[int, float]]) -> float:
    return statistics.linear_regression(
        [math.log(count) for count, _ in points], [math.log(value) for _, value in points]
    ).slope


def _word(exponent: float, good: bool) -> str:
    if abs(exponent) <= NEAR:
        return "flat"
    if exponent < 0:
        return "falls"
    if good:
        return "rises"
    if exponent < 1 - NEAR:
        return "less than linear"
    return "linear" if exponent <= 1 + NEAR else "worse than linear"
