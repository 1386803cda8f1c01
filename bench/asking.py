"""What every kind of request is measured by: one at a time, then with many on their way."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Protocol

from foreign import Foreign
from measure import Child


@dataclass(frozen=True)
class Requests:
    """So many one at a time, then so many of which some are on their way at once."""

    alone: int
    sustained: int
    in_flight: int


@dataclass(frozen=True)
class Asked:
    """What came of them; the median is that of the round trips of those that were alone."""

    median_s: float
    p99_s: float
    per_s: float


class Contender(Protocol):
    """One way of asking, with a server and a client in processes of their own."""

    def ask(self, requests: Requests) -> Asked:
        """Send requests, and wait for the answers."""


class Pair:
    """A client and a server that are played by this program."""

    def __init__(self, server: Child, client: Child) -> None:
        self._client = client
        server.answer()
        client.answer()

    def ask(self, requests: Requests) -> Asked:
        """Have the client send requests."""
        self._client.tell(requests)
        asked: Asked = self._client.answer()
        return asked


class Program:
    """A client that is another program, under a Python of its own."""

    def __init__(self, client: Foreign) -> None:
        self._client = client

    def ask(self, requests: Requests) -> Asked:
        """Have it send requests."""
        self._client.tell(**asdict(requests))
        return Asked(**self._client.wait())


def summary(round_trips_s: list[float], sustained: int, took_s: float) -> Asked:
    """Make the figures of a round."""
    return Asked(
        statistics.median(round_trips_s),
        statistics.quantiles(round_trips_s, n=100)[98],
        sustained / took_s,
    )
