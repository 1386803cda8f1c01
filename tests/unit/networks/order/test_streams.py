"""Streams put back in order, against a plain model that remembers everything."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.networks.order import streams as bounds
from miros_mesh.networks.order.streams import (
    MAX_A_SECOND,
    MAX_AHEAD,
    MAX_HOLES,
    MAX_LOST,
    Admission,
    Gaps,
    Passed,
    Stream,
    Streams,
)

LARGEST = 2**63 - 1
NEW, DUPLICATE, STALE = Admission.NEW, Admission.DUPLICATE, Admission.STALE
JUMP = Admission.JUMP
ONE, OTHER = ("a", "chart"), ("b", "chart")

sequences = st.lists(st.integers(1, 60) | st.integers(1, LARGEST), min_size=1, max_size=60)


def admitted(stream: Stream[int], *numbers: int) -> list[int]:
    """What the stream gives for these numbers."""
    return list(chain(*(stream.admit(number, number, 0.0)[1] for number in numbers)))


@given(st.integers(1, LARGEST - 100), st.permutations(range(20)))
def test_whatever_the_order_each_item_comes_once_and_in_order(first: int, order: list[int]) -> None:
    stream: Stream[int] = Stream(first, 100)

    given = admitted(stream, *(first + number for number in order))

    assert given == [first + number for number in range(20)]
    assert admitted(stream, *(first + number for number in order)) == []
    assert not stream.waits


@given(sequences, st.integers(1, 80))
def test_no_item_comes_twice_and_none_is_kept_for_ever(numbers: list[int], window: int) -> None:
    stream: Stream[int] = Stream(numbers[0], window)

    given = admitted(stream, *numbers)
    given += stream.expire(1.0).items

    assert len(given) == len(set(given))
    assert not stream.waits
    assert stream.holes() == []


@given(sequences)
def test_what_comes_in_turn_is_in_order(numbers: list[int]) -> None:
    # What was sent before the first one that came may be late.
    later = [number for number in numbers if number >= numbers[0]]
    stream: Stream[int] = Stream(numbers[0], 16)

    given = admitted(stream, *later)

    assert given == sorted(given)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["come", "left out", "anew"]), st.integers(1, 30), st.integers(1, 5)
        ),
        max_size=30,
    ),
    st.integers(1, 20),
)
def test_a_run_says_what_its_items_would_have_said_one_by_one(
    moves: list[tuple[str, int, int]], window: int
) -> None:
    both = [Streams[int](window, since=-5.0) for _ in range(2)]

    def one_by_one(stream: Streams[int], first: int, count: int, now: float) -> list[int]:
        numbers = range(first, first + count)
        given = [stream.admit(ONE, each, each, now, sent_at=float(each))[1] for each in numbers]
        return list(chain(*given))

    def at_once(stream: Streams[int], first: int, count: int, now: float) -> list[int]:
        last = float(first + count - 1)
        if stream.run(ONE, first, count, now, last, last):
            return list(range(first, first + count))
        return one_by_one(stream, first, count, now)

    for at, (move, first, count) in enumerate([("come", 1, 3), *moves]):
        told: list[tuple[list[int], list[int]]] = []
        for stream, admit in zip(both, (one_by_one, at_once), strict=True):
            if move == "come":
                told.append((admit(stream, first, count, float(at)), []))
            elif move == "left out":
                told.append(([], list(stream.others(ONE, [(first, first + count)]).items)))
            else:
                stream.begin_anew([(ONE, first)])
                told.append(([], []))
        assert told[0] == told[1]
        facts = [
            (each.holes(), each.firsts([ONE]), each.passed(), each.unsure(ONE)) for each in both
        ]
        assert facts[0] == facts[1]
        known = [[each.has(ONE, number) for number in range(1, 40)] for each in both]
        assert known[0] == known[1]


def test_a_run_of_a_sender_that_was_not_heard_yet_is_not_taken() -> None:
    streams = Streams[int](16)

    assert not streams.run(ONE, 1, 3, 0.0, 0.0, 0.0)
    assert streams.passed() == {}


def test_the_holes_are_what_is_missing_before_what_is_held() -> None:
    stream: Stream[int] = Stream(1, 16)

    assert admitted(stream, 1, 4, 5, 9) == [1]
    assert stream.holes() == [(2, 3), (6, 8)]
    assert stream.wants(2)
    assert not stream.wants(4)

    assert admitted(stream, 3, 2) == [2, 3, 4, 5]
    assert stream.holes() == [(6, 8)]


def test_a_copy_of_what_is_held_is_a_duplicate() -> None:
    stream: Stream[int] = Stream(1, 16)
    admitted(stream, 1, 3)

    assert stream.admit(3, 3, 0.0) == (DUPLICATE, ())


def test_a_hole_that_is_given_up_is_counted_and_its_items_still_come_when_they_are_late() -> None:
    stream: Stream[int] = Stream(1, 16)
    admitted(stream, 1, 4, 8)

    assert stream.skip([(1, 3)]) == Passed(2, [4])
    assert stream.holes() == [(5, 7)]
    assert stream.admit(2, 2, 0.0) == (NEW, (2,))
    assert stream.admit(2, 2, 0.0) == (DUPLICATE, ())


def test_no_more_is_given_up_than_was_said() -> None:
    stream: Stream[int] = Stream(1, 16)
    admitted(stream, 1, 9)

    assert stream.skip([(1, 5)]) == Passed(4, [])
    assert stream.holes() == [(6, 8)]


def test_a_hole_in_the_middle_is_given_up_and_the_first_is_waited_for() -> None:
    stream: Stream[int] = Stream(1, 16)
    admitted(stream, 1, 4, 8, 10)

    assert stream.skip([(5, 6), (9, 40)]) == Passed(3, [])
    assert stream.holes() == [(2, 3), (7, 7)]
    assert not stream.wants(6)
    assert stream.admit(6, 6, 0.0) == (NEW, ())
    assert stream.admit(6, 6, 0.0) == (DUPLICATE, ())
    assert admitted(stream, 2, 3) == [2, 3, 4, 6]
    assert stream.holes() == [(7, 7)]
    assert admitted(stream, 5, 7) == [5, 7, 8, 10]
    assert stream.admit(9, 9, 0.0) == (NEW, (9,))
    assert stream.admit(9, 9, 0.0) == (DUPLICATE, ())


@given(
    st.sets(st.integers(2, 40), min_size=1),
    st.lists(st.lists(st.tuples(st.integers(1, 45), st.integers(0, 9))), max_size=4),
)
def test_whatever_is_given_up_each_number_is_counted_once_and_what_came_is_in_order(
    came: set[int], spans: list[list[tuple[int, int]]]
) -> None:
    stream: Stream[int] = Stream(1, 100)
    given = admitted(stream, 1, *came)
    missing = set(range(1, max(came))) - came - {1}

    for ranges in ([(first, first + more) for first, more in each] for each in spans):
        skipped = {n for first, last in ranges for n in range(first, last + 1)} & missing
        passed = stream.skip(ranges)
        missing -= skipped
        given += passed.items
        assert passed.missing == len(skipped)
        assert {n for a, b in stream.holes() for n in range(a, b + 1)} == missing

    given += stream.expire(1.0).items
    assert given == [1, *sorted(came)]
    assert not stream.waits


def test_only_what_has_waited_long_enough_is_let_go() -> None:
    stream: Stream[int] = Stream(1, 16)
    for number, now in ((1, 0.0), (3, 1.0), (6, 5.0)):
        stream.admit(number, number, now)

    assert stream.expire(0.5) == Passed(0, ())
    assert stream.expire(2.0) == Passed(1, [3])
    assert stream.holes() == [(4, 5)]


def test_what_is_older_than_the_window_is_stale_whether_it_was_seen_or_not() -> None:
    stream: Stream[int] = Stream(1, 4)
    admitted(stream, *range(1, 11))

    assert [stream.admit(number, number, 0.0)[0] for number in (1, 6, 7, 10)] == [
        STALE,
        STALE,
        DUPLICATE,
        DUPLICATE,
    ]


def test_who_joins_late_has_missed_nothing() -> None:
    streams: Streams[str] = Streams(16)

    assert streams.admit(ONE, 1_000, "a", 0.0) == (NEW, ("a",))
    assert streams.holes() == {}


def test_senders_do_not_wait_for_each_other() -> None:
    streams: Streams[str] = Streams(16)
    for sender in (ONE, OTHER):
        streams.admit(sender, 1, "first", 0.0)
    streams.admit(ONE, 3, "third", 0.0)

    assert streams.holes() == {ONE: [(2, 2)]}
    assert streams.wants(ONE, 2)
    assert not streams.wants(OTHER, 2)
    assert streams.admit(OTHER, 2, "second", 0.0) == (NEW, ("second",))
    assert list(streams.expire(1.0)) == [(ONE, Passed(1, ["third"]))]
    assert streams.holes() == {}


def test_the_sender_that_was_silent_for_longest_is_forgotten_first() -> None:
    streams: Streams[None] = Streams(16, senders=2)
    names = {name: (name, "chart") for name in ("old", "kept", "newcomer")}
    for name in ("old", "kept", "old", "newcomer"):
        streams.admit(names[name], 1, None, 0.0)

    # "kept" was silent for longest when the newcomer came.
    assert streams.admit(names["old"], 1, None, 0.0)[0] is DUPLICATE
    assert streams.admit(names["kept"], 1, None, 0.0)[0] is NEW


def test_a_sender_whose_items_are_held_back_is_not_forgotten() -> None:
    streams: Streams[int] = Streams(16, senders=1)
    streams.admit(ONE, 1, 1, 0.0)
    streams.admit(ONE, 3, 3, 0.0)
    streams.admit(OTHER, 1, 1, 0.0)

    assert streams.admit(ONE, 2, 2, 0.0) == (NEW, (2, 3))


# There is no history

AHEAD_S = 5_000.0
"""The sender's clock before ours."""
SINCE = 100.0


