"""The replay window, against a plain set that remembers everything."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from miros_mesh.networks.replay import ReplayWindow, ReplayWindows, Verdict

LARGEST = 2**63 - 1
NEW, DUPLICATE, STALE = Verdict.NEW, Verdict.DUPLICATE, Verdict.STALE

near = st.integers(1, 60)
sequences = st.lists(near | st.integers(1, LARGEST), min_size=1, max_size=60)


def expected(seen: set[int], highest: int, size: int, sequence: int) -> Verdict:
    if sequence <= highest - size:
        return STALE
    return DUPLICATE if sequence in seen else NEW


@given(st.integers(1, 80), sequences)
@example(4096, [1, LARGEST])
def test_a_window_judges_like_a_set_that_remembers_everything(
    size: int, numbers: list[int]
) -> None:
    window, seen, highest = ReplayWindow(size, numbers[0]), set[int](), numbers[0] - 1

    for number in numbers:
        verdict, missing = window.check(number)

        assert verdict is expected(seen, highest, size, number)
        assert missing == max(number - highest - 1, 0)
        seen.add(number)
        highest = max(highest, number)


@given(sequences)
def test_no_number_is_new_twice(numbers: list[int]) -> None:
    window = ReplayWindow(16, numbers[0])

    new = [number for number in numbers if window.check(number)[0] is NEW]

    assert len(new) == len(set(new))


@given(st.integers(1, LARGEST - 100), st.permutations(range(20)))
def test_whatever_the_order_each_number_within_the_window_is_new_once(
    first: int, order: list[int]
) -> None:
    window = ReplayWindow(20, first + order[0])

    assert all(window.check(first + number)[0] is NEW for number in order)
    assert all(window.check(first + number)[0] is DUPLICATE for number in order)


def test_who_joins_late_has_missed_nothing() -> None:
    windows = ReplayWindows(16)

    assert windows.check("a/chart", 1_000) == (NEW, 0)


def test_a_gap_is_told_once_and_what_filled_it_is_new() -> None:
    windows = ReplayWindows(16)

    verdicts = [windows.check("a/chart", number) for number in (1, 4, 2, 3, 3, 5)]

    assert verdicts == [(NEW, 0), (NEW, 2), (NEW, 0), (NEW, 0), (DUPLICATE, 0), (NEW, 0)]


def test_what_is_older_than_the_window_is_stale_whether_it_was_seen_or_not() -> None:
    windows = ReplayWindows(4)
    for number in (1, 3, 10):
        windows.check("a/chart", number)

    assert [windows.check("a/chart", number)[0] for number in (1, 2, 3, 6, 7)] == [
        STALE,
        STALE,
        STALE,
        STALE,
        NEW,
    ]


def test_senders_do_not_know_of_each_other() -> None:
    windows = ReplayWindows(16)

    assert windows.check("a/chart", 1) == windows.check("b/chart", 1) == (NEW, 0)
    assert windows.check("a/chart", 1) == (DUPLICATE, 0)


def test_the_sender_that_was_silent_for_longest_is_forgotten_first() -> None:
    windows = ReplayWindows(16, senders=2)
    for sender in ("old", "kept", "old", "newcomer"):
        windows.check(sender, 1)

    # "kept" was silent for longest when the newcomer came.
    assert windows.check("old", 1) == (DUPLICATE, 0)
    assert windows.check("kept", 1) == (NEW, 0)
