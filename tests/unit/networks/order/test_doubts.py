"""Frames in doubt, and what waits behind them."""

from __future__ import annotations

import pytest

from miros_mesh.networks.order import doubts as module
from miros_mesh.networks.order.doubts import MAX_OF_SILENT, Doubts
from miros_mesh.wire.envelope import MAX_RANGES


@pytest.fixture
def doubts() -> Doubts[str]:
    return Doubts()


def test_what_its_sender_has_published_since_is_new_and_the_rest_is_old(
    doubts: Doubts[str],
) -> None:
    for mark, item in enumerate(("one", "two", "three"), start=1):
        doubts.add("sender", item, mark, 0.0)

    assert doubts.ask(1.5) == {"sender": [1, 2, 3]}
    decided = doubts.answered("sender", 1.5, {2})

    assert decided == [("one", False), ("two", True), ("three", False)]
    assert not doubts


def test_what_is_surely_new_keeps_its_place_behind_what_is_in_doubt(doubts: Doubts[str]) -> None:
    doubts.add("sender", "doubtful", 1, 0.0)
    doubts.add("sender", "sure", 0, 0.0)
    doubts.add("sender", "again doubtful", 2, 0.0)

    assert doubts.holds("sender")
    assert not doubts.holds("other")
    assert doubts.ask(1.0) == {"sender": [1, 2]}
    assert doubts.answered("sender", 1.0, {1, 2}) == [
        *(("doubtful", True), ("sure", True), ("again doubtful", True)),
    ]


def test_what_came_after_the_question_waits_for_the_next_one(doubts: Doubts[str]) -> None:
    doubts.add("sender", "first", 1, 0.0)
    doubts.ask(1.0)
    doubts.add("sender", "second", 2, 0.0)

    assert doubts.answered("sender", 1.0, {1}) == [("first", True)]
    assert len(doubts) == 1
    assert doubts.ask(2.0) == {"sender": [2]}
    assert doubts.answered("sender", 2.0, {2}) == [("second", True)]


def test_an_answer_to_another_question_or_of_another_sender_says_nothing(
    doubts: Doubts[str],
) -> None:
    doubts.add("sender", "first", 1, 0.0)
    doubts.ask(1.0)
    doubts.ask(2.0)

    assert doubts.answered("sender", 1.0, {1}) == []
    assert doubts.answered("thief", 2.0, {1}) == []
    assert doubts.answered("sender", 2.0, {1}) == [("first", True)]


def test_what_no_answer_comes_for_is_old_and_what_stands_behind_it_goes_on(
    doubts: Doubts[str],
) -> None:
    doubts.add("gone", "old", 1, 1.0)
    doubts.add("gone", "sure", 0, 1.5)
    doubts.add("slow", "young", 2, 3.0)

    assert doubts.expire(2.0) == [("old", False), ("sure", True)]
    assert list(doubts.items()) == ["young"]


def test_one_question_has_as_many_marks_as_a_message_has_room_for(doubts: Doubts[str]) -> None:
    for mark in range(1, MAX_RANGES + 10):
        doubts.add("sender", str(mark), mark, 0.0)

    assert doubts.ask(1.0) == {"sender": [*range(1, MAX_RANGES + 1)]}
    assert len(doubts.answered("sender", 1.0, set())) == MAX_RANGES
    assert len(doubts) == 9


def test_what_is_forgotten_waits_no_longer(doubts: Doubts[str]) -> None:
    doubts.add("sender", "first", 1, 0.0)
    doubts.clear()
    assert not doubts
    assert not doubts.holds("sender")


def test_a_copy_takes_the_place_of_the_first_and_waits_no_longer_than_that(
    doubts: Doubts[str],
) -> None:
    doubts.add("sender", "first", 1, 0.0)
    doubts.add("sender", "second", 2, 5.0)

    assert doubts.exchanged("sender", "copy", 1) == "first"
    assert doubts.exchanged("sender", "other", 3) is None
    assert doubts.exchanged("another", "copy", 1) is None

    assert doubts.expire(1.0) == [("copy", False)]
    assert [*doubts.items()] == ["second"]


def test_of_a_silent_sender_what_is_surely_new_waits_all_the_same(doubts: Doubts[str]) -> None:
    doubts.add("sender", "first", 1, 0.0)
    doubts.expire(1.0)
    for mark in range(MAX_OF_SILENT):
        assert doubts.has_room("sender", sure=False)
        doubts.add("sender", "later", mark + 2, 5.0)

    assert not doubts.has_room("sender", sure=False)
    assert doubts.has_room("sender", sure=True)
    assert doubts.has_room("other", sure=False)


def test_silent_senders_are_remembered_up_to_a_limit(
    doubts: Doubts[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_SILENT", 2)
    for number in range(5):
        doubts.add(f"sender {number}", "frame", 1, 0.0)
        doubts.expire(1.0)

    assert [*doubts._silent] == ["sender 3", "sender 4"]
