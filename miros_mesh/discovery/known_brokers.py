"""`KnownBrokers`: every broker once, whatever its names, and how long it has been dead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from miros_mesh.address import Endpoint

# Each costs the node a publisher: a thread, a connection, an outbox.
MOST_PEERS = 1024


@dataclass
class Known:
    """One broker: its first name, and the addresses that each of its names stands for now."""

    endpoint: Endpoint
    names: dict[Endpoint, frozenset[str]]
    dead_since: float | None = None
    connected: bool = False

    @property
    def addresses(self) -> frozenset[str]:
        """The addresses of all its names."""
        return frozenset().union(*self.names.values())

    def seen(self, endpoint: Endpoint, addresses: frozenset[str]) -> None:
        """Note the present addresses of a name; its former ones may be another broker's by now."""
        # A look-up that failed gives the name itself alone, and tells nothing new.
        if endpoint not in self.names or addresses - {endpoint.host}:
            # Replaced, not changed: other threads may be reading it.
            self.names = {**self.names, endpoint: addresses}


class KnownBrokers:
    """The brokers of one node, changed on one chart's thread. `home` is never found or lost.

    | a peer is | connected | dead_since |
    | --- | --- | --- |
    | found, and no publisher has reached it yet | False | None |
    | in use | True | None |
    | dead: its connection broke, or a search got no answer | False | since then |

    It is lost once it has been dead for `forget_after_s`. While the node is connected to it, a
    search without an answer does not count.
    """

    def __init__(self, home: Iterable[Endpoint], forget_after_s: float) -> None:
        self._home = [Known(endpoint, {endpoint: frozenset({endpoint.host})}) for endpoint in home]
        # Other threads read both without a lock: this list is replaced, or grows at its end.
        self._known: list[Known] = []
        self._forget_after_s = forget_after_s

    @property
    def peers(self) -> tuple[Endpoint, ...]:
        """Every known broker but home."""
        return tuple(known.endpoint for known in self._known)

    def at_home(self, addresses: Mapping[Endpoint, frozenset[str]]) -> None:
        """Note every address of the home brokers."""
        for known in self._home:
            # One that was not looked up keeps the addresses that it had.
            known.seen(known.endpoint, addresses.get(known.endpoint, frozenset()))

    def strike(self, endpoint: Endpoint) -> None:
        """Forget a broker, so that it can be found anew."""
        self._known = [known for known in self._known if known.endpoint != endpoint]

    def is_known(self, endpoint: Endpoint) -> bool:
        """Return whether an endpoint is a known broker or home; from any thread."""
        return self._find(endpoint, frozenset({endpoint.host})) is not None

    def is_connected(self, endpoint: Endpoint) -> bool:
        """Return whether the node is connected to a broker; it is to home. From any thread."""
        known = self._find(endpoint, frozenset({endpoint.host}))
        return known is not None and (known.connected or known in self._home)

    def alive(self, endpoint: Endpoint, addresses: Iterable[str]) -> bool:
        """Note that a broker was found; whether it is a new one."""
        seen = frozenset(addresses) or frozenset({endpoint.host})
        known = self._find(endpoint, seen)
        # One too many is not noted, and is new again when the next search finds it.
        if known is None and len(self._known) < MOST_PEERS:
            self._known.append(Known(endpoint, {endpoint: seen}))
            return True
        if known:
            known.seen(endpoint, seen)
            known.dead_since = None
        return False

    def dead(self, endpoint: Endpoint, now: float) -> None:
        """Note that a search got no answer; ignored while the node is connected to the broker."""
        # By its text alone: a host without an answer is not looked up.
        known = self._find(endpoint, frozenset({endpoint.host}))
        if known and known.dead_since is None and not known.connected:
            known.dead_since = now

    def connected(self, endpoint: Endpoint) -> None:
        """Note that the node is connected to a broker, which is not dead then."""
        if known := self._find(endpoint, frozenset({endpoint.host})):
            known.connected = True
            known.dead_since = None

    def disconnected(self, endpoint: Endpoint, now: float) -> None:
        """Note that the node's connection to a broker broke: it is dead from now on."""
        if known := self._find(endpoint, frozenset({endpoint.host})):
            known.connected = False
            # The first moment stands: a search may have found it dead before.
            known.dead_since = now if known.dead_since is None else known.dead_since

    def forget_dead(self, now: float) -> list[Endpoint]:
        """Remove the brokers that have been dead for too long, and return them."""
        lost = [
            known
            for known in self._known
            if known.dead_since is not None and known.dead_since + self._forget_after_s <= now
        ]
        # A new list: one that shrinks would hide a broker from a thread that walks along it.
        self._known = [known for known in self._known if known not in lost]
        return [known.endpoint for known in lost]

    def next_end(self) -> float | None:
        """Return when the next broker will have been dead for too long; None if none is dead."""
        ends = [known.dead_since for known in self._known if known.dead_since is not None]
        return min(ends) + self._forget_after_s if ends else None

    def _find(self, endpoint: Endpoint, addresses: frozenset[str]) -> Known | None:
        all_known = (*self._home, *self._known)
        # By name first: the name of another broker may stand for its address by now, too.
        for known in all_known:
            if known.endpoint == endpoint:
                return known
        # Then by address; two brokers of one host are told apart by their ports.
        for known in all_known:
            if known.endpoint.port == endpoint.port and known.addresses & addresses:
                return known
        return None
