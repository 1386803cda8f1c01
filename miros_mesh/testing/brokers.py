"""`StandInBrokers`: a network in which a test says what is where, for charts of discovery alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from miros_mesh.address import Endpoint
from miros_mesh.discovery.scout import RabbitConsumerScoutChart
from miros_mesh.discovery.threads import DiscoveryThreads
from miros_mesh.discovery.verdict import Verdict


class StandInBrokers:
    """Stands for the brokers and the network of a search; nothing is sent.

        with StandInBrokers({"192.168.1.75": "ours"}) as brokers:
            chart = ManNetChart("heya.man", "miros.mesh.exchange", send_scout=brokers.send_scout)

    It is a probe, a scanner that finds its hosts, and sends scouts, which publish for every chart.
    At a host that is not named there is nothing.
    """

    def __init__(
        self,
        at: Mapping[str, str],
        *,
        routing_key: str = "heya.man",
        exchange_name: str = "miros.mesh.exchange",
        live_trace: bool = False,
    ) -> None:
        # Checked at once: a misspelt verdict would look like a probe that failed.
        self.at = {host: Verdict(verdict) for host, verdict in at.items()}
        self.routing_key = routing_key
        self.exchange_name = exchange_name
        self._live_trace = live_trace
        self._threads = DiscoveryThreads("stand-in")

    def probe(self, endpoint: Endpoint, exchange_name: str, timeout_s: float) -> Verdict:
        """Say what is at an address."""
        # Under the host alone, or with its port.
        return self.at.get(endpoint.host, self.at.get(str(endpoint), Verdict.NOTHING))

    def scan(self) -> Sequence[str]:
        """Return the hosts where something answers."""
        return [host for host, verdict in self.at.items() if verdict is not Verdict.NOTHING]

    def send_scout(self, host: str, source: str) -> RabbitConsumerScoutChart:
        """Make a scout of a host, which looks with `probe`."""
        return RabbitConsumerScoutChart(
            host,
            self.routing_key,
            self.exchange_name,
            probe=self,
            source=source,
            origin="",
            threads=self._threads,
            live_trace=self._live_trace,
        )

    def stop(self) -> None:
        """Do nothing: a probe and a scanner can be stopped, and here nothing is under way."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the threads of its scouts."""
        self._threads.stop()
