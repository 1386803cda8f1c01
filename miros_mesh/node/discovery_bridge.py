"""A node's discovery, wired to its link: who is found gets a publisher, who is lost loses it."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from miros_mesh.address import BrokerAddress, Endpoint
from miros_mesh.config.settings import MeshConfig
from miros_mesh.discovery import addresses
from miros_mesh.discovery.discovery import Discovery
from miros_mesh.discovery.refused_brokers import RefusedBrokers
from miros_mesh.discovery.settings import DiscoverySettings
from miros_mesh.discovery.sources import lan, man_net
from miros_mesh.discovery.verdict import Verdict
from miros_mesh.errors import (
    BrokerUnreachableError,
    CertificateError,
    ConfigError,
    CredentialsRefusedError,
    LinkError,
    NoMeshError,
    NotAmqpError,
    OtherKeyError,
    PermissionDeniedError,
    TlsError,
    VirtualHostError,
)
from miros_mesh.link.ports import Broker, Link
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.network import exchange_of
from miros_mesh.networks.peers import Peers
from miros_mesh.observer import Observer
from miros_mesh.wire.keyring import fingerprint

logger = logging.getLogger(__name__)

MESH: Final = "mesh"
# A scout knows no chart, and repeats what any chart may send under.
_ANY_TOPIC: Final = "#"
_ABORT_TIMEOUT_S: Final = 5.0
# The first that fits; a class stands before those that it is derived from.
_VERDICTS: Final[tuple[tuple[type[LinkError], Verdict], ...]] = (
    (NotAmqpError, Verdict.NOT_AMQP),
    (CertificateError, Verdict.CERTIFICATE),
    (TlsError, Verdict.NO_TLS),
    (BrokerUnreachableError, Verdict.NOTHING),
    (CredentialsRefusedError, Verdict.CREDENTIALS),
    (VirtualHostError, Verdict.NO_MESH),
    (PermissionDeniedError, Verdict.NO_MESH),
    (NoMeshError, Verdict.NO_MESH),
    (OtherKeyError, Verdict.OTHER_KEY),
)


@lru_cache(maxsize=64)
def refusals_of(_user: str, _password: str) -> RefusedBrokers:
    """Who refused them lately. It outlives a node, lest each start of one asks anew."""
    return RefusedBrokers()


def marks_of(config: MeshConfig) -> tuple[str, ...]:
    """The exchanges by which a broker shows that a mesh has one of our keys; the primary first."""
    keys = config.keys_for("mesh") or ()
    return tuple(exchange_of(f"key.{fingerprint(key)}") for key in keys)


class LinkProbe:
    """Looks at an address as a node would that has these settings; a `BrokerProbe`."""

    def __init__(self, config: MeshConfig, link: Link) -> None:
        self._link = link
        self._like = config.brokers[0]
        self._marks = marks_of(config)

    def probe(self, endpoint: Endpoint, exchange_name: str, timeout_s: float) -> Verdict:
        """Look once, within `timeout_s`."""
        broker = broker_at(endpoint, self._like)
        try:
            self._link.look(broker, exchange=exchange_name, marks=self._marks, timeout_s=timeout_s)
        except LinkError as error:
            logger.debug("%s is not ours: %s", endpoint, error)
            return verdict_of(error)
        return Verdict.OURS

    def stop(self) -> None:
        """End every look at once; no other begins."""
        self._link.stop_looking()


def verdict_of(error: LinkError) -> Verdict:
    """What an error of `Link.look` says about an address."""
    return next((word for kind, word in _VERDICTS if isinstance(error, kind)), Verdict.FAILED)


class Search(Observer):
    """Hears of the node's peers as an observer, and tells the node's observer what it finds."""

    def __init__(self, config: MeshConfig, node: str) -> None:
        self._config = config
        self._like = config.brokers[0]
        self._settings = settings_of(config, node)
        self._endpoints: dict[str, Endpoint] = {}
        self._discovery: Discovery | None = None

    def start(self, link: Link, peers: Peers, mesh: Mesh, observer: Observer) -> None:
        """Begin every search; returns at once."""
        self._peers, self._mesh = peers, mesh
        mesh.claim = self._claim(None)
        self._discovery = discovery = Discovery(
            self._settings,
            probe=LinkProbe(self._config, link),
            sink=self,
            observer=observer,
            refusals=refusals_of(self._like.user, self._like.password),
        )
        mesh.claimed = discovery.alien_spoke
        discovery.start()

    def stop(self, timeout_s: float) -> None:
        """End every search; nothing is found any more."""
        if self._discovery:
            self._discovery.stop(timeout_s)

    def found(self, endpoint: Endpoint) -> None:
        """A broker of our mesh lives here."""
        broker = broker_at(endpoint, self._like)
        self._endpoints[broker.name] = endpoint
        self._peers.add(broker, patient=True)
        self._mesh.claim = self._claim(endpoint)
        self._mesh.hello()

    def lost(self, endpoint: Endpoint) -> None:
        """It has been dead for too long."""
        broker = broker_at(endpoint, self._like)
        events = self._peers.remove(broker, _ABORT_TIMEOUT_S)
        self._endpoints.pop(broker.name, None)
        logger.warning("%s is given up; %d events for it are lost", broker.name, events)
        if events:
            self._mesh.observer.dropped(network=MESH, reason="peer_lost", events=events)

    def peer_up(self, *, peer: str) -> None:
        if self._discovery and (endpoint := self._endpoints.get(peer)):
            self._discovery.peer_up(endpoint)

    def peer_down(self, *, peer: str, reason: str) -> None:
        if self._discovery and (endpoint := self._endpoints.get(peer)):
            self._discovery.peer_down(endpoint)

    def _claim(self, towards: Endpoint | None) -> str:
        """Where the home broker is for others; a loopback address is nothing to anybody else."""
        home = self._settings.home[0]
        if not _is_loopback(home.host) or (towards and _is_loopback(towards.host)):
            return str(home)
        return str(Endpoint(addresses.address_towards(towards.ip if towards else None), home.port))


def settings_of(config: MeshConfig, node: str) -> DiscoverySettings:
    """What discovery has to know of a node's settings."""
    first = config.brokers[0]
    key = (config.keys_for("mesh") or (b"",))[0]
    exchange = exchange_of(MESH)
    return DiscoverySettings(
        node=node,
        routing_key=_ANY_TOPIC,
        exchange_name=exchange,
        sources=config.discovery_sources,
        port=first.port,
        home=tuple(Endpoint(each.host, each.port) for each in config.brokers),
        scope=f"{exchange} {first.virtual_host} {first.port} {fingerprint(key)}",
        hosts_files=_hosts_files(config),
        cache_path=_cache_path(config),
        cache_max_age_s=config.discovery_cache_max_age_s,
        ipv6=config.discovery_ipv6,
        live_trace=config.discovery_live_trace,
        live_spy=config.discovery_live_spy,
        dns_names=config.discovery_dns_names,
        peer_forget_after_s=config.peer_forget_after_s,
        aliens=config.alien_policy,
    )


def broker_at(endpoint: Endpoint, like: BrokerAddress) -> Broker:
    """A broker with the credentials, the virtual host and the TLS of ours, somewhere else."""
    address = replace(like, host=endpoint.host, port=endpoint.port)
    return Broker(address.redacted, (address,))


def _hosts_files(config: MeshConfig) -> tuple[Path, ...]:
    if config.discovery_hosts_file:
        return (config.discovery_hosts_file.expanduser().absolute(),)
    # Where the ancestor's programs have theirs.
    names = (man_net.HOSTS_FILE, man_net.ANCESTORS_HOSTS_FILE)
    return tuple(Path(name).absolute() for name in names)


def _cache_path(config: MeshConfig) -> Path:
    if config.discovery_cache_file:
        return config.discovery_cache_file.expanduser().absolute()
    try:
        return config.home_folder / lan.DEFAULT_FILE
    except ConfigError:
        # A user without a home folder needs none with a RabbitMQ.
        return Path(lan.DEFAULT_FILE).absolute()


def _is_loopback(host: str) -> bool:
    return host == "localhost" or addresses.is_loopback(host)
