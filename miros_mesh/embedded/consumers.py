"""Who consumes a queue, in which order, and what each of several is handed.

| queue | its consumers | what they get |
| --- | --- | --- |
| with a single active consumer | the first in line is active, others wait | it all, in order |
| without, so shared | all at once | each message is claimed by one of them |

A consumer comes to the end of the line. When its process is dead, what it was handed and had not
settled is there for the others, each message in its place, and counted as given back. So it is when
it leaves; but a claim of a shared queue lasts until it is settled or its channel closes.

Each function works in a transaction that its caller has opened. What it returns are the addresses
of the doorbells to ring when that is committed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

from amqp.exceptions import ResourceLocked

from miros_mesh.embedded.definitions import (
    bump,
    bump_turns,
    drop_queue,
    know_doorbell,
    queue_id,
)
from miros_mesh.embedded.message import Entry

# To SQLite, which takes no limit for one that is below zero.
_ALL: Final = -1

_CONSUMERS: Final = """
    SELECT id, doorbell, alone FROM consumers WHERE queue = ? AND NOT cancelled ORDER BY id"""
# Those that were cancelled, when they hold nothing any more.
_TIDY: Final = """
    DELETE FROM consumers WHERE doorbell = ? AND cancelled
        AND NOT EXISTS (SELECT 1 FROM entries WHERE holder = consumers.id)"""
_HOLDINGS: Final = """
    SELECT id, prefetch, (SELECT count(*) FROM entries WHERE holder = c.id)
    FROM consumers c WHERE queue = ? AND NOT cancelled"""
_UNCLAIMED: Final = """
    SELECT message FROM entries WHERE queue = ? AND holder IS NULL ORDER BY message LIMIT ?"""
_HOLD: Final = "UPDATE entries SET holder = ? WHERE queue = ? AND message = ?"
_CLAIMED: Final = """
    SELECT e.message, e.returns, m.exchange, m.routing_key, m.properties, m.body
    FROM entries e JOIN messages m ON m.id = e.message
    WHERE e.queue = ? AND e.message = ?"""
_RETURN: Final = """
    UPDATE entries SET returns = returns + 1, holder = NULL WHERE queue = ? AND message = ?"""
_RETURN_FIRST: Final = """
    UPDATE entries SET returns = returns + 1 WHERE queue = ? AND message IN
        (SELECT message FROM entries WHERE queue = ? ORDER BY message LIMIT ?)"""


class Standing(NamedTuple):
    """Where a consumer stands in the line of a queue."""

    queue: int
    consumer: int
    """Its number, which no other ever has."""
    sharing: bool
    """Whether it claims each message before it is handed that."""
    active: bool
    """Whether it is handed anything; else it waits for those before it."""


def join(
    run: sqlite3.Connection,
    queue: str,
    doorbell: str,
    prefetch: int,
    answers: Callable[[str], bool],
    *,
    alone: bool,
) -> tuple[Standing, set[str]]:
    """Go to the end of the line of a queue, after the dead in it were removed.

    One that wants to be `alone` reads in order what others share, and is refused beside others as
    they are beside it, with `ResourceLocked`.
    """
    number, sharing, owner = _queue(run, queue)
    if owner not in (None, doorbell):
        raise ResourceLocked(f"RESOURCE_LOCKED - queue {queue!r} is exclusive to another")
    ring: set[str] = set()
    for _, other, _ in run.execute(_CONSUMERS, (number,)).fetchall():
        if other != doorbell and not answers(other):
            ring |= leave(run, number, other)
    others = run.execute(_CONSUMERS, (number,)).fetchall()
    one_only = alone or any(its_alone for _, _, its_alone in others)
    if (others and one_only) or any(other == doorbell for _, other, _ in others):
        raise ResourceLocked(f"RESOURCE_LOCKED - queue {queue!r} has a consumer already")
    know_doorbell(run, doorbell)
    insert = "INSERT INTO consumers (queue, doorbell, prefetch, alone) VALUES (?, ?, ?, ?)"
    made = run.execute(insert, (number, doorbell, prefetch, alone)).lastrowid or 0
    if not others:
        _set_first(run, number, doorbell)
    bump(run)
    sharing = bool(sharing) and not alone
    return Standing(number, made, sharing, active=sharing or not others), ring


def leave(
    run: sqlite3.Connection, queue: int, doorbell: str, unsettled: Collection[int] | None = None
) -> set[str]:
    """Leave the line of a queue, if it is in that.

    `unsettled` is what it was handed and has not settled; without that it is dead, and may have
    been handed all that its prefetch allowed.
    """
    query = """SELECT c.id, c.prefetch, q.shared AND NOT c.alone, q.consumer
        FROM consumers c JOIN queues q ON q.id = c.queue
        WHERE c.queue = ? AND c.doorbell = ? AND NOT c.cancelled"""
    row = run.execute(query, (queue, doorbell)).fetchone()
    if row is None:
        return set()
    number, prefetch, sharing, first = row
    if sharing:
        _let_go(run, queue, number, unsettled)
    elif unsettled is not None:
        run.executemany(_RETURN, [(queue, message) for message in unsettled])
    elif first == doorbell:
        run.execute(_RETURN_FIRST, (queue, queue, prefetch or _ALL))
    run.execute("UPDATE consumers SET cancelled = 1 WHERE id = ?", (number,))
    run.execute(_TIDY, (doorbell,))
    return _close_ranks(run, queue, doorbell)


def bury(run: sqlite3.Connection, doorbell: str) -> set[str]:
    """Leave every line for one that is closed or dead, and let go of what it has claimed."""
    ring: set[str] = set()
    query = "SELECT queue FROM consumers WHERE doorbell = ? AND NOT cancelled"
    for (queue,) in run.execute(query, (doorbell,)).fetchall():
        ring |= leave(run, queue, doorbell)
    left = "DELETE FROM consumers WHERE doorbell = ? RETURNING queue, id"
    for queue, number in run.execute(left, (doorbell,)).fetchall():
        _let_go(run, queue, number, None)
        ring |= _others(run, queue)
    return ring


def give_back(run: sqlite3.Connection, queue: int, messages: Iterable[int]) -> set[str]:
    """Count messages as given back; they never left their place. Others may claim them."""
    run.executemany(_RETURN, [(queue, message) for message in messages])
    return _others(run, queue)


def standings(run: sqlite3.Connection, doorbell: str) -> dict[int, Standing]:
    """Return where a doorbell stands in which lines, by the number of the queue."""
    query = """SELECT c.queue, c.id, q.shared AND NOT c.alone, q.shared OR q.consumer = c.doorbell
        FROM consumers c JOIN queues q ON q.id = c.queue
        WHERE c.doorbell = ? AND NOT c.cancelled"""
    rows = run.execute(query, (doorbell,)).fetchall()
    return {row[0]: Standing(row[0], row[1], bool(row[2]), bool(row[3])) for row in rows}


def unclaimed(run: sqlite3.Connection, queue: int) -> bool:
    """Whether anything of a shared queue waits to be claimed."""
    return run.execute(_UNCLAIMED, (queue, 1)).fetchone() is not None


def claim(run: sqlite3.Connection, standing: Standing, most: int) -> tuple[list[Entry], bool]:
    """Take the next messages of a shared queue for one consumer, in order, and its part at most.

    Its part is what it would have if all had the same that may have more: one that comes first
    leaves no other idle. Returns besides whether more is there, which it may take later.
    """
    rows = run.execute(_HOLDINGS, (standing.queue,)).fetchall()
    me = standing.consumer
    held = {
        number: has
        for number, prefetch, has in rows
        if number == me or not prefetch or has < prefetch
    }
    if me not in held:
        # It was taken for dead. What is claimed in its name would be in no one's hands.
        return [], False
    waiting = run.execute(_UNCLAIMED, (standing.queue, most * len(held) + 1)).fetchall()
    part = -(-(len(waiting) + sum(held.values())) // len(held))
    mine = waiting[: max(0, min(most, part - held[me]))]
    run.executemany(_HOLD, [(me, standing.queue, message) for (message,) in mine])
    rows = [run.execute(_CLAIMED, (standing.queue, message)).fetchone() for (message,) in mine]
    return [Entry(*row) for row in rows], len(waiting) > len(mine)


def _queue(run: sqlite3.Connection, name: str) -> tuple[int, int, str | None]:
    query = "SELECT shared, owner FROM queues WHERE id = ?"
    number = queue_id(run, name)
    shared, owner = run.execute(query, (number,)).fetchone()
    return number, shared, owner


def _let_go(
    run: sqlite3.Connection, queue: int, consumer: int, unsettled: Collection[int] | None
) -> None:
    """Let others claim what a consumer has and was not handed, or all of it when it is dead."""
    if unsettled is None:
        run.execute("UPDATE entries SET returns = returns + 1 WHERE holder = ?", (consumer,))
    run.execute("UPDATE entries SET holder = NULL WHERE holder = ?", (consumer,))
    hold = [(consumer, queue, message) for message in unsettled or ()]
    run.executemany(_HOLD, hold)


def _close_ranks(run: sqlite3.Connection, queue: int, gone: str) -> set[str]:
    """Let the next one be the first, if it was the first that has gone."""
    query = "SELECT consumer, shared, auto_delete FROM queues WHERE id = ?"
    first, shared, auto_delete = run.execute(query, (queue,)).fetchone()
    rest = [doorbell for _, doorbell, _ in run.execute(_CONSUMERS, (queue,)).fetchall()]
    bump(run)
    if not rest and auto_delete:
        drop_queue(run, queue)
        return set()
    if first == gone:
        _set_first(run, queue, rest[0] if rest else None)
    if not rest:
        return set()
    bump_turns(run)
    return set(rest if shared else rest[:1])


def _others(run: sqlite3.Connection, queue: int) -> set[str]:
    """Return those who may claim what was given back: none where one consumes at a time."""
    query = "SELECT 1 FROM queues WHERE id = ? AND shared"
    if not run.execute(query, (queue,)).fetchone():
        return set()
    bump_turns(run)
    return {doorbell for _, doorbell, _ in run.execute(_CONSUMERS, (queue,)).fetchall()}


def _set_first(run: sqlite3.Connection, queue: int, doorbell: str | None) -> None:
    run.execute(
        "UPDATE queues SET consumer = ?, used_at = ? WHERE id = ?",
        (doorbell, time.monotonic(), queue),
    )
