"""What a node's discovery gets of the node's settings."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

from miros_mesh.address import Endpoint
from miros_mesh.config.settings import MeshConfig
from miros_mesh.discovery.refused_brokers import RefusedBrokers
from miros_mesh.discovery.settings import (
    ANCESTORS_CACHE_FILE,
    HOSTS_FILES,
    LAN_CACHE_FILE,
    DiscoverySettings,
)
from miros_mesh.errors import ConfigError
from miros_mesh.networks.network import exchange_of
from miros_mesh.wire.keyring import fingerprint

# A scout belongs to no chart, and repeats what any chart may send under.
_ANY_TOPIC: Final = "#"


def settings_of(config: MeshConfig, node: str) -> DiscoverySettings:
    """Return the settings of a node's discovery; the node's settings name a RabbitMQ."""
    first = config.brokers[0]
    # The primary key. Only its fingerprint, a digest, gets into the file.
    key = (config.keys_for("mesh") or (b"",))[0]
    exchange = exchange_of("mesh")
    return DiscoverySettings(
        node=node,
        routing_key=_ANY_TOPIC,
        exchange_name=exchange,
        sources=config.discovery_sources,
        port=first.port,
        # Every broker of a cluster: the node may be connected to any of them next.
        home=tuple(Endpoint(each.host, each.port) for each in config.brokers),
        scope=_scope(config, f"{exchange} {first.virtual_host} {first.port} {fingerprint(key)}"),
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


def _scope(config: MeshConfig, scope: str) -> str:
    # With ancestors there are brokers in it that a node without them has no use for.
    return scope if config.ancestors == "off" else f"{scope} ancestors"


def refusals_of(config: MeshConfig) -> RefusedBrokers:
    """Return the brokers that refused these settings' user and password, or certificate, lately.

    The process keeps them beyond a node, so that a restarted node does not ask them again.
    """
    first = config.brokers[0]
    return _refusals(first.user, first.password, config.broker_cert_file)


# By who we are: others are tried at once. Bounded, since a program may use ever new ones.
@lru_cache(maxsize=64)
def _refusals(_user: str, _password: str, _certificate: Path | None) -> RefusedBrokers:
    return RefusedBrokers()


def _hosts_files(config: MeshConfig) -> tuple[Path, ...]:
    if config.discovery_hosts_file:
        return (config.discovery_hosts_file.expanduser().absolute(),)
    # In the working folder, where the ancestor's programs have theirs.
    found_by_ancestors = () if config.ancestors == "off" else (ANCESTORS_CACHE_FILE,)
    return tuple(Path(name).absolute() for name in (*HOSTS_FILES, *found_by_ancestors))


def _cache_path(config: MeshConfig) -> Path:
    if config.discovery_cache_file:
        return config.discovery_cache_file.expanduser().absolute()
    try:
        return config.home_folder / LAN_CACHE_FILE
    except ConfigError:
        # With a RabbitMQ, a user without a home folder is no error.
        return Path(LAN_CACHE_FILE).absolute()
