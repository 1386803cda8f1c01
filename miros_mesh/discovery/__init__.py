"""Statecharts that find brokers and never connect to one: `Discovery` starts and stops them."""

from miros_mesh.discovery.addresses import own_networks
from miros_mesh.discovery.endpoint import Endpoint
from miros_mesh.discovery.finder import Discovery
from miros_mesh.discovery.ports import (
    AddressScanner,
    BrokerProbe,
    DiscoveryObserver,
    NameService,
    PeerSink,
    Verdict,
)
from miros_mesh.discovery.refusals import Refusals
from miros_mesh.discovery.settings import DiscoverySettings

__all__ = [
    "AddressScanner",
    "BrokerProbe",
    "Discovery",
    "DiscoveryObserver",
    "DiscoverySettings",
    "Endpoint",
    "NameService",
    "PeerSink",
    "Refusals",
    "Verdict",
    "own_networks",
]
