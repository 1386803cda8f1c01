"""What a search needs from outside, and where it reports to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from miros_mesh.address import Endpoint
from miros_mesh.discovery.verdict import Verdict


class BrokerProbe(Protocol):
    """Is there a broker with our credentials and our mesh behind an address?"""

    def probe(self, endpoint: Endpoint, exchange_name: str, timeout_s: float) -> Verdict:
        """Look once, within `timeout_s`; called on several threads at a time."""

    def stop(self) -> None:
        """End every look at once, from any thread; no other begins."""


class AddressScanner(Protocol):
    """Which addresses of the local network are worth a scout."""

    def scan(self) -> Sequence[str]:
        """Addresses at which somebody answers; takes seconds, called on a worker's thread."""

    def stop(self) -> None:
        """End a scan at once, from any thread."""


class NameService(Protocol):
    """Names to endpoints."""

    def endpoints(self, name: str, default_port: int) -> Sequence[Endpoint]:
        """Every endpoint of a name; raises `OSError` when it cannot be known now.

        It may take its time, on a thread that nobody waits for any longer than for a few seconds.
        """


class PeerSink(Protocol):
    """Whoever wants to know of found and lost brokers.

    Called on a worker's thread, one call at a time; a call that raises is repeated.
    """

    def found(self, endpoint: Endpoint) -> None:
        """A broker of our mesh lives here."""

    def lost(self, endpoint: Endpoint) -> None:
        """It has been dead for too long."""
