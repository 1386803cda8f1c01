"""The line of a queue's consumers, and the parts of those that share one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from amqp.exceptions import ResourceLocked

from miros_mesh.embedded import consumers, definitions
from miros_mesh.embedded.consumers import Standing
from miros_mesh.embedded.database import Database
from miros_mesh.embedded.definitions import Traits
from miros_mesh.embedded.schema import open_memory

ONE = Traits(arguments={"x-single-active-consumer": True})


class Line:
    """The consumers of one queue, by the names of their doorbells."""

    def __init__(self, run: sqlite3.Connection, traits: Traits) -> None:
        self.run = run
        self.dead: set[str] = set()
        self.messages = 0
        self.standings: dict[str, Standing] = {}
        definitions.declare_queue(run, "queue", traits, None)
        self.queue = definitions.queue_id(run, "queue")

    def join(self, bell: str, prefetch: int = 0, *, alone: bool = False) -> set[str]:
        def answers(address: str) -> bool:
            return address not in self.dead

        joined = consumers.join(self.run, "queue", bell, prefetch, answers, alone=alone)
        self.standings[bell], ring = joined
        return ring

    def leave(self, bell: str, *unsettled: int) -> set[str]:
        return consumers.leave(self.run, self.queue, bell, unsettled)

    def store(self, count: int) -> None:
        for _ in range(count):
            self.messages += 1
            self.run.execute(
                """INSERT INTO messages (exchange, routing_key, stored_at, properties, body)
                VALUES ('', '', 0, '', '')"""
            )
            insert = "INSERT INTO entries (queue, message) VALUES (?, ?)"
            self.run.execute(insert, (self.queue, self.messages))

    def claim(self, bell: str, most: int = 100) -> list[int]:
        entries, self.more = consumers.claim(self.run, self.standings[bell], most)
        return [entry.message for entry in entries]

    def settle(self, *messages: int) -> None:
        for message in messages:
            self.run.execute("DELETE FROM entries WHERE message = ?", (message,))

    @property
    def active(self) -> list[str]:
        bells = list(self.standings)
        places = {bell: consumers.standings(self.run, bell) for bell in bells}
        return [bell for bell in bells if any(each.active for each in places[bell].values())]

    @property
    def returns(self) -> list[int]:
        query = "SELECT returns FROM entries ORDER BY message"
        return [count for (count,) in self.run.execute(query)]


@pytest.fixture
def database() -> Iterator[Database]:
    """An empty one."""
    made = open_memory()
    yield made
    made.close()


@pytest.fixture
def line(database: Database) -> Iterator[Line]:
    """Of a queue with a single active consumer."""
    with database.write() as run:
        yield Line(run, ONE)


@pytest.fixture
def shared(database: Database) -> Iterator[Line]:
    """Of a queue that several consume at once."""
    with database.write() as run:
        yield Line(run, Traits())


def test_the_first_in_line_is_active_and_the_next_is_rung_when_it_leaves(line: Line) -> None:
    for bell in "abc":
        assert line.join(bell) == set()
    assert line.active == ["a"]

    assert line.leave("b") == {"a"}
    line.join("b")
    assert line.leave("a") == {"c"}

    assert line.active == ["c"]
    assert line.leave("c") == {"b"}
    assert line.active == ["b"]
    assert line.leave("b") == set()
    assert line.active == []


def test_the_dead_are_removed_by_the_next_who_comes(line: Line) -> None:
    line.store(5)
    line.join("dead", prefetch=2)
    line.join("waits", prefetch=3)
    line.dead.add("dead")

    assert line.join("comes") == {"waits"}

    assert line.active == ["waits"]
    # As much as it may have been handed
    assert line.returns == [1, 1, 0, 0, 0]


def test_what_waits_in_line_gives_nothing_back(line: Line) -> None:
    line.store(2)
    line.join("active")
    line.join("dead")

    assert consumers.bury(line.run, "dead") == {"active"}

    assert line.returns == [0, 0]
    assert line.active == ["active"]


def test_one_that_leaves_gives_back_just_what_it_has_not_settled(line: Line) -> None:
    line.store(4)
    line.join("a", prefetch=3)

    line.leave("a", 1, 3)

    assert line.returns == [1, 0, 1, 0]


@pytest.mark.parametrize("alone_first", [True, False])
def test_one_that_wants_to_be_alone_is(shared: Line, *, alone_first: bool) -> None:
    shared.join("first", alone=alone_first)

    with pytest.raises(ResourceLocked, match="has a consumer already"):
        shared.join("second", alone=not alone_first)

    shared.leave("first")
    shared.join("second", alone=not alone_first)


def test_all_that_share_are_active_and_get_equal_parts(shared: Line) -> None:
    for bell in "abc":
        shared.join(bell, prefetch=10)
    assert shared.active == ["a", "b", "c"]
    shared.store(6)

    assert shared.claim("a") == [1, 2]
    assert shared.more
    assert shared.claim("a") == [], "its part is what it has"
    assert shared.claim("b") == [3, 4]
    shared.settle(1, 2)
    # One that takes its time leaves its part to who asks again.
    assert shared.claim("a") == [5, 6]
    assert not shared.more
    assert shared.claim("c") == []


def test_who_has_all_that_its_prefetch_allows_has_no_part_in_the_rest(shared: Line) -> None:
    shared.join("full", prefetch=2)
    shared.join("free", prefetch=100)
    shared.store(4)
    assert shared.claim("full", 2) == [1, 2]

    assert shared.claim("free") == [3, 4]

    shared.store(3)
    assert shared.claim("free") == [5, 6, 7]


def test_one_message_is_claimed_by_who_comes_first(shared: Line) -> None:
    for bell in "abc":
        shared.join(bell)
    shared.store(1)

    assert shared.claim("c") == [1]
    assert shared.claim("a") == []


def test_what_the_dead_had_claimed_is_there_again_and_counted(shared: Line) -> None:
    shared.join("dead")
    shared.join("other")
    shared.store(4)
    assert shared.claim("dead") == [1, 2]

    assert consumers.bury(shared.run, "dead") == {"other"}

    assert shared.claim("other") == [1, 2, 3, 4]
    assert shared.returns == [1, 1, 0, 0]


def test_what_was_claimed_and_not_handed_out_is_there_again_uncounted(shared: Line) -> None:
    shared.join("leaves")
    shared.join("other")
    shared.store(6)
    assert shared.claim("leaves") == [1, 2, 3]

    # It was handed the first one, and keeps it for a while.
    assert shared.leave("leaves", 1) == {"other"}

    assert shared.claim("other") == [2, 3, 4, 5, 6]
    assert shared.returns == [0] * 6
    # Until its connection ends.
    assert consumers.bury(shared.run, "leaves") == {"other"}
    assert shared.claim("other") == [1]
    assert shared.returns == [1, 0, 0, 0, 0, 0]


def test_those_that_left_with_nothing_leave_nothing(shared: Line) -> None:
    for _ in range(3):
        shared.join("a")
        shared.store(1)
        (message,) = shared.claim("a")
        shared.leave("a", message)
        shared.settle(message)
    shared.join("a")
    shared.leave("a")

    assert shared.run.execute("SELECT count(*) FROM consumers").fetchone() == (0,)


def test_what_is_given_back_may_be_claimed_by_all(shared: Line) -> None:
    shared.join("a")
    shared.join("b")
    shared.store(2)
    assert shared.claim("a") == [1]
    assert shared.claim("b") == [2]

    assert consumers.give_back(shared.run, shared.queue, [1]) == {"a", "b"}

    assert shared.claim("a") == [1]
    assert shared.returns == [1, 0]
