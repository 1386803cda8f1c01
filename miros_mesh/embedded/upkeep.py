"""What has to be done though no call asks for it: queues expire, and processes die.

Its questions are answered by indexes, so they cost the same however many queues need nothing.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import Final, Protocol

from miros_mesh.embedded import consumers
from miros_mesh.embedded.database import Database
from miros_mesh.embedded.definitions import drop_queue

# A little less than the second after which workers look, so that each look counts: who waits behind
# a dead one waits no longer than that.
PERIOD_S: Final = 0.9

# `used_at` is when the time without a consumer began. Later than now: the machine restarted since.
_EXPIRED: Final = """
    SELECT id FROM queues WHERE consumer IS NULL AND expires_s IS NOT NULL
        AND used_at + expires_s <= ?"""
_FROM_BEFORE_A_RESTART: Final = """
    SELECT id FROM queues WHERE consumer IS NULL AND expires_s IS NOT NULL AND used_at > ?"""

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


class Bells(Protocol):
    """The doorbells of a broker, as far as the upkeep needs them."""

    def answers(self, address: str) -> bool:
        """Tell whether the owner of a doorbell lives."""

    def ring(self, addresses: Iterable[str]) -> object:
        """Wake the owners of doorbells; one that is dead is no error."""


class Upkeep:
    """Any connection does it for all, as a by-product of its work."""

    def __init__(self, database: Database, bells: Bells) -> None:
        self._database = database
        self._bells = bells
        self._next = 0.0

    def run(self, *, at_once: bool) -> None:
        """Look around if a second has passed, or `at_once`.

        Reads before it writes: nearly always there is nothing to do, and writers have to queue.
        """
        now = time.monotonic()
        if at_once or now >= self._next:
            self._next = now + PERIOD_S
            self._database.require_place()
            doorbells, overdue = self._database.ask(_state)
            for doorbell in doorbells:
                if not self._bells.answers(doorbell):
                    self.bury(doorbell)
            if overdue:
                with self._database.write() as run:
                    _drop_the_expired(run)
                    run.execute(_FORGET, (time.time(),))

    def bury(self, doorbell: str) -> None:
        """Drop what a doorbell owns, and have others consume: its connection is closed or dead.

        Where there are none, the time without a consumer begins now.
        """
        ring: set[str] = set()
        with self._database.write() as run:
            if run.execute("DELETE FROM doorbells WHERE address = ?", (doorbell,)).rowcount:
                _drop_owned(run, doorbell)
                ring = consumers.bury(run, doorbell)
        self._bells.ring(ring)


def _state(run: sqlite3.Connection) -> tuple[list[str], bool]:
    """Read all doorbells, and whether a queue or a message has outlived its time."""
    doorbells = [address for (address,) in run.execute("SELECT address FROM doorbells")]
    now = time.monotonic()
    questions = ((_EXPIRED, now), (_FROM_BEFORE_A_RESTART, now), (_ANY_OLD, time.time()))
    return doorbells, any(run.execute(query, (at,)).fetchone() for query, at in questions)


def _drop_the_expired(run: sqlite3.Connection) -> None:
    now = time.monotonic()
    for (queue,) in run.execute(_FROM_BEFORE_A_RESTART, (now,)).fetchall():
        run.execute("UPDATE queues SET used_at = ? WHERE id = ?", (now, queue))
    for (queue,) in run.execute(_EXPIRED, (now,)).fetchall():
        drop_queue(run, queue)


def _drop_owned(run: sqlite3.Connection, doorbell: str) -> None:
    for (queue,) in run.execute("SELECT id FROM queues WHERE owner = ?", (doorbell,)).fetchall():
        drop_queue(run, queue)
