"""What nobody asks for and must be done: queues expire, and the dead do not say goodbye."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from miros_mesh.embedded.database import Database
from miros_mesh.embedded.definitions import bump, drop_queue, mark_redelivered

PERIOD_S: Final = 1.0

_MORTAL: Final = """
    SELECT id, expires_s, auto_delete, owner, consumer, prefetch, used_at FROM queues
    WHERE expires_s IS NOT NULL OR owner IS NOT NULL OR consumer IS NOT NULL"""

# The oldest message of a queue is its first.
_ANY_OLD: Final = """
    SELECT 1 FROM queues q JOIN messages m
        ON m.id = (SELECT min(message) FROM entries WHERE queue = q.id)
    WHERE q.ttl_s IS NOT NULL AND m.stored_at + q.ttl_s < ?"""
_FORGET: Final = """
    DELETE FROM entries WHERE (queue, message) IN (
        SELECT e.queue, e.message
        FROM queues q JOIN entries e ON e.queue = q.id JOIN messages m ON m.id = e.message
        WHERE q.ttl_s IS NOT NULL AND m.stored_at + q.ttl_s < ?)"""


class _Queue(NamedTuple):
    id: int
    expires_s: float | None
    auto_delete: int
    owner: str | None
    consumer: str | None
    prefetch: int
    used_at: float

    def is_over(self, dead: AbstractSet[str], now: float) -> bool:
        """Whether it goes, with its messages."""
        if self.owner in dead:
            return True
        if self.consumer is not None:
            return bool(self.auto_delete) and self.consumer in dead
        return self.expires_s is not None and now - self.used_at >= self.expires_s

    def is_orphaned(self, dead: AbstractSet[str], now: float) -> bool:
        """Whether its time without a consumer begins now: that died, or the machine restarted."""
        return self.consumer in dead or self.used_at > now


class Upkeep:
    """Any connection does it for all, as a by-product of its work."""

    def __init__(self, database: Database, answers: Callable[[str], bool]) -> None:
        self._database = database
        self._answers = answers
        self._next = 0.0

    def run(self, *, at_once: bool) -> None:
        """Look around if it is time to, or `at_once`."""
        now = time.monotonic()
        if at_once or now >= self._next:
            self._next = now + PERIOD_S
            self._database.require_place()
            self._tidy(self._dead())
            self._forget_the_old()

    def bury(self, doorbell: str) -> None:
        """Do at once for a connection that closes what is done for one that is found dead."""
        self._tidy({doorbell})

    def _dead(self) -> set[str]:
        queues = _mortal(self._database.read(_MORTAL))
        known = {name for queue in queues for name in (queue.owner, queue.consumer) if name}
        return {doorbell for doorbell in known if not self._answers(doorbell)}

    def _forget_the_old(self) -> None:
        """Messages that outlived the time that their queue gives them."""
        now = time.time()
        if self._database.read(_ANY_OLD, now):
            with self._database.write() as run:
                run.execute(_FORGET, (now,))

    def _tidy(self, dead: AbstractSet[str]) -> None:
        """Read before writing: nearly always there is nothing to do, and writers have to queue."""
        now = time.monotonic()
        if any(_is_due(queue, dead, now) for queue in _mortal(self._database.read(_MORTAL))):
            with self._database.write() as run:
                for queue in _mortal(run.execute(_MORTAL).fetchall()):
                    _treat(run, queue, dead, now)
                bump(run)


def _mortal(rows: list[tuple[object, ...]]) -> list[_Queue]:
    return [_Queue._make(row) for row in rows]


def _is_due(queue: _Queue, dead: AbstractSet[str], now: float) -> bool:
    return queue.is_over(dead, now) or queue.is_orphaned(dead, now)


def _treat(run: sqlite3.Connection, queue: _Queue, dead: AbstractSet[str], now: float) -> None:
    if queue.is_over(dead, now):
        drop_queue(run, queue.id)
    elif queue.is_orphaned(dead, now):
        if queue.consumer in dead:
            mark_redelivered(run, queue.id, queue.prefetch)
            run.execute("UPDATE queues SET consumer = NULL WHERE id = ?", (queue.id,))
        run.execute("UPDATE queues SET used_at = ? WHERE id = ?", (now, queue.id))
