"""Which queues get a message: the bindings of all exchanges, read once a change."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable
from typing import Final, NamedTuple

from amqp.exceptions import NotFound

from miros_mesh.address import topic_matches

DEFAULT_EXCHANGE: Final = ""
_REMEMBERED: Final = 10_000


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
        self._kinds: dict[str, str] = {}
        self._bindings: dict[str, list[tuple[str, int]]] = {}
        self._queues: dict[str, int] = {}
        self._consumers: dict[int, str] = {}
        self._max_bytes: dict[int, int] = {}
        self._found: dict[tuple[str, str], Route] = {}

    def find(self, run: sqlite3.Connection, exchange: str, routing_key: str) -> Route:
        """The route at this moment of the transaction `run`."""
        (version,) = run.execute("SELECT version FROM topology").fetchone()
        if version != self._version:
            self._load(run)
            self._version = version
        found = self._found.get((exchange, routing_key))
        return found or self._search(exchange, routing_key)

    def _search(self, exchange: str, routing_key: str) -> Route:
        queues = self._matching(exchange, routing_key)
        consumers = {self._consumers[queue] for queue in queues if queue in self._consumers}
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        sized = [(queue, self._max_bytes[queue]) for queue in queues if queue in self._max_bytes]
        route = Route(tuple(sorted(queues)), tuple(sorted(consumers)), tuple(sorted(sized)))
        self._found[exchange, routing_key] = route
        return route

    def _matching(self, exchange: str, routing_key: str) -> set[int]:
        if exchange == DEFAULT_EXCHANGE:
            return {self._queues[routing_key]} if routing_key in self._queues else set()
        if exchange not in self._kinds:
            raise NotFound(f"NOT_FOUND - no exchange {exchange!r}")
        matches = _MATCHES[self._kinds[exchange]]
        bound = self._bindings.get(exchange, ())
        return {queue for pattern, queue in bound if matches(pattern, routing_key)}

    def _load(self, run: sqlite3.Connection) -> None:
        self._found.clear()
        self._kinds = dict(run.execute("SELECT name, kind FROM exchanges"))
        self._queues = dict(run.execute("SELECT name, id FROM queues"))
        consumed = "SELECT id, consumer FROM queues WHERE consumer IS NOT NULL"
        self._consumers = dict(run.execute(consumed))
        limited = "SELECT id, max_bytes FROM queues WHERE max_bytes IS NOT NULL"
        self._max_bytes = dict(run.execute(limited))
        self._bindings = defaultdict(list)
        for exchange, pattern, queue in run.execute("SELECT * FROM bindings"):
            self._bindings[exchange].append((pattern, queue))
