"""A reader fetches when it may find something, and never more than its prefetch."""

from __future__ import annotations

import amqp
import pytest

from miros_mesh.embedded.consumers import Standing
from miros_mesh.embedded.message import Entry, Place
from miros_mesh.embedded.prefetch import Acknowledgements, Deliveries, Reader

QUEUE = 7
FIRST = Standing(QUEUE, 1, sharing=False, active=True)


class Stored:
    """The messages of one queue, and how often they were asked for."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)
        self.fetches = 0

    def fetch(self, queue: int, after: int, limit: int) -> list[Entry]:
        assert queue == QUEUE
        self.fetches += 1
        found = [number for number in self.numbers if number > after][:limit]
        return entries(found)

    def claim(self, standing: Standing, limit: int) -> tuple[list[Entry], bool]:
        assert standing.queue == QUEUE
        self.fetches += 1
        claimed, self.numbers = self.numbers[: min(limit, 2)], self.numbers[min(limit, 2) :]
        return entries(claimed), bool(self.numbers)


def entries(numbers: list[int]) -> list[Entry]:
    return [Entry(number, 0, "", "", b"", b"") for number in numbers]


def taken(reader: Reader, stored: Stored) -> list[int]:
    """All that it hands out until it wants no refill."""
    numbers = []
    while reader.wants_refill or reader.ready:
        reader.refill(stored)
        while reader.ready:
            numbers.append(reader.take().message)
    return numbers


def test_what_is_stored_is_fetched_once_and_no_more_is_asked_for() -> None:
    stored, reader = Stored(1, 2, 3), Reader(FIRST, 0, set())

    assert taken(reader, stored) == [1, 2, 3]

    assert stored.fetches == 1
    assert not reader.wants_refill


def test_a_long_queue_is_fetched_to_its_end() -> None:
    stored, reader = Stored(*range(1, 1_001)), Reader(FIRST, 0, set())

    assert taken(reader, stored) == stored.numbers


def test_the_prefetch_holds_back_until_something_is_settled() -> None:
    stored, unsettled = Stored(1, 2, 3, 4), set[int]()
    reader = Reader(FIRST, 2, unsettled)
    assert taken(reader, stored) == [1, 2]
    assert not reader.wants_refill

    unsettled.discard(2)

    assert reader.wants_refill
    assert taken(reader, stored) == [3]


def test_what_is_given_back_comes_again_in_its_place() -> None:
    stored, reader = Stored(1, 2, 3, 4), Reader(FIRST, 2, set())
    assert taken(reader, stored) == [1, 2]

    reader.give_back([1])

    assert taken(reader, stored) == [1]
    reader.give_back([1, 2])
    assert taken(reader, stored) == [1, 2]


def test_what_another_reader_of_the_channel_holds_is_passed_over() -> None:
    stored, reader = Stored(1, 2, 3, 4), Reader(FIRST, 4, {1, 3})

    assert taken(reader, stored) == [2, 4]


def test_one_that_waits_in_line_fetches_nothing() -> None:
    stored = Stored(1, 2)
    reader = Reader(Standing(QUEUE, 2, sharing=False, active=False), 0, set())
    assert taken(reader, stored) == []

    reader.take_standing(FIRST)

    assert taken(reader, stored) == [1, 2]


def test_of_a_shared_queue_it_claims_until_the_prefetch_or_nothing_is_left() -> None:
    stored, unsettled = Stored(*range(1, 8)), set[int]()
    reader = Reader(Standing(QUEUE, 1, sharing=True, active=True), 5, unsettled)
    assert taken(reader, stored) == [1, 2, 3, 4, 5]

    unsettled.discard(2)
    unsettled.discard(3)
    assert taken(reader, stored) == [6, 7]
    unsettled.clear()

    assert taken(reader, stored) == []
    assert not reader.wants_refill
    reader.give_back([1])
    assert reader.wants_refill, "it may claim again what it gave back"


def test_what_a_cancelled_consumer_gave_back_is_not_given_back_twice() -> None:
    deliveries = Deliveries()
    tags = []
    for message in (1, 2):
        tags.append(deliveries.add(QUEUE, message))
        deliveries.unsettled(QUEUE).add(message)
    deliveries.given_back(QUEUE)

    assert deliveries.take_back(tags[0]) == ([(QUEUE, 1)], [])
    deliveries.add(QUEUE, 3)
    assert deliveries.take_back(0, multiple=True) == ([(QUEUE, 2), (QUEUE, 3)], [(QUEUE, 3)])


def test_a_tag_settles_its_message_once() -> None:
    deliveries = Deliveries()
    tag = deliveries.add(QUEUE, 1)
    deliveries.unsettled(QUEUE).add(1)

    assert deliveries.take(tag) == [(QUEUE, 1)]

    assert deliveries.unsettled(QUEUE) == set()
    with pytest.raises(amqp.PreconditionFailed):
        deliveries.take(tag)


def test_acknowledgements_are_stored_at_once_while_they_are_rare() -> None:
    settled: list[list[Place]] = []
    acknowledgements = Acknowledgements(settled.append)

    acknowledgements.add([(QUEUE, 1)])
    acknowledgements.add([(QUEUE, 2)])
    acknowledgements.add([(QUEUE, 3)])

    assert settled == [[(QUEUE, 1)]]
    acknowledgements.flush()
    assert settled == [[(QUEUE, 1)], [(QUEUE, 2), (QUEUE, 3)]]
    assert not acknowledgements
