"""What discovery needs from outside, and where it reports to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from miros_mesh.address import Endpoint
from miros_mesh.discovery.verdict import Verdict


class BrokerProbe(Protocol):
    """Finds out whether a broker with our credentials and our mesh is at an address."""

    def probe(self, endpoint: Endpoint, exchange_name: str, timeout_s: float) -> Verdict:
        """Look once, within `timeout_s`; called on several threads at a time."""

    def stop(self) -> None:
        """End every look at once, and begin no other; from any thread."""


class AddressScanner(Protocol):
    """Finds the addresses of the local network that are worth a scout."""

    def scan(self) -> Sequence[str]:
        """Return the addresses that answer; takes seconds, called on a worker's thread."""

    def stop(self) -> None:
        """End a scan at once, from any thread."""


class NameService(Protocol):
    """Looks up the addresses of host names."""

    def endpoints(self, name: str, default_port: int) -> Sequence[Endpoint]:
        """Return every endpoint of a name. Raises `OSError` when it cannot be looked up now.

        May take its time: it is called on a thread of its own, for which its callers wait some
        seconds at most.
        """


class PeerSink(Protocol):
    """Takes the brokers that were found and lost: the node.

    Called on a worker's thread, one call at a time; a call that raises is repeated.
    """

    def found(self, endpoint: Endpoint) -> None:
        """Take a broker of our mesh that was found."""

    def lost(self, endpoint: Endpoint) -> None:
        """Give up a broker that has been dead for too long."""