class Listener:
    """A receiver that listens since `SINCE`; each event travels for 0.01 s."""

    def __init__(self, *, fresh: bool = False) -> None:
        self.streams: Streams[int] = Streams(1_000, since=SINCE, fresh=fresh)
        self.words: list[Admission] = []
        self.handled: list[int] = []

    def hear(
        self,
        number: int,
        sent: float,
        *,
        came: float | None = None,
        sender: tuple[str, str] = ONE,
    ) -> None:
        """Hear a number that was sent at a time of our clock, and came then or right away."""
        now = sent + 0.01 if came is None else came
        word, items = self.streams.admit(
            sender, number, number, now, node="node", sent_at=sent + AHEAD_S
        )
        self.words.append(word)
        self.handled += items


def test_behind_an_old_item_nothing_is_owed_before_it_is_known() -> None:
    listener = Listener()
    listener.hear(5, sent=50, came=101)
    assert not listener.streams.unsure(ONE)

    listener.hear(2_010, sent=102)

    assert listener.streams.unsure(ONE)
    assert listener.streams.holes() == {ONE: [(6, 2_009)]}
    assert listener.streams.pass_over(ONE, 2_008) == Passed(0, [])
    assert listener.streams.holes() == {ONE: [(2_009, 2_009)]}
    assert listener.streams.skip(ONE, [(2_009, 2_009)]) == Passed(1, [2_010])


