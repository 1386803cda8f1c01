"""What a search needs from outside, and where it reports to."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from miros_mesh.discovery.endpoint import Endpoint


class Verdict(StrEnum):
    """What a scout found at an address; few words, fit for a metric label."""

    OURS = "ours"
    """A broker that takes our credentials, with our mesh."""
    NOTHING = "nothing"
    """Nobody answers, or one takes the connection and stays silent, or the name does not exist."""
    NOT_AMQP = "not_amqp"
    """Somebody answers and does not speak AMQP."""
    CERTIFICATE = "certificate"
    """Somebody whose TLS certificate nobody vouches for, or is for another host."""
    NO_TLS = "no_tls"
    """Somebody answers, and the TLS handshake fails for another reason."""
    CREDENTIALS = "credentials"
    """A broker that refuses our user or password."""
    NO_MESH = "no_mesh"
    """A broker that takes our credentials and has no mesh."""
    OTHER_KEY = "other_key"
    """A broker with a mesh of another key."""
    FAILED = "failed"
    """The probe itself failed, or did not end in time."""

    def __repr__(self) -> str:
        # As a trace shows it.
        return repr(self.value)


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


class DiscoveryObserver:
    """Every hook does nothing; override the ones you need. A hook must return at once."""

    def scouted(self, *, source: str, host: str, verdict: Verdict, seconds: float) -> None:
        """A scout came back."""

    def searched(self, *, source: str, found: int, seconds: float) -> None:
        """A source went through all of its candidates once."""

    def cache_read(self, *, hit: bool) -> None:
        """The cache of the local network was young enough, or not."""

    def alien(self, *, outcome: str) -> None:
        """What became of a stranger; `outcome` is one of few words."""

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        """A chart of discovery ended by an error of its own."""
