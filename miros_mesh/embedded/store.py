"""Messages of the embedded broker: stored once, listed in every queue that they match."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from amqp.exceptions import NotFound, ResourceLocked

from miros_mesh.embedded.database import Database
from miros_mesh.embedded.dead_letters import marked
from miros_mesh.embedded.definitions import (
    Definitions,
    bump,
    drop_queue,
    mark_redelivered,
    queue_id,
)
from miros_mesh.embedded.doorbell import Doorbell, Street
from miros_mesh.embedded.routes import Route, Routes
from miros_mesh.embedded.traits import QueueState, Traits
from miros_mesh.embedded.upkeep import Upkeep

_FETCH: Final = """
    SELECT e.message, e.redelivered, m.exchange, m.routing_key, m.properties, m.body
    FROM entries e JOIN messages m ON m.id = e.message
    WHERE e.queue = ? AND e.message > ? ORDER BY e.message LIMIT ?"""

_DEAD: Final = """
    SELECT q.name, q.dead_letters, m.exchange, m.routing_key, m.properties, m.body
    FROM entries e JOIN queues q ON q.id = e.queue JOIN messages m ON m.id = e.message
    WHERE e.queue = ? AND e.message = ? AND q.dead_letters IS NOT NULL"""
_OVERSIZE: Final = """
    DELETE FROM entries WHERE queue = ?1 AND message IN (
        SELECT message FROM (
            SELECT e.message, sum(length(m.body)) OVER (ORDER BY e.message DESC) AS bytes
            FROM entries e JOIN messages m ON m.id = e.message WHERE e.queue = ?1)
        WHERE bytes > ?2)"""

# The numbers of a queue and of a message in it.
Place = tuple[int, int]


class Entry(NamedTuple):
    """A message as one queue lists it."""

    message: int
    redelivered: int
    exchange: str
    routing_key: str
    properties: bytes
    body: bytes


class Store:
    """What one connection can do with a broker; used by one thread at a time."""

    def __init__(self, database: Database, street: Street, leave: Callable[[], None]) -> None:
        self.definitions = Definitions(database)
        self._database = database
        self._street = street
        self._leave = leave
        self._routes = Routes()
        self._doorbell: Doorbell | None = None
        self._upkeep = Upkeep(database, street)

    @property
    def inherited(self) -> bool:
        """Whether it was opened by a parent process."""
        return self._database.inherited

    @property
    def doorbell(self) -> Doorbell:
        """Our own, made when it is first needed: a connection that only publishes has none."""
        if self._doorbell is None:
            self._doorbell = self._street.open()
        return self._doorbell

    def keep_up(self, *, at_once: bool = False) -> None:
        """Let expired queues and what the dead left behind go, about once a second."""
        self._upkeep.run(at_once=at_once)

    def declare_queue(self, name: str, traits: Traits) -> QueueState:
        """Declare; an exclusive queue lives as long as this connection."""
        return self.definitions.declare_queue(
            name, traits, self.doorbell.address if traits.exclusive else None
        )

    def delete_queue(self, name: str, *, if_unused: bool = False, if_empty: bool = False) -> int:
        """Delete, and wake its consumer to hear of it; returns the messages lost."""
        lost, consumer = self.definitions.delete_queue(name, if_unused=if_unused, if_empty=if_empty)
        self._street.ring((consumer,) if consumer else ())
        return lost

    def publish(self, exchange: str, routing_key: str, properties: bytes, body: bytes) -> int:
        """Store a message in all matching queues, or in none; returns in how many."""
        self.keep_up()
        with self._database.write() as run:
            route = self._routes.find(run, exchange, routing_key)
            _file(run, route, (exchange, routing_key, time.time(), properties, body))
        self._street.ring(route.consumers)
        return len(route.queues)

    def claim(self, name: str, prefetch: int) -> int:
        """Become the one consumer of a queue; returns its number.

        What a dead predecessor may have had in its hands is flagged as redelivered.
        """
        with self._database.write() as run:
            queue = queue_id(run, name)
            query = "SELECT owner, consumer, prefetch FROM queues WHERE id = ?"
            owner, consumer, its_prefetch = run.execute(query, (queue,)).fetchone()
            if owner not in (None, self.doorbell.address):
                raise ResourceLocked(f"RESOURCE_LOCKED - queue {name!r} is exclusive to another")
            if consumer is not None:
                if self._street.answers(consumer):
                    raise ResourceLocked(f"RESOURCE_LOCKED - queue {name!r} has a consumer already")
                mark_redelivered(run, queue, its_prefetch)
            run.execute(
                "UPDATE queues SET consumer = ?, prefetch = ?, used_at = ? WHERE id = ?",
                (self.doorbell.address, prefetch, time.monotonic(), queue),
            )
            bump(run)
        return queue

    def release(self, queue: int, unsettled: Iterable[int]) -> None:
        """Consume no more; what was handed out and not settled is there for the next consumer."""
        self.requeue(queue, unsettled)
        with self._database.write() as run:
            mine = (queue, self.doorbell.address)
            query = "SELECT auto_delete FROM queues WHERE id = ? AND consumer = ?"
            for (auto_delete,) in run.execute(query, mine).fetchall():
                if auto_delete:
                    drop_queue(run, queue)
                run.execute(
                    "UPDATE queues SET consumer = NULL, used_at = ? WHERE id = ?",
                    (time.monotonic(), queue),
                )
                bump(run)

    def claimed(self) -> set[int]:
        """The numbers of the queues that are ours to consume."""
        query = "SELECT id FROM queues WHERE consumer = ?"
        return {queue for (queue,) in self._database.read(query, self.doorbell.address)}

    def fetch(self, queue: int, after: int, limit: int) -> list[Entry]:
        """The next messages of a queue; they stay there until they are settled."""
        return [Entry(*row) for row in self._database.read(_FETCH, queue, after, limit)]

    def settle(self, handled: Iterable[Place]) -> None:
        """Strike handled messages off their queues."""
        with self._database.write() as run:
            run.executemany("DELETE FROM entries WHERE queue = ? AND message = ?", handled)

    def refuse(self, rejected: Iterable[Place]) -> None:
        """Strike messages off their queues; to where a queue sends its dead letters they go."""
        consumers: set[str] = set()
        with self._database.write() as run:
            for queue, message in rejected:
                consumers.update(self._bury(run, queue, message))
                run.execute("DELETE FROM entries WHERE queue = ? AND message = ?", (queue, message))
        self._street.ring(consumers)

    def _bury(self, run: sqlite3.Connection, queue: int, message: int) -> Iterable[str]:
        """A new message, since a reader may be past the number of the old one."""
        row = run.execute(_DEAD, (queue, message)).fetchone()
        if row is None:
            return ()
        name, grave, exchange, key, properties, body = row
        try:
            route = self._routes.find(run, grave, key)
        except NotFound:
            # As on a RabbitMQ.
            return ()
        letter = marked(properties, queue=name, exchange=exchange)
        _file(run, route, (grave, key, time.time(), letter, body))
        return route.consumers

    def requeue(self, queue: int, messages: Iterable[int]) -> None:
        """Flag messages as redelivered; they never left their place."""
        pairs = [(queue, message) for message in messages]
        if pairs:
            with self._database.write() as run:
                run.executemany(
                    "UPDATE entries SET redelivered = 1 WHERE queue = ? AND message = ?", pairs
                )

    def close(self) -> None:
        """Drop our exclusive queues and let go of everything."""
        try:
            if self._doorbell is not None and not self.inherited:
                self._upkeep.bury(self._doorbell.address)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go without a word, as a killed process does."""
        if self._doorbell is not None:
            self._doorbell.disown() if self.inherited else self._doorbell.close()
        self._leave()


def _file(
    run: sqlite3.Connection, route: Route, message: tuple[str, str, float, bytes, bytes]
) -> None:
    """Store a message once and list it in every queue of its route."""
    if not route.queues:
        return
    number = run.execute(
        """INSERT INTO messages (exchange, routing_key, stored_at, properties, body)
            VALUES (?, ?, ?, ?, ?)""",
        message,
    ).lastrowid
    run.executemany(
        "INSERT INTO entries (queue, message) VALUES (?, ?)",
        [(queue, number) for queue in route.queues],
    )
    for limit in route.sized:
        run.execute(_OVERSIZE, limit)
