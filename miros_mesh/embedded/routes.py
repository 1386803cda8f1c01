"""Which queues get a message: looked up once for each exchange and key, until bindings change."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from amqp.exceptions import NotFound

from miros_mesh.address import topic_matches

DEFAULT_EXCHANGE: Final = ""
_REMEMBERED: Final = 10_000

# A row for each consumer of a shared queue, and else for the one that is active, if there is one.
_NAMED: Final = """
    SELECT q.id, c.doorbell, q.max_bytes FROM queues q
    LEFT JOIN consumers c
        ON c.queue = q.id AND NOT c.cancelled AND (q.shared OR c.doorbell = q.consumer)
    WHERE q.name = ?"""
_BOUND: Final = """
    SELECT q.id, c.doorbell, q.max_bytes FROM bindings b JOIN queues q ON q.id = b.queue
    LEFT JOIN consumers c
        ON c.queue = q.id AND NOT c.cancelled AND (q.shared OR c.doorbell = q.consumer)
    WHERE b.exchange = ? AND b.pattern = ?"""

_Queue = tuple[int, str | None, int | None]


class Route(NamedTuple):
    """Where a message goes, and whom to wake for it."""

    queues: tuple[int, ...]
    consumers: tuple[str, ...]
    sized: tuple[tuple[int, int], ...]
    """Those of the queues that hold so many bytes at most."""


def _equal(pattern: str, key: str) -> bool:
    return pattern == key


def _always(_: str, __: str) -> bool:
    return True


# Each kind that `definitions.EXCHANGE_KINDS` allows.
_MATCHES: Final[dict[str, Callable[[str, str], bool]]] = {
    "direct": _equal,
    "topic": topic_matches,
    "fanout": _always,
}


class Routes:
    """Answers from memory while the topology in the database stays at the same version."""

    def __init__(self) -> None:
        self._version = 0
        self._found: dict[tuple[str, str], Route] = {}

    def find(self, run: sqlite3.Connection, exchange: str, routing_key: str) -> Route:
        """Return the route at this moment of the transaction `run`; `NotFound` has no exchange."""
        (version,) = run.execute("SELECT version FROM topology").fetchone()
        if version != self._version or len(self._found) >= _REMEMBERED:
            self._found.clear()
            self._version = version
        route = self._found.get((exchange, routing_key))
        if route is None:
            route = _route(_matching(run, exchange, routing_key))
            self._found[exchange, routing_key] = route
        return route


def _route(queues: Iterable[_Queue]) -> Route:
    """Order them, and take one that has two matching bindings, or several consumers, once."""
    known = list(queues)
    sizes = sorted({number: max_bytes for number, _, max_bytes in known}.items())
    return Route(
        queues=tuple(number for number, _ in sizes),
        consumers=tuple(sorted({consumer for _, consumer, _ in known if consumer})),
        sized=tuple((number, max_bytes) for number, max_bytes in sizes if max_bytes is not None),
    )


def _matching(run: sqlite3.Connection, exchange: str, routing_key: str) -> Iterable[_Queue]:
    if exchange == DEFAULT_EXCHANGE:
        return run.execute(_NAMED, (routing_key,)).fetchall()
    kind = run.execute("SELECT kind FROM exchanges WHERE name = ?", (exchange,)).fetchone()
    if kind is None:
        raise NotFound(f"NOT_FOUND - no exchange {exchange!r}")
    matches = _MATCHES[kind[0]]
    query = "SELECT DISTINCT pattern FROM bindings WHERE exchange = ?"
    patterns = [pattern for (pattern,) in run.execute(query, (exchange,)).fetchall()]
    return [
        queue
        for pattern in patterns
        if matches(pattern, routing_key)
        for queue in run.execute(_BOUND, (exchange, pattern)).fetchall()
    ]
