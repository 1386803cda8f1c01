"""The home broker of a node of given settings, and the link to it."""

from __future__ import annotations

from miros_mesh.config.settings import MeshConfig
from miros_mesh.embedded.transport import require_supported
from miros_mesh.link.kombu_link import amqp_link, embedded_link
from miros_mesh.link.ports import Broker, Link, LinkSettings
from miros_mesh.private_files import prepare_home


def home_broker(config: MeshConfig) -> Broker:
    """Return the broker that a node of these settings consumes from.

    Raises `UnsupportedError` for the embedded one, where this system cannot have it.
    """
    if config.link_factory:
        return Broker(type(config.link_factory).__name__, config.brokers)
    if not config.brokers:
        require_supported()
        return Broker(f"embedded:{config.home_folder}")
    return Broker(config.brokers[0].redacted, config.brokers)


def home_link(config: MeshConfig, settings: LinkSettings) -> Link:
    """Make the link to that broker; raises `EmbeddedStoreError` for a folder of no use."""
    if config.link_factory:
        link: Link = config.link_factory(settings)
        return link
    if config.brokers:
        return amqp_link(settings)
    return embedded_link(settings, prepare_home(config.home_folder), config.durability)
