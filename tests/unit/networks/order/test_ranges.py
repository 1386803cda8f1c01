"""Ranges of numbers, against sets of them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.networks.order.ranges import (
    amount,
    merged,
    outside,
    shared,
    strike,
    within,
    without,
)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9))))
def test_merged_ranges_are_the_same_numbers_in_order(spans: list[tuple[int, int]]) -> None:
    ranges = [(first, first + more) for first, more in spans]

    whole = merged(ranges)

    numbers = sorted({n for first, last in ranges for n in range(first, last + 1)})
    assert [n for first, last in whole for n in range(first, last + 1)] == numbers
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(whole))


@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)), st.integers(0, 35))
def test_ranges_are_shared_and_turned_inside_out_as_sets_are(
    one: set[int], other: set[int], last: int
) -> None:
    def ranges(numbers: set[int]) -> list[tuple[int, int]]:
        return merged((n, n) for n in numbers)

    assert shared(ranges(one), ranges(other)) == ranges(one & other)
    assert outside(ranges(one), last) == ranges(set(range(1, last + 1)) - one)
    assert without(ranges(one), ranges(other)) == ranges(one - other)
    assert amount(ranges(one)) == len(one)


@given(st.sets(st.integers(1, 30)), st.integers(1, 30))
def test_a_number_is_struck_off_once(numbers: set[int], number: int) -> None:
    ranges = merged((n, n) for n in numbers)

    assert within(ranges, number) is strike(ranges, number) is (number in numbers)
    assert ranges == merged((n, n) for n in numbers - {number})
    assert not within(ranges, number)