def test_after_an_item_of_now_all_is_owed() -> None:
    listener = Listener()
    for number, sent in ((5, 50.0), (6, 101.0), (8, 102.0)):
        listener.hear(number, sent, came=max(sent, 101.0))

    assert not listener.streams.unsure(ONE)


def test_what_was_on_its_way_when_the_receiver_began_counts_as_sent_after_it() -> None:
    listener = Listener()
    listener.hear(5, sent=SINCE - 0.005)
    listener.hear(7, sent=101)

    assert not listener.streams.unsure(ONE)


def test_what_is_never_answered_is_a_gap_only_where_it_was_owed() -> None:
    listener = Listener()
    listener.hear(5, sent=50, came=101)
    for number, sent in ((9, 60.0), (2_010, 102.0), (2_012, 103.0)):
        listener.hear(number, sent, came=max(sent, 101.5))

    assert list(listener.streams.expire(200.0)) == [(ONE, Passed(1, [9, 2_010, 2_012]))]


def test_two_old_items_wait_for_nothing_between_them_once_the_node_speaks_again() -> None:
    listener = Listener()
    listener.hear(5, sent=50, came=101)
    listener.hear(9, sent=60, came=102)
    listener.hear(12, sent=61, came=103)
    listener.hear(1, sent=104, sender=OTHER)

    assert list(listener.streams.pass_old(102.5)) == [(ONE, Passed(0, [9]))]
    assert list(listener.streams.pass_old(103.5)) == [(ONE, Passed(0, [12]))]
    assert listener.streams.holes() == {}


def test_a_late_copy_from_before_is_stale_where_no_queue_kept_it() -> None:
    fresh, lasting = Listener(fresh=True), Listener()
    for listener in (fresh, lasting):
        listener.hear(8, sent=101)
        listener.hear(7, sent=99, came=102)
        listener.hear(7, sent=99, came=102)

    assert fresh.words == [NEW, STALE, STALE]
    assert lasting.words == [NEW, NEW, DUPLICATE]


