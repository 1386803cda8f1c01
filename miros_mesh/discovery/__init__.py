"""Statecharts that find brokers and never connect to one: `Discovery` starts and stops them."""

from miros_mesh.address import Endpoint
from miros_mesh.discovery.addresses import own_networks
from miros_mesh.discovery.discovery import Discovery
from miros_mesh.discovery.ports import (
    AddressScanner,
    BrokerProbe,
    NameService,
    PeerSink,
)
from miros_mesh.discovery.refused_brokers import RefusedBrokers
from miros_mesh.discovery.settings import DiscoverySettings
from miros_mesh.discovery.verdict import Verdict

__all__ = [
    "AddressScanner",
    "BrokerProbe",
    "Discovery",
    "DiscoverySettings",
    "Endpoint",
    "NameService",
    "PeerSink",
    "RefusedBrokers",
    "Verdict",
    "own_networks",
]
