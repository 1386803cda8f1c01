"""Exchanges, queues and bindings: declared by any process, seen by all."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import astuple
from typing import Final

from amqp.exceptions import NotFound, PreconditionFailed, ResourceLocked

from miros_mesh.embedded.database import Database
from miros_mesh.embedded.routes import MATCHES
from miros_mesh.embedded.traits import Limits, QueueState, Traits

_ALL: Final = -1


class Definitions:
    """The shared map of one broker."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def version(self) -> int:
        """A number that grows with every change."""
        ((version,),) = self._database.read("SELECT version FROM topology")
        return int(version)

    def declare_exchange(self, name: str, kind: str, traits: Traits) -> None:
        """Make an exchange, or find that it is there just so."""
        if kind not in MATCHES:
            raise PreconditionFailed(f"PRECONDITION_FAILED - no exchange type {kind!r} here")
        wanted = (kind, str(traits))
        with self._change() as run:
            run.execute("INSERT OR IGNORE INTO exchanges VALUES (?, ?, ?)", (name, *wanted))
            query = "SELECT kind, traits FROM exchanges WHERE name = ?"
            if run.execute(query, (name,)).fetchone() != wanted:
                raise _differs("exchange", name)

    def require_exchange(self, name: str) -> None:
        """Raise `NotFound` if there is none of this name."""
        if not self._database.read("SELECT 1 FROM exchanges WHERE name = ?", name):
            raise NotFound(f"NOT_FOUND - no exchange {name!r}")

    def delete_exchange(self, name: str, *, if_unused: bool) -> None:
        """Remove an exchange and its bindings; the queues stay."""
        with self._change() as run:
            query = "SELECT 1 FROM bindings WHERE exchange = ?"
            if if_unused and run.execute(query, (name,)).fetchone():
                raise PreconditionFailed(f"PRECONDITION_FAILED - exchange {name!r} is in use")
            run.execute("DELETE FROM bindings WHERE exchange = ?", (name,))
            run.execute("DELETE FROM exchanges WHERE name = ?", (name,))

    def declare_queue(self, name: str, traits: Traits, owner: str | None) -> QueueState:
        """Make a queue, or find that it is there just so; either way its expiry starts anew."""
        limits = Limits.of(traits.arguments)
        insert = """INSERT OR IGNORE INTO queues
            (name, traits, expires_s, max_length, max_bytes, ttl_s, dead_letters,
            auto_delete, owner, used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
        row = (name, str(traits), *astuple(limits), traits.auto_delete, owner)
        with self._change() as run:
            run.execute(insert, (*row, time.monotonic()))
            run.execute("UPDATE queues SET used_at = ? WHERE name = ?", (time.monotonic(), name))
            query = "SELECT traits, owner FROM queues WHERE name = ?"
            present, its_owner = run.execute(query, (name,)).fetchone()
            if its_owner not in (None, owner):
                raise ResourceLocked(f"RESOURCE_LOCKED - queue {name!r} is exclusive to another")
            if present != str(traits):
                raise _differs("queue", name)
        return self.queue_state(name)

    def queue_state(self, name: str) -> QueueState:
        """How full it is; raises `NotFound` if there is none."""
        rows = self._database.read(
            "SELECT name, length, consumer IS NOT NULL FROM queues WHERE name = ?", name
        )
        if not rows:
            raise _no_queue(name)
        return QueueState(*rows[0])

    def delete_queue(self, name: str, *, if_unused: bool, if_empty: bool) -> tuple[int, str | None]:
        """Remove a queue; returns how many messages went with it, and the consumer to tell."""
        with self._change() as run:
            query = "SELECT id, length, consumer FROM queues WHERE name = ?"
            row = run.execute(query, (name,)).fetchone()
            if row is None:
                return 0, None
            queue, length, consumer = row
            if (if_unused and consumer) or (if_empty and length):
                why = "in use" if if_unused and consumer else "not empty"
                raise PreconditionFailed(f"PRECONDITION_FAILED - queue {name!r} is {why}")
            drop_queue(run, queue)
        return length, consumer

    def purge(self, name: str) -> int:
        """Remove all messages of a queue; returns how many."""
        with self._database.write() as run:
            query = "DELETE FROM entries WHERE queue = ?"
            return run.execute(query, (queue_id(run, name),)).rowcount

    def bind(self, queue: str, exchange: str, pattern: str) -> None:
        """Let messages that match come to the queue; twice is once."""
        with self._change() as run:
            if not run.execute("SELECT 1 FROM exchanges WHERE name = ?", (exchange,)).fetchone():
                raise NotFound(f"NOT_FOUND - no exchange {exchange!r}")
            row = (exchange, pattern, queue_id(run, queue))
            run.execute("INSERT OR IGNORE INTO bindings VALUES (?, ?, ?)", row)

    def unbind(self, queue: str, exchange: str, pattern: str) -> None:
        """End a binding; none is no error."""
        with self._change() as run:
            run.execute(
                """DELETE FROM bindings WHERE exchange = ? AND pattern = ?
                    AND queue = (SELECT id FROM queues WHERE name = ?)""",
                (exchange, pattern, queue),
            )

    def bindings(self) -> list[tuple[str, str, str]]:
        """All of them: queue, exchange, pattern."""
        return self._database.read(
            """SELECT q.name, b.exchange, b.pattern
                FROM bindings b JOIN queues q ON q.id = b.queue ORDER BY 1, 2, 3"""
        )

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._database.write() as run:
            yield run
            bump(run)


def bump(run: sqlite3.Connection) -> None:
    """Tell every process that what it remembers of the topology is out of date."""
    run.execute("UPDATE topology SET version = version + 1")


def queue_id(run: sqlite3.Connection, name: str) -> int:
    """The number of a queue; raises `NotFound` if there is none."""
    row = run.execute("SELECT id FROM queues WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise _no_queue(name)
    return int(row[0])


def drop_queue(run: sqlite3.Connection, queue: int) -> None:
    """Remove a queue with all that belongs to it."""
    run.execute("DELETE FROM entries WHERE queue = ?", (queue,))
    run.execute("DELETE FROM bindings WHERE queue = ?", (queue,))
    run.execute("DELETE FROM queues WHERE id = ?", (queue,))


def mark_redelivered(run: sqlite3.Connection, queue: int, first: int) -> None:
    """Flag the oldest `first` messages of a queue (0: all) as perhaps seen before."""
    run.execute(
        """UPDATE entries SET redelivered = 1 WHERE queue = ? AND message IN
            (SELECT message FROM entries WHERE queue = ? ORDER BY message LIMIT ?)""",
        (queue, queue, first or _ALL),
    )


def _no_queue(name: str) -> NotFound:
    return NotFound(f"NOT_FOUND - no queue {name!r}")


def _differs(what: str, name: str) -> PreconditionFailed:
    return PreconditionFailed(
        f"PRECONDITION_FAILED - {what} {name!r} was declared with other settings"
    )
