"""Routes are looked up once, and anew when the topology has changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import amqp
import pytest

from miros_mesh.embedded import definitions
from miros_mesh.embedded.definitions import Traits
from miros_mesh.embedded.routes import DEFAULT_EXCHANGE, Route, Routes
from miros_mesh.embedded.schema import open_memory


@pytest.fixture
def run() -> Iterator[sqlite3.Connection]:
    """A transaction in a new database with the queues 1 and 2, bound to a topic exchange."""
    database = open_memory()
    with database.write() as run:
        definitions.declare_exchange(run, "topics", "topic", Traits())
        for queue, arguments in (("one", {}), ("two", {"x-max-length-bytes": 9})):
            definitions.declare_queue(run, queue, Traits(arguments=arguments), None)
            definitions.bind(run, queue, "topics", "a.*")
        definitions.bind(run, "two", "topics", "#.b")
        yield run
    database.close()


def test_a_queue_with_two_matching_bindings_is_there_once(run: sqlite3.Connection) -> None:
    assert Routes().find(run, "topics", "a.b") == Route((1, 2), (), ((2, 9),))
    assert Routes().find(run, "topics", "c.b") == Route((2,), (), ((2, 9),))
    assert Routes().find(run, "topics", "c") == Route((), (), ())


def test_the_default_exchange_has_every_queue_by_its_name(run: sqlite3.Connection) -> None:
    assert Routes().find(run, DEFAULT_EXCHANGE, "one").queues == (1,)
    assert Routes().find(run, DEFAULT_EXCHANGE, "three").queues == ()


def test_an_unknown_exchange_is_refused(run: sqlite3.Connection) -> None:
    with pytest.raises(amqp.NotFound, match="nowhere"):
        Routes().find(run, "nowhere", "a")


def test_a_route_follows_every_change_of_the_topology(run: sqlite3.Connection) -> None:
    routes = Routes()
    assert routes.find(run, "topics", "a.c").queues == (1, 2)

    definitions.unbind(run, "two", "topics", "a.*")
    assert routes.find(run, "topics", "a.c").queues == (1,)

    definitions.drop_queue(run, 1)
    assert routes.find(run, "topics", "a.c").queues == ()

    definitions.bind(run, "two", "topics", "*.c")
    assert routes.find(run, "topics", "a.c").queues == (2,)


def test_a_second_declaration_of_the_same_is_no_change(run: sqlite3.Connection) -> None:
    routes, statements = Routes(), list[str]()
    routes.find(run, "topics", "a.c")

    definitions.declare_exchange(run, "topics", "topic", Traits())
    definitions.declare_queue(run, "one", Traits(), None)
    definitions.bind(run, "one", "topics", "a.*")

    run.set_trace_callback(statements.append)
    assert routes.find(run, "topics", "a.c").queues == (1, 2)
    assert len(statements) == 1
