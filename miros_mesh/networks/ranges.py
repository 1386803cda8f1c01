"""Sequence numbers in ranges, as streams and messages of repair name them."""

from __future__ import annotations

from collections.abc import Iterable

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


def amount(ranges: Iterable[Range]) -> int:
    """Return how many numbers there are in ranges that do not overlap."""
    return sum(last - first + 1 for first, last in ranges)


def strike(ranges: list[Range], number: int) -> bool:
    """Strike a number off some ranges; return whether it was there."""
    for at, (first, last) in enumerate(ranges):
        if first <= number <= last:
            rest = ((first, number - 1), (number + 1, last))
            ranges[at : at + 1] = [part for part in rest if part[0] <= part[1]]
            return True
    return False


def within(ranges: Iterable[Range], number: int) -> bool:
    """Whether a number is in one of the ranges."""
    return any(first <= number <= last for first, last in ranges)
