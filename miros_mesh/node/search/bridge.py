"""`DiscoveryBridge`: joins a node's discovery to its link."""

from __future__ import annotations

from typing import Final, Protocol

from miros_mesh.address import Endpoint
from miros_mesh.config.settings import MeshConfig
from miros_mesh.discovery import addresses
from miros_mesh.errors import UnsupportedError
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.peers import Peers
from miros_mesh.node.search.link_probe import broker_at
from miros_mesh.observer import Observer
from miros_mesh.text import logger_of

logger = logger_of(__name__)

# The connection of a lost broker is closed without waiting for its events.
_ABORT_TIMEOUT_S: Final = 5.0


class PeerListener(Protocol):
    """What the bridge tells: a `Discovery`. All calls from any thread."""

    def peer_up(self, endpoint: Endpoint) -> None:
        """Hear that the node is connected to a broker."""

    def peer_down(self, endpoint: Endpoint) -> None:
        """Hear that the node's connection to a broker broke."""

    def alien_spoke(self, claim: str) -> None:
        """Hear where an unknown node says that its broker is."""


class DiscoveryBridge(Observer):
    """Gives each broker that discovery finds a publisher, and tells discovery of its connection.

    A `PeerSink` for discovery, an `Observer` for the publishers. Nothing comes before `attach`.
    """

    def __init__(self, config: MeshConfig) -> None:
        """Raises `UnsupportedError` where the addresses of this host may not be asked for."""
        try:
            addresses.own_addresses()
        except OSError as error:
            # Now, and not in charts that would try again and again.
            raise UnsupportedError(
                f"this process may not ask for the addresses of its host ({error}), which "
                "discovery needs; under systemd, RestrictAddressFamilies= has to name AF_NETLINK"
            ) from error
        # Credentials, virtual host and TLS of the node's own broker go to every other.
        self._like = config.brokers[0]
        # By the name of the broker. Set by discovery's thread for calls of the sink, which makes
        # one call at a time; read by the publishers' threads.
        self._endpoints: dict[str, Endpoint] = {}
        # Set once by `attach`, before any other thread calls.
        self._discovery: PeerListener | None = None

    def attach(self, discovery: PeerListener, peers: Peers, mesh: Mesh) -> None:
        """Join these; call it before discovery starts."""
        self._peers, self._mesh = peers, mesh
        # No claim before a broker is found: it would be towards none in particular, and held with
        # the first events it would get to all that are.
        mesh.claimed = discovery.alien_spoke
        self._discovery = discovery

    def found(self, endpoint: Endpoint) -> None:
        """Begin to publish to a broker, and tell the nodes there where the home broker is."""
        broker = broker_at(endpoint, self._like)
        # First: the publisher may be connected before `add` returns, and `peer_up` looks here.
        self._endpoints[broker.name] = endpoint
        # Patient: discovery decides how long a broker that is silent is kept. A second call, after
        # one that raised, finds the publisher there.
        self._peers.add(broker, patient=True)
        self._mesh.claim = self._claim(endpoint)
        # With the claim just set. It waits in the new peer's outbox until that is connected; the
        # other peers hear it once more.
        self._mesh.hello()

    def lost(self, endpoint: Endpoint) -> None:
        """Give up a broker and the events that wait for it, which are counted as dropped."""
        broker = broker_at(endpoint, self._like)
        events = self._peers.remove(broker, _ABORT_TIMEOUT_S)
        # Only now: until its publisher has ended, `peer_down` is said under this name.
        self._endpoints.pop(broker.name, None)
        logger.warning("%s is given up; %d events for it are lost", broker.name, events)
        if events:
            self._mesh.observer.dropped(network="mesh", reason="peer_lost", events=events)

    def peer_up(self, *, peer: str) -> None:
        # The home broker has no endpoint here: it is never found or lost.
        if self._discovery and (endpoint := self._endpoints.get(peer)):
            self._discovery.peer_up(endpoint)

    def peer_down(self, *, peer: str, reason: str) -> None:
        if self._discovery and (endpoint := self._endpoints.get(peer)):
            self._discovery.peer_down(endpoint)

    def unreached(self, *, peer: str, reason: str) -> None:
        # Of a broker that was never connected there is no `peer_down`.
        self.peer_down(peer=peer, reason=reason)

    def _claim(self, towards: Endpoint) -> str:
        """Return where the home broker is for nodes at another broker.

        In place of a loopback address, which is theirs there, this host's address in their network.
        """
        # The first of the settings' brokers, also while the node consumes from another of them.
        home = Endpoint(self._like.host, self._like.port)
        if not _is_loopback(home.host) or _is_loopback(towards.host):
            return str(home)
        return str(Endpoint(addresses.address_towards(towards.ip), home.port))


def _is_loopback(host: str) -> bool:
    return host == "localhost" or addresses.is_loopback(host)