def test_a_late_copy_from_behind_an_old_item_is_stale_too() -> None:
    listener = Listener(fresh=True)
    listener.hear(5, sent=50, came=101)
    listener.hear(10, sent=102)
    listener.streams.pass_over(ONE, 9)

    listener.hear(7, sent=60, came=103)
    listener.hear(5, sent=50, came=103)

    assert listener.words == [NEW, NEW, STALE, DUPLICATE]


def test_a_reordered_start_is_no_late_copy() -> None:
    listener = Listener(fresh=True)
    listener.hear(8, sent=100.02)
    listener.hear(7, sent=100.01, came=100.04)

    assert listener.handled == [8, 7]


def test_an_old_item_is_taken_where_nothing_tells_that_it_is_old() -> None:
    listener = Listener(fresh=True)
    listener.hear(8, sent=50, came=101)
    listener.hear(7, sent=49.5, came=101)

    assert listener.handled == [8, 7]


def test_each_number_says_what_the_table_of_the_module_says() -> None:
    said = {}
    for number in range(1, 14):
        stream: Stream[int] = Stream(1, 4)
        admitted(stream, 1, 2, 3, 4, 5, 7)
        stream.skip([(1, 6)])
        admitted(stream, 10, 11)
        assert stream.holes() == [(8, 9)]

        said[number] = stream.admit(number, number, 0.0)

    assert {number for number, (word, _) in said.items() if word is STALE} == {1, 2, 3}
    assert {number for number, (word, _) in said.items() if word is DUPLICATE} == {4, 5, 7, 10, 11}
    assert {number: list(items) for number, (word, items) in said.items() if word is NEW} == {
        6: [6],
        8: [8],
        9: [],
        12: [],
        13: [],
    }


# What somebody sends who has the key


def test_a_number_is_ahead_by_no_more_than_a_sender_can_have_sent() -> None:
    stream: Stream[int] = Stream(1, 16)
    stream.admit(1, 1, now=100.0)
    farthest = 2 + MAX_AHEAD + 3 * MAX_A_SECOND

    assert stream.admit(LARGEST, 0, now=103.0) == (JUMP, ())
    assert stream.admit(farthest + 1, 0, now=103.0) == (JUMP, ())
    assert not stream.waits
    assert stream.admit(farthest, 0, now=103.0) == (NEW, ())


def test_numbers_below_a_jump_that_was_believed_come_in_whatever_time() -> None:
    stream: Stream[int] = Stream(1, 16)
    admitted(stream, 1, 500_000)
    assert stream.expire(1.0) == Passed(499_998, [500_000])

    assert admitted(stream, *range(2, 200)) == list(range(2, 200))

    assert [stream.admit(number, number, 0.0)[0] for number in (2, 199, 500_000)] == [
        *(STALE, STALE, DUPLICATE)
    ]
    assert stream.passed == 199


def test_of_ranges_given_up_the_oldest_is_forgotten_and_its_numbers_are_never_called_copies() -> (
    None
):
    stream: Stream[int] = Stream(1, 10_000)
    for number in range(1, 2 * MAX_LOST + 6, 2):
        admitted(stream, number)
        stream.expire(1.0)

    assert stream.admit(2, 2, 0.0)[0] is STALE
    assert stream.admit(3, 3, 0.0)[0] is STALE
    assert stream.admit(2 * MAX_LOST, 0, 0.0)[0] is NEW
    assert stream.admit(2 * MAX_LOST, 0, 0.0)[0] is DUPLICATE


def test_a_stream_has_so_many_holes_and_gives_up_the_oldest() -> None:
    streams: Streams[int] = Streams(16)
    given, missing = list[int](), 0
    for number in range(1, 6 * MAX_HOLES, 2):
        given += streams.admit(ONE, number, number, 0.0)[1]
        for sender, passed in streams.relieve(ONE):
            assert sender == ONE
            given += passed.items
            missing += passed.missing
        assert len(streams.holes().get(ONE, ())) <= MAX_HOLES

    # In order, and each hole that is no more is told
    assert given == list(range(1, given[-1] + 1, 2))
    assert missing + len(streams.holes()[ONE]) == 3 * MAX_HOLES - 1


def test_where_too_much_is_held_back_the_sender_with_most_waits_no_more() -> None:
    streams: Streams[int] = Streams(16, held_bytes=200_000)
    for sender in (ONE, OTHER):
        streams.admit(sender, 1, 1, 0.0)
        streams.admit(sender, 3, 3, 0.0, size_bytes=10_000)
        assert list(streams.relieve(sender)) == []

    streams.admit(OTHER, 4, 4, 0.0, size_bytes=150_000)

    assert list(streams.relieve(OTHER)) == [(OTHER, Passed(1, [3, 4]))]
    assert streams.holes() == {ONE: [(2, 2)]}
    # What was let go counts no more
    streams.admit(OTHER, 6, 6, 0.0, size_bytes=50_000)
    assert list(streams.relieve(OTHER)) == []


