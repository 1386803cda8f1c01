"""Sequence numbers in ranges, as streams and messages of repair name them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

Range = tuple[int, int]
"""Sequence numbers from the first to the last, both included."""


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Return the same numbers in ranges that are in order and neither overlap nor touch."""
    whole: list[Range] = []
    for first, last in sorted(ranges):
        if whole and first <= whole[-1][1] + 1:
            whole[-1] = whole[-1][0], max(whole[-1][1], last)
        else:
            whole.append((first, last))
    return whole


def shared(one: Iterable[Range], other: Iterable[Range]) -> list[Range]:
    """Return the numbers that are in both, in order."""
    both: list[Range] = []
    ones, others = merged(one), merged(other)
    at, beside = 0, 0
    while at < len(ones) and beside < len(others):
        first = max(ones[at][0], others[beside][0])
        last = min(ones[at][1], others[beside][1])
        if first <= last:
            both.append((first, last))
        if ones[at][1] < others[beside][1]:
            at += 1
        else:
            beside += 1
    return both


def outside(ranges: Iterable[Range], last: int) -> list[Range]:
    """Return the numbers from 1 to `last` that are in none of the ranges, in order."""
    others, after = list[Range](), 1
    for first, end in merged(ranges):
        if first > last:
            break
        if first > after:
            others.append((after, first - 1))
        after = end + 1
    return [*others, (after, last)] if after <= last else others


def without(ranges: Sequence[Range], others: Iterable[Range]) -> list[Range]:
    """Return the numbers of ranges, which are in order, that are in none of the others."""
    return shared(ranges, outside(others, ranges[-1][1])) if ranges else []


def amount(ranges: Iterable[Range]) -> int:
    """Return how many numbers there are in ranges that do not overlap."""
    return sum(last - first + 1 for first, last in ranges)


def strike(ranges: list[Range], number: int) -> bool:
    """Strike a number off ranges that are in order; return whether it was there."""
    at = _place(ranges, number)
    if at < 0:
        return False
    first, last = ranges[at]
    rest = ((first, number - 1), (number + 1, last))
    ranges[at : at + 1] = [part for part in rest if part[0] <= part[1]]
    return True


def within(ranges: Sequence[Range], number: int) -> bool:
    """Whether a number is in one of the ranges, which are in order."""
    return _place(ranges, number) >= 0


def _place(ranges: Sequence[Range], number: int) -> int:
    """Return which of the ranges a number is in; -1 for none."""
    at = bisect_right(ranges, number, key=_first) - 1
    return at if at >= 0 and number <= ranges[at][1] else -1


def _first(numbers: Range) -> int:
    return numbers[0]
