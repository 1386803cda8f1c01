"""What a search needs from outside, and where it reports to."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address
from typing import Protocol

from miros_mesh.address import BrokerAddress


class AddressScanner(Protocol):
    """Which addresses are worth a look."""

    def candidates(self) -> Iterable[IPv4Address]:
        """Addresses of the local network at which somebody may answer."""


class BrokerProbe(Protocol):
    """Is there a broker with our credentials and our mesh behind an address?"""

    def probe(self, address: BrokerAddress) -> None:
        """Return when there is; raises the `LinkError` that says what is there instead."""


class PeerSink(Protocol):
    """Whoever wants to know of found and lost brokers."""

    def found(self, address: BrokerAddress) -> None:
        """A broker of our mesh lives here."""

    def lost(self, address: BrokerAddress) -> None:
        """It has been dead for too long."""
