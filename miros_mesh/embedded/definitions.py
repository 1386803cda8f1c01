"""Exchanges, queues and bindings: what a declaration asks for, and how it is stored.

Each function works on a connection that its caller has opened: those that change something want a
transaction. What may change who gets a message raises the version of the topology, by which all
processes know that their routes are out of date; a declaration of what is there already does not.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, Final, NamedTuple

from amqp.exceptions import NotFound, PreconditionFailed, ResourceLocked

EXCHANGE_KINDS: Final = frozenset({"direct", "topic", "fanout"})


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a declaration asks for; a second declaration must ask for the same."""

    durable: bool = False
    auto_delete: bool = False
    exclusive: bool = False
    arguments: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return json.dumps(vars(self) | {"arguments": dict(self.arguments)}, sort_keys=True)


SINGLE_ACTIVE: Final = "x-single-active-consumer"
# One file keeps all queues, which bring a message back for ever. The one above is no limit.
_IMPLIED: Final = frozenset({"x-queue-type", "x-delivery-limit", SINGLE_ACTIVE})


@dataclass(frozen=True)
class Limits:
    """The queue arguments that the embedded broker heeds."""

    expires_s: float | None = None
    max_length: int | None = None
    max_bytes: int | None = None
    ttl_s: float | None = None
    dead_letters: str | None = None
    dead_letter_key: str | None = None
    """The routing key of dead letters, where it is not that of the message."""

    @classmethod
    def of(cls, arguments: Mapping[str, object]) -> Limits:
        """Read them; `PreconditionFailed` for one that this broker would not heed."""
        given = {name: value for name, value in arguments.items() if name not in _IMPLIED}
        expires_ms = _number(given.pop("x-expires", None), "x-expires", 1)
        ttl_ms = _number(given.pop("x-message-ttl", None), "x-message-ttl", 0)
        limits = cls(
            expires_s=None if expires_ms is None else expires_ms / 1000,
            max_length=_number(given.pop("x-max-length", None), "x-max-length", 0),
            max_bytes=_number(given.pop("x-max-length-bytes", None), "x-max-length-bytes", 0),
            ttl_s=None if ttl_ms is None else ttl_ms / 1000,
            dead_letters=_name(given.pop("x-dead-letter-exchange", None), "x-dead-letter-exchange"),
            dead_letter_key=_name(
                given.pop("x-dead-letter-routing-key", None), "x-dead-letter-routing-key"
            ),
        )
        if limits.dead_letter_key is not None and limits.dead_letters is None:
            raise PreconditionFailed(
                "PRECONDITION_FAILED - x-dead-letter-routing-key needs x-dead-letter-exchange"
            )
        if given.pop("x-overflow", "drop-head") != "drop-head":
            raise PreconditionFailed("PRECONDITION_FAILED - x-overflow can only be drop-head here")
        if given:
            names = ", ".join(sorted(given))
            raise PreconditionFailed(f"PRECONDITION_FAILED - the embedded broker has no {names}")
        if limits.dead_letters is not None and limits.drops:
            raise PreconditionFailed(
                "PRECONDITION_FAILED - a queue with dead letters has no limits here: "
                "only what is rejected goes there"
            )
        return limits

    @property
    def drops(self) -> bool:
        """Whether the queue may drop messages that were neither handled nor rejected."""
        return any(limit is not None for limit in (self.max_length, self.max_bytes, self.ttl_s))


_STATES: Final = """SELECT name, length, (SELECT count(*)
        FROM consumers c WHERE c.queue = queues.id AND NOT c.cancelled)
    FROM queues"""


class QueueState(NamedTuple):
    """A queue as a declaration reports it."""

    name: str
    messages: int
    consumers: int


def bump(run: sqlite3.Connection) -> None:
    """Let every process read its routes again."""
    run.execute("UPDATE topology SET version = version + 1")


def bump_turns(run: sqlite3.Connection) -> None:
    """Let every consumer look which of its queues it still has, and what it may take there."""
    run.execute("UPDATE topology SET turns = turns + 1")


def know_doorbell(run: sqlite3.Connection, address: str) -> None:
    """Have the upkeep look after the queues that this doorbell owns or consumes."""
    run.execute("INSERT OR IGNORE INTO doorbells VALUES (?)", (address,))


