"""Finding brokers; never connecting to one. The statecharts that search come in a later release."""

from miros_mesh.discovery.addresses import own_networks
from miros_mesh.discovery.ports import AddressScanner, BrokerProbe, PeerSink

__all__ = ["AddressScanner", "BrokerProbe", "PeerSink", "own_networks"]
