"""Where the settings lead: the home broker, the link to it, and the keys of the networks there."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from miros_mesh.config.settings import MeshConfig, NetworkName
from miros_mesh.link.kombu_link import amqp_link, embedded_link
from miros_mesh.link.ports import Broker, Link, LinkSettings
from miros_mesh.private_files import prepare_home
from miros_mesh.wire.key_file import load_or_create_key


def home_broker(config: MeshConfig) -> Broker:
    """Return the broker that a node of these settings consumes from."""
    if config.link_factory:
        return Broker(type(config.link_factory).__name__, config.brokers)
    if not config.brokers:
        return Broker(f"embedded:{config.home_folder}")
    return Broker(config.brokers[0].redacted, config.brokers)


def home_link(config: MeshConfig, settings: LinkSettings) -> Link:
    """Make the link that leads there; raises `EmbeddedStoreError` for a folder of no use."""
    if config.link_factory:
        link: Link = config.link_factory(settings)
        return link
    if config.brokers:
        return amqp_link(settings)
    return embedded_link(settings, prepare_home(config.home_folder))


def home_keys(config: MeshConfig) -> Callable[[NetworkName], Iterable[bytes]]:
    """Return what says the keys of a network, the one that seals first."""

    def keys(network: NetworkName) -> Iterable[bytes]:
        given = config.keys_for(network)
        # With a RabbitMQ the settings insist on a key; the embedded broker's lies in its folder,
        # which only its user can read.
        return given or (load_or_create_key(prepare_home(config.home_folder)),)

    return keys
