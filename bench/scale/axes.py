"""An axis: what is changed, what is measured at each of its points, and rounds along it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from brokers import Measured
from measure import MeasureError
from scale.growth import Metric, Point

Take = Callable[[Measured, int], Point]
"""Measures one point of an axis, over this broker."""


@dataclass(frozen=True)
class Axis:
    """What is changed, and what is measured of it."""

    name: str
    what: str
    """What the numbers count, as the heading of its table."""
    counts: tuple[int, ...]
    quick: tuple[int, ...]
    """The counts that show that it works."""
    metrics: tuple[Metric, ...]
    limit_s: float
    """No round begins that would end later; the first one is always made."""
    open: Callable[[tuple[int, ...]], AbstractContextManager[Take]]
    """Starts what all its points need."""
    suits: Callable[[Measured], bool] = lambda _: True


@dataclass
class Walked:
    """What was measured along an axis."""

    axis: Axis
    counts: tuple[int, ...]
    points: dict[str, dict[int, list[Point]]]
    """By the titles of brokers, then by count: one for each round."""
    rounds: int = 0
    failures: list[str] = field(default_factory=list)


def walk(axis: Axis, brokers: Sequence[Measured], counts: tuple[int, ...], rounds: int) -> Walked:
    """Measure every point over each broker in turn, so that a slow moment hits all of them.

    A point that comes to no figure is told, and left out of later rounds.
    """
    chosen = [broker for broker in brokers if axis.suits(broker)]
    walked = Walked(axis, counts, {b.title: {count: [] for count in counts} for b in chosen})
    if not chosen:
        say(f"{axis.name}: left out, none of the brokers can be measured so")
        return walked
    with axis.open(counts) as take:
        began = time.monotonic()
        while walked.rounds < rounds and _fits(walked, time.monotonic() - began):
            _round(walked, chosen, take, f"round {walked.rounds + 1} of {rounds}")
            walked.rounds += 1
    return walked


def _fits(walked: Walked, spent_s: float) -> bool:
    done = walked.rounds
    return not done or spent_s * (done + 1) / done <= walked.axis.limit_s


def _round(walked: Walked, brokers: Sequence[Measured], take: Take, which: str) -> None:
    axis = walked.axis
    for count in walked.counts:
        for broker in brokers:
            where = f"{broker.title}, {axis.name} {count:,}"
            if any(each.startswith(f"{where}: ") for each in walked.failures):
                continue
            try:
                point = take(broker, count)
            except MeasureError as error:
                walked.failures.append(f"{where}: {error}")
                say(f"{axis.name}, {which}: {where} came to nothing: {error}")
                continue
            walked.points[broker.title][count].append(point)
            say(f"{axis.name}, {which}: {count:>6,} {broker.title.ljust(8)}  {_brief(axis, point)}")


def _brief(axis: Axis, point: Mapping[str, float]) -> str:
    return ", ".join(
        f"{metric.title} {metric.unit.show(point[metric.key])}"
        for metric in axis.metrics
        if metric.plotted and metric.key in point
    )


def say(text: str) -> None:
    """Tell of progress."""
    print(text, file=sys.stderr, flush=True)
