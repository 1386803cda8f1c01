"""Messages of the embedded broker: stored once, listed in every queue that they match."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from amqp.exceptions import NotFound

from miros_mesh.embedded import consumers, definitions
from miros_mesh.embedded.consumers import Standing
from miros_mesh.embedded.database import Database
from miros_mesh.embedded.doorbell import Doorbell, Doorbells
from miros_mesh.embedded.message import Entry, Place, dead_letter
from miros_mesh.embedded.routes import Route, Routes
from miros_mesh.embedded.upkeep import Upkeep
from miros_mesh.errors import StoreUnavailableError

_FETCH: Final = """
    SELECT e.message, e.returns, m.exchange, m.routing_key, m.properties, m.body
    FROM entries e JOIN messages m ON m.id = e.message
    WHERE e.queue = ? AND e.message > ? ORDER BY e.message LIMIT ?"""

# By the index of messages, not of queues: what is older was seen, and is not read again. One
# statement, so that the file is locked once; no queue has the number 0.
_NEWS: Final = """
    SELECT 0, turns FROM topology
    UNION ALL
    SELECT queue, max(message) FROM entries INDEXED BY entries_of_message
    WHERE message > ? GROUP BY queue"""

_DEAD: Final = """
    SELECT q.name, q.dead_letters, coalesce(q.dead_letter_key, m.routing_key),
        m.exchange, m.properties, m.body
    FROM entries e JOIN queues q ON q.id = e.queue JOIN messages m ON m.id = e.message
    WHERE e.queue = ? AND e.message = ? AND q.dead_letters IS NOT NULL"""
_OVERSIZE: Final = """
    DELETE FROM entries WHERE queue = ? AND message IN (
        SELECT message FROM (
            SELECT e.message, sum(length(m.body)) OVER (ORDER BY e.message DESC) AS bytes
            FROM entries e JOIN messages m ON m.id = e.message WHERE e.queue = ?)
        WHERE bytes > ?)"""

_NEWEST: Final = "SELECT coalesce(max(message), 0) FROM entries"

# Of so many messages that are stored at once one is left to who may wait: it copies back the log.
_AT_ONCE_IN_A_ROW: Final = 64

Asked = ParamSpec("Asked")
Result = TypeVar("Result")
Step = Callable[Concatenate[sqlite3.Connection, Asked], Result]


class News(NamedTuple):
    """What a consumer has to know of the broker."""

    turns: int
    """A number that grows when queues are taken from consumers, or given to them."""
    queues: list[int]
    """The numbers of the queues, of all consumers, that got messages."""


class Store:
    """What one connection can do with a broker; used by one thread at a time."""

    def __init__(self, database: Database, doorbells: Doorbells, leave: Callable[[], None]) -> None:
        self._database = database
        self._doorbells = doorbells
        self._leave = leave
        self._routes = Routes()
        self._doorbell: Doorbell | None = None
        # The newest message that `news` has told of: writers take turns, so any later one has a
        # higher number, and a message is never listed in a queue after it was stored.
        self._seen: int | None = None
        self._upkeep = Upkeep(database, doorbells)
        self._at_once = 0
        """How many messages were stored by `publish_at_once` since the last `publish`."""

    @property
    def inherited(self) -> bool:
        """Whether it was opened by a parent process."""
        return self._database.inherited

    @property
    def doorbell(self) -> Doorbell:
        """Our own, made when it is first needed: a connection that only publishes has none."""
        if self._doorbell is None:
            self._doorbell = self._doorbells.open()
        return self._doorbell

    def keep_up(self, *, at_once: bool = False) -> None:
        """Remove expired queues and what dead processes left, about once a second."""
        self._upkeep.run(at_once=at_once)

    def change(
        self, step: Step[Asked, Result], *arguments: Asked.args, **options: Asked.kwargs
    ) -> Result:
        """Run a function of `definitions` in a transaction of its own."""
        with self._database.write() as run:
            return step(run, *arguments, **options)

    def ask(
        self, step: Step[Asked, Result], *arguments: Asked.args, **options: Asked.kwargs
    ) -> Result:
        """Run a function of `definitions` that only reads."""
        return self._database.ask(lambda run: step(run, *arguments, **options))

    def declare_queue(self, name: str, traits: definitions.Traits) -> definitions.QueueState:
        """Declare; an exclusive queue lives as long as this connection."""
        owner = self.doorbell.address if traits.exclusive else None
        return self.change(definitions.declare_queue, name, traits, owner)

    def delete_queue(self, name: str, *, if_unused: bool = False, if_empty: bool = False) -> int:
        """Delete, and wake its consumers to hear of it; returns the messages lost."""
        lost, doorbells = self.change(
            definitions.delete_queue, name, if_unused=if_unused, if_empty=if_empty
        )
        self._doorbells.ring(doorbells)
        return lost

    def publish(self, exchange: str, routing_key: str, properties: bytes, body: bytes) -> int:
        """Store a message in all matching queues, or in none; returns in how many."""
        self.keep_up()
        if self._at_once:
            self._at_once = 0
            self._database.copies_log(True)
        route = self._stored(exchange, routing_key, properties, body)
        for dead in self._doorbells.ring(route.consumers):
            # Who waits behind it need not wait for the next upkeep.
            self._upkeep.bury(dead)
        return len(route.queues)

    def publish_at_once(
        self, exchange: str, routing_key: str, properties: bytes, body: bytes
    ) -> int | None:
        """As `publish`, but store nothing where that would have to wait; None says so."""
        if self._at_once >= _AT_ONCE_IN_A_ROW:
            return None
        database = self._database
        given_up, database.given_up = database.given_up, _at_once
        try:
            if not self._at_once:
                database.copies_log(False)
            self._at_once += 1
            route = self._stored(exchange, routing_key, properties, body)
        except StoreUnavailableError:
            return None
        finally:
            database.given_up = given_up
        # One that is dead is found by the next upkeep: to bury it is to wait for other processes.
        self._doorbells.ring(route.consumers)
        return len(route.queues)

    def _stored(self, exchange: str, routing_key: str, properties: bytes, body: bytes) -> Route:
        with self._database.write() as run:
            route = self._routes.find(run, exchange, routing_key)
            _file(run, route, (exchange, routing_key, time.time(), properties, body))
        return route

    def matching(self, exchange: str, routing_key: str) -> int:
        """Return in how many queues a message would be stored; raises `NotFound`."""
        route = self._database.ask(lambda run: self._routes.find(run, exchange, routing_key))
        return len(route.queues)

    def consume(self, name: str, prefetch: int, *, alone: bool = False) -> Standing:
        """Go to the end of a queue's line; returns where that is.

        Raises `ResourceLocked` for a second time, and where one of those in line wants to be
        `alone`; `NotFound` if there is no such queue.
        """
        answers, doorbell = self._doorbells.answers, self.doorbell.address
        standing, ring = self.change(consumers.join, name, doorbell, prefetch, answers, alone=alone)
        self._doorbells.ring(ring - {doorbell})
        return standing

    def release(self, queue: int, unsettled: Collection[int]) -> None:
        """Consume no more, though what was handed out may still be settled."""
        doorbell = self.doorbell.address
        self._doorbells.ring(self.change(consumers.leave, queue, doorbell, unsettled))

    def standings(self) -> Mapping[int, Standing]:
        """Return where we stand in the lines of which queues, by their numbers."""
        return self.ask(consumers.standings, self.doorbell.address)

    def news(self) -> News:
        """Tell what happened since the last call, from one look that costs as much as is new.

        The first call only marks the beginning.
        """
        if self._seen is None:
            ((self._seen,),) = self._database.read(_NEWEST)
        newest = dict(self._database.read(_NEWS, self._seen))
        turns = newest.pop(0)
        self._seen = max([self._seen, *newest.values()])
        return News(turns, [*newest])

    def fetch(self, queue: int, after: int, limit: int) -> list[Entry]:
        """Return the next messages of a queue; they stay there until they are settled."""
        return [Entry(*row) for row in self._database.read(_FETCH, queue, after, limit)]

    def claim(self, standing: Standing, limit: int) -> tuple[list[Entry], bool]:
        """Return the next messages of a shared queue; they are ours until they are settled.

        Returns besides whether there are more.
        """
        # Read first: of several that are woken for one message, one gets it.
        if not self.ask(consumers.unclaimed, standing.queue):
            return [], False
        return self.change(consumers.claim, standing, limit)

    def settle(self, handled: Iterable[Place]) -> None:
        """Remove handled messages from their queues."""
        with self._database.write() as run:
            run.executemany("DELETE FROM entries WHERE queue = ? AND message = ?", handled)

    def refuse(self, rejected: Iterable[Place]) -> None:
        """Remove messages from their queues, and publish them where those send dead letters."""
        doorbells: set[str] = set()
        with self._database.write() as run:
            for queue, message in rejected:
                doorbells.update(self._publish_dead_letter(run, queue, message))
                run.execute("DELETE FROM entries WHERE queue = ? AND message = ?", (queue, message))
        self._doorbells.ring(doorbells)

    def _publish_dead_letter(
        self, run: sqlite3.Connection, queue: int, message: int
    ) -> Iterable[str]:
        """Store it as a new message, since a reader may be past the number of the old one."""
        row = run.execute(_DEAD, (queue, message)).fetchone()
        if row is None:
            return ()
        name, dead_letters, key, exchange, properties, body = row
        try:
            route = self._routes.find(run, dead_letters, key)
        except NotFound:
            # As on a RabbitMQ.
            return ()
        letter = dead_letter(properties, queue=name, exchange=exchange)
        _file(run, route, (dead_letters, key, time.time(), letter, body))
        return route.consumers

    def requeue(self, queue: int, messages: Collection[int]) -> None:
        """Count messages as given back; they never left their place."""
        self._doorbells.ring(self.change(consumers.give_back, queue, messages))

    def close(self) -> None:
        """Drop our exclusive queues, free those that we consume, and let go of everything."""
        try:
            if self._doorbell is not None and not self.inherited:
                self._upkeep.bury(self._doorbell.address)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go without writing anything, as a killed process does."""
        if self._doorbell is not None:
            self._doorbell.disown() if self.inherited else self._doorbell.close()
        self._leave()


def _at_once() -> bool:
    return True


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
    for queue, most_bytes in route.sized:
        run.execute(_OVERSIZE, (queue, queue, most_bytes))
