"""Which brokers are known, which are the same one, and which have been dead for how long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from miros_mesh.address import Endpoint

MOST_PEERS = 1024


@dataclass
class Known:
    """One broker: how it was named first, and what each of its names stands for at present."""

    endpoint: Endpoint
    names: dict[Endpoint, frozenset[str]]
    dead_since: float | None = None
    connected: bool = False

    @property
    def addresses(self) -> frozenset[str]:
        """Every address that it is seen under."""
        return frozenset().union(*self.names.values())

    def seen(self, endpoint: Endpoint, addresses: frozenset[str]) -> None:
        """A name stands for these now; what it stood for before may be another broker's today."""
        # A look-up that failed tells nothing new.
        if endpoint not in self.names or addresses - {endpoint.host}:
            # Other threads may be reading it.
            self.names = {**self.names, endpoint: addresses}


class KnownBrokers:
    """The brokers of one node; used on one chart's thread. `home` is never found and never lost."""

    def __init__(self, home: Iterable[Endpoint], forget_after_s: float) -> None:
        self._home = [Known(endpoint, {endpoint: frozenset({endpoint.host})}) for endpoint in home]
        self._known: list[Known] = []
        self._forget_after_s = forget_after_s

    @property
    def peers(self) -> tuple[Endpoint, ...]:
        """Every known broker but those of home."""
        return tuple(known.endpoint for known in self._known)

    def at_home(self, addresses: Mapping[Endpoint, frozenset[str]]) -> None:
        """Every address of the home brokers has become known."""
        for known in self._home:
            known.seen(known.endpoint, addresses.get(known.endpoint, frozenset()))

    def strike(self, endpoint: Endpoint) -> None:
        """Forget a broker, so that it can be found anew."""
        self._known = [known for known in self._known if known.endpoint != endpoint]

    def is_known(self, endpoint: Endpoint) -> bool:
        """Whether an endpoint is a known broker or one of home."""
        return self._find(endpoint, frozenset({endpoint.host})) is not None

    def is_connected(self, endpoint: Endpoint) -> bool:
        """Whether the node is connected to a broker; home counts as one. From any thread."""
        known = self._find(endpoint, frozenset({endpoint.host}))
        return known is not None and (known.connected or known in self._home)

    def alive(self, endpoint: Endpoint, addresses: Iterable[str]) -> bool:
        """A broker was found; whether it is a new one."""
        seen = frozenset(addresses) or frozenset({endpoint.host})
        known = self._find(endpoint, seen)
        if known is None and len(self._known) < MOST_PEERS:
            self._known.append(Known(endpoint, {endpoint: seen}))
            return True
        if known:
            known.seen(endpoint, seen)
            known.dead_since = None
        return False

    def dead(self, endpoint: Endpoint, now: float) -> None:
        """A search got no answer; whoever is connected knows better."""
        known = self._find(endpoint, frozenset({endpoint.host}))
        if known and known.dead_since is None and not known.connected:
            known.dead_since = now

    def connected(self, endpoint: Endpoint) -> None:
        """The node is connected to a broker."""
        if known := self._find(endpoint, frozenset({endpoint.host})):
            known.connected = True
            known.dead_since = None

    def disconnected(self, endpoint: Endpoint, now: float) -> None:
        """The node's connection to a broker broke."""
        if known := self._find(endpoint, frozenset({endpoint.host})):
            known.connected = False
            known.dead_since = now if known.dead_since is None else known.dead_since

    def forget_dead(self, now: float) -> list[Endpoint]:
        """Strike out the brokers that have been dead for too long."""
        lost = [
            known
            for known in self._known
            if known.dead_since is not None and known.dead_since + self._forget_after_s <= now
        ]
        self._known = [known for known in self._known if known not in lost]
        return [known.endpoint for known in lost]

    def next_end(self) -> float | None:
        """When the next broker will have been dead for too long."""
        ends = [known.dead_since for known in self._known if known.dead_since is not None]
        return min(ends) + self._forget_after_s if ends else None

    def _find(self, endpoint: Endpoint, addresses: frozenset[str]) -> Known | None:
        everyone = (*self._home, *self._known)
        # Its own name first: that of another broker may stand for its address by now, too.
        for known in everyone:
            if known.endpoint == endpoint:
                return known
        for known in everyone:
            if known.endpoint.port == endpoint.port and known.addresses & addresses:
                return known
        return None
