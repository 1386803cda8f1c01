"""What was sent lately is found again, and no more than may be kept."""

from __future__ import annotations

import math
import time

from miros_mesh.networks.history import History


def kept(history: History, chart: str = "talker", *ranges: tuple[int, int]) -> list[int]:
    return [found.sequence for found in history.find(chart, ranges or [(1, 1_000)])]


def history(*, max_events: int = 100, max_bytes: int = 10_000) -> History:
    return History(max_events=max_events, max_bytes=max_bytes)


def test_what_is_asked_for_is_found_in_the_order_in_which_it_was_sent() -> None:
    sent = history()
    for number in range(1, 10):
        sent.add("talker", number, bytes(1), "key")
        sent.add("other", number, bytes(1), "key")

    assert kept(sent, "talker", (6, 7), (2, 3), (9, 40)) == [2, 3, 6, 7, 9]
    assert kept(sent, "nobody") == []


def test_ranges_may_overlap() -> None:
    sent = history()
    for number in range(21, 41):
        sent.add("talker", number, bytes(1), "key")

    assert kept(sent, "talker", (19, 30), (20, 20)) == list(range(21, 31))


def test_the_oldest_ones_make_room() -> None:
    few, small = history(max_events=3), history(max_bytes=25)
    for number in range(1, 10):
        few.add("talker", number, bytes(1), "key")
        small.add("talker", number, bytes(10), "key")

    assert kept(few) == [7, 8, 9]
    assert kept(small) == [8, 9]


def test_what_is_forgotten_on_purpose_is_found_no_more_and_makes_room() -> None:
    sent = history(max_bytes=30)
    for number in range(1, 4):
        sent.add("talker", number, bytes(10), "key")

    sent.forget("talker", 2)
    sent.forget("talker", 2)
    sent.forget("nobody", 3)
    sent.add("talker", 4, bytes(10), "key")

    assert kept(sent) == [1, 3, 4]


def test_what_was_sent_before_a_time_is_not_found_and_told_by_its_last_number() -> None:
    sent = history()
    sent.add("other", 1, bytes(1), "key")
    for number in (1, 2):
        sent.add("talker", number, bytes(1), "key")
    between = time.monotonic()
    for number in (3, 4):
        sent.add("talker", number, bytes(1), "key")
    sent.forget("talker", 3)

    found = sent.find("talker", [(1, 9)], between)
    assert [each.sequence for each in found] == [4]
    assert sent.sent_before("talker", between, 4) == 2
    assert sent.sent_before("talker", 0.0, 4) == 0
    assert sent.sent_before("talker", math.inf, 4) == 4
    assert sent.sent_before("other", between, 1) == 1
    assert sent.sent_before("nobody", between, 0) == 0


def test_what_had_to_make_room_counts_as_sent_before_where_that_is_known() -> None:
    sent = history(max_events=2)
    for number in range(1, 5):
        sent.add("talker", number, bytes(1), "key")
    between = time.monotonic()
    assert sent.sent_before("talker", between, 4) == 4

    sent.add("talker", 5, bytes(1), "key")
    assert sent.sent_before("talker", between, 5) == 4
    sent.add("talker", 6, bytes(1), "key")
    assert sent.sent_before("talker", between, 6) == 4
    sent.add("talker", 7, bytes(1), "key")
    assert sent.sent_before("talker", between, 7) == 0
    assert sent.sent_before("talker", time.monotonic(), 7) == 7


def test_nothing_is_kept_where_nothing_may_be() -> None:
    sent = history(max_events=0)
    sent.add("talker", 1, bytes(1), "key")

    assert kept(sent) == []