def test_small_things_of_many_senders_are_bounded_too() -> None:
    streams: Streams[int] = Streams(16)
    for number in range(5_000):
        sender = f"made up {number}", "chart"
        streams.admit(sender, 1, 1, 0.0)
        streams.admit(sender, 3, 3, 0.0)
        list(streams.relieve(sender))

    assert 1_000 < len(streams.holes()) < 2_100


def test_a_node_with_too_many_senders_forgets_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_SENDERS_OF_A_NODE", 3)
    streams: Streams[None] = Streams(16)
    streams.admit(ONE, 1, None, 0.0, node="honest")
    for number in range(10):
        streams.admit((f"made up {number}", "chart"), 1, None, 0.0, node="flood")

    assert streams.forgotten == 7
    assert streams.admit(ONE, 1, None, 0.0, node="honest")[0] is DUPLICATE
    assert streams.admit(("made up 9", "chart"), 1, None, 0.0, node="flood")[0] is DUPLICATE
    assert streams.admit(("made up 0", "chart"), 1, None, 0.0, node="flood")[0] is NEW


def test_of_too_many_senders_one_of_the_node_that_was_silent_for_longest_is_forgotten() -> None:
    streams: Streams[None] = Streams(16, senders=2)
    for sender, node in ((ONE, "silent"), (OTHER, "other"), (("c", "chart"), "third")):
        streams.admit(sender, 1, None, 0.0, node=node)

    assert list(streams.passed()) == [OTHER, ("c", "chart")]


def test_a_gap_is_what_is_missing_right_before_a_number() -> None:
    gaps = Gaps()

    assert [gaps.before(ONE, number) for number in (5, 6, 9, 9, 7, 10)] == [
        *(0, 0, 2, None, None, 0),
    ]
    assert gaps.before(OTHER, 3) == 0


def test_of_many_senders_the_longest_silent_are_forgotten() -> None:
    gaps = Gaps(senders=2)

    for chart in ("a", "b", "a", "c"):
        gaps.before(("1ncarn", chart), 1)

    assert gaps.before(("1ncarn", "a"), 3) == 1
    assert gaps.before(("1ncarn", "b"), 3) == 0


# What others may have had


def test_after_a_lost_connection_the_next_item_is_the_next_one() -> None:
    stream: Stream[int] = Stream(1, 100)
    assert admitted(stream, 1, 2, 3) == [1, 2, 3]

    # Others have had 4 to 9
    stream.begin_anew(None)

    assert admitted(stream, 10, 11) == [10, 11]
    assert stream.holes() == []


def test_what_was_given_up_comes_again_and_what_comes_before_it_is_known() -> None:
    stream: Stream[int] = Stream(1, 100)
    assert admitted(stream, 1, 2, 3, 4) == [1, 2, 3, 4]

    stream.begin_anew(3)

    assert admitted(stream, 2, 3, 4, 5) == [3, 4, 5]


def test_what_was_held_back_is_let_go() -> None:
    stream: Stream[int] = Stream(1, 100)
    assert admitted(stream, 1, 3) == [1]

    stream.begin_anew(None)

    assert (stream.held_bytes, stream.holes()) == (0, [])
    assert admitted(stream, 2, 3) == [2, 3]


def test_only_the_first_item_after_it_may_leave_others_out() -> None:
    stream: Stream[int] = Stream(1, 100)
    admitted(stream, 1)
    stream.begin_anew(None)
    assert admitted(stream, 5) == [5]

    assert admitted(stream, 7) == []
    assert stream.holes() == [(6, 6)]


def test_no_stream_is_left_out() -> None:
    streams: Streams[int] = Streams(100)
    for sender in (ONE, OTHER):
        for number in (1, 2, 3):
            streams.admit(sender, number, number, 0.0)
    # Something of one of them is held back
    streams.admit(ONE, 9, 9, 0.0)

    streams.begin_anew([(ONE, 9), (ONE, 3)])

    assert streams.holes() == {}
    assert streams.admit(ONE, 3, 3, 0.0) == (NEW, (3,))
    assert streams.admit(OTHER, 8, 8, 0.0) == (NEW, (8,))
    assert streams.admit(OTHER, 2, 2, 0.0) == (DUPLICATE, ())