# Exchanges


def declare_exchange(run: sqlite3.Connection, name: str, kind: str, traits: Traits) -> None:
    """Make an exchange; `PreconditionFailed` if there is another one of this name."""
    if kind not in EXCHANGE_KINDS:
        raise PreconditionFailed(f"PRECONDITION_FAILED - no exchange type {kind!r} here")
    wanted = (kind, str(traits))
    made = run.execute("INSERT OR IGNORE INTO exchanges VALUES (?, ?, ?)", (name, *wanted))
    if made.rowcount:
        bump(run)
    query = "SELECT kind, traits FROM exchanges WHERE name = ?"
    if run.execute(query, (name,)).fetchone() != wanted:
        raise _differs("exchange", name)


def has_exchange(run: sqlite3.Connection, name: str, kind: str, traits: Traits) -> bool:
    """Tell whether there is just this exchange, so that no transaction is needed to declare it."""
    query = "SELECT 1 FROM exchanges WHERE name = ? AND kind = ? AND traits = ?"
    return run.execute(query, (name, kind, str(traits))).fetchone() is not None


def require_exchange(run: sqlite3.Connection, name: str) -> None:
    """Raise `NotFound` if there is none of this name."""
    if not run.execute("SELECT 1 FROM exchanges WHERE name = ?", (name,)).fetchone():
        raise NotFound(f"NOT_FOUND - no exchange {name!r}")


def delete_exchange(run: sqlite3.Connection, name: str, *, if_unused: bool) -> None:
    """Remove an exchange and its bindings; the queues stay."""
    query = "SELECT 1 FROM bindings WHERE exchange = ?"
    if if_unused and run.execute(query, (name,)).fetchone():
        raise PreconditionFailed(f"PRECONDITION_FAILED - exchange {name!r} is in use")
    run.execute("DELETE FROM bindings WHERE exchange = ?", (name,))
    run.execute("DELETE FROM exchanges WHERE name = ?", (name,))
    bump(run)


# Queues


def declare_queue(
    run: sqlite3.Connection, name: str, traits: Traits, owner: str | None
) -> QueueState:
    """Make a queue, or start the expiry anew of one that is there just so.

    `PreconditionFailed` if there is another one of this name, `ResourceLocked` if it is exclusive
    to another connection than `owner`, a doorbell's address.
    """
    limits = Limits.of(traits.arguments)
    insert = """INSERT OR IGNORE INTO queues
        (name, traits, expires_s, max_length, max_bytes, ttl_s, dead_letters, dead_letter_key,
        shared, auto_delete, owner, used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
    used = (not traits.arguments.get(SINGLE_ACTIVE), traits.auto_delete, owner, time.monotonic())
    row = (name, str(traits), *astuple(limits), *used)
    if owner is not None:
        know_doorbell(run, owner)
    if run.execute(insert, row).rowcount:
        bump(run)
        return QueueState(name, 0, 0)
    run.execute("UPDATE queues SET used_at = ? WHERE name = ?", (time.monotonic(), name))
    query = "SELECT traits, owner FROM queues WHERE name = ?"
    present, its_owner = run.execute(query, (name,)).fetchone()
    if its_owner not in (None, owner):
        raise ResourceLocked(f"RESOURCE_LOCKED - queue {name!r} is exclusive to another")
    if present != str(traits):
        raise _differs("queue", name, _argument_that_differs(json.loads(present), traits))
    return queue_state(run, name)


def has_queue(run: sqlite3.Connection, name: str) -> bool:
    """Whether there is a queue of this name, expired or not."""
    return run.execute("SELECT 1 FROM queues WHERE name = ?", (name,)).fetchone() is not None


def queue_state(run: sqlite3.Connection, name: str) -> QueueState:
    """Count messages and consumers; raises `NotFound` if there is no such queue."""
    row = run.execute(f"{_STATES} WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise _no_queue(name)
    return QueueState(*row)


def queue_states(run: sqlite3.Connection) -> list[QueueState]:
    """Count messages and consumers of every queue."""
    return [QueueState(*row) for row in run.execute(_STATES)]


def delete_queue(
    run: sqlite3.Connection, name: str, *, if_unused: bool, if_empty: bool
) -> tuple[int, list[str]]:
    """Remove a queue; returns how many messages went with it, and its consumers' doorbells."""
    query = "SELECT id, length, consumer FROM queues WHERE name = ?"
    row = run.execute(query, (name,)).fetchone()
    if row is None:
        return 0, []
    queue, length, consumer = row
    if (if_unused and consumer) or (if_empty and length):
        why = "in use" if if_unused and consumer else "not empty"
        raise PreconditionFailed(f"PRECONDITION_FAILED - queue {name!r} is {why}")
    return length, drop_queue(run, queue)


def purge(run: sqlite3.Connection, name: str) -> int:
    """Remove all messages of a queue; returns how many."""
    return run.execute("DELETE FROM entries WHERE queue = ?", (queue_id(run, name),)).rowcount


def queue_id(run: sqlite3.Connection, name: str) -> int:
    """Return the number of a queue; raises `NotFound` if there is none."""
    row = run.execute("SELECT id FROM queues WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise _no_queue(name)
    return int(row[0])


def drop_queue(run: sqlite3.Connection, queue: int) -> list[str]:
    """Remove a queue with all that belongs to it; returns its consumers' doorbells."""
    run.execute("DELETE FROM entries WHERE queue = ?", (queue,))
    run.execute("DELETE FROM bindings WHERE queue = ?", (queue,))
    run.execute("DELETE FROM queues WHERE id = ?", (queue,))
    delete = "DELETE FROM consumers WHERE queue = ? RETURNING doorbell"
    consumers = [doorbell for (doorbell,) in run.execute(delete, (queue,)).fetchall()]
    if consumers:
        bump_turns(run)
    bump(run)
    return consumers


# Bindings


def bind(run: sqlite3.Connection, queue: str, exchange: str, pattern: str) -> None:
    """Send messages that match to the queue; a second binding like it changes nothing."""
    require_exchange(run, exchange)
    row = (exchange, pattern, queue_id(run, queue))
    if run.execute("INSERT OR IGNORE INTO bindings VALUES (?, ?, ?)", row).rowcount:
        bump(run)


def unbind(run: sqlite3.Connection, queue: str, exchange: str, pattern: str) -> None:
    """End a binding; none is no error."""
    delete = """DELETE FROM bindings WHERE exchange = ? AND pattern = ?
        AND queue = (SELECT id FROM queues WHERE name = ?)"""
    if run.execute(delete, (exchange, pattern, queue)).rowcount:
        bump(run)


def bindings(run: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """List all bindings: queue, exchange, pattern."""
    return run.execute(
        """SELECT q.name, b.exchange, b.pattern
            FROM bindings b JOIN queues q ON q.id = b.queue ORDER BY 1, 2, 3"""
    ).fetchall()


def _no_queue(name: str) -> NotFound:
    return NotFound(f"NOT_FOUND - no queue {name!r}")


def _differs(what: str, name: str, argument: str = "") -> PreconditionFailed:
    # As RabbitMQ begins it, which `link.rabbitmq.refusals` goes by.
    begin = "PRECONDITION_FAILED - inequivalent arg"
    if argument:
        of, differs = argument.split(" ", 1)
        return PreconditionFailed(f"{begin} '{of}' for {what} {name!r}: {differs}")
    return PreconditionFailed(f"{begin} for {what} {name!r}: it has other settings")


def _argument_that_differs(present: dict[str, Any], wanted: Traits) -> str:
    """Say which argument of a queue is not as it is wanted, in RabbitMQ's words, if one is."""
    there = present["arguments"]
    for name in sorted({*there, *wanted.arguments}):
        if there.get(name) != wanted.arguments.get(name):
            return (
                f"{name} received {_said(wanted.arguments.get(name))} "
                f"but current is {_said(there.get(name))}"
            )
    return ""


def _said(value: object) -> str:
    if value is None:
        return "none"
    return repr(value) if isinstance(value, str) else f"the value {str(value)!r}"


def _name(value: object, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise PreconditionFailed(f"PRECONDITION_FAILED - {name} must be a text")
    return value


def _number(value: object, name: str, least: int) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise PreconditionFailed(f"PRECONDITION_FAILED - {name} must be a number from {least}")
    return value
