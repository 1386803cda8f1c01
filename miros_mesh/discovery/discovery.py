"""`Discovery`: starts and stops the searches of one node."""

from __future__ import annotations

from collections.abc import Callable

from miros import Event

from miros_mesh.address import Endpoint
from miros_mesh.discovery.ports import (
    AddressScanner,
    BrokerProbe,
    NameService,
    PeerSink,
)
from miros_mesh.discovery.producer_factory import ProducerFactoryChart
from miros_mesh.discovery.refused_brokers import RefusedBrokers
from miros_mesh.discovery.settings import DiscoverySettings
from miros_mesh.discovery.signals import EVALUATE_HOSTS_FILE, RequestPayload
from miros_mesh.discovery.threads import DiscoveryThreads
from miros_mesh.observer import Observer
from miros_mesh.statechart import fabric


class Discovery:
    """Finds the brokers of other hosts and reports them to a `PeerSink`; connects to none itself.

    Its threads: one for each chart, and those of `DiscoveryThreads`. All calls may come from any
    thread.
    """

    def __init__(
        self,
        settings: DiscoverySettings,
        *,
        probe: BrokerProbe,
        sink: PeerSink,
        observer: Observer | None = None,
        scanner: AddressScanner | None = None,
        name_service: NameService | None = None,
        refusals: RefusedBrokers | None = None,
        first_search_ended: Callable[[], object] = lambda: None,
    ) -> None:
        """Prepare it. `first_search_ended` is called once, from any thread, and must not wait.

        Then each source has ended a search, or `first_search_s` are over, and the sink has taken
        what they found.
        """
        self.settings = settings
        self._probe = probe
        self._sink = sink
        self._observer = observer or Observer()
        self._scanner = scanner
        self._name_service = name_service
        self._refusals = refusals
        self._first_search_ended = first_search_ended
        # Made here and handed to the chart, so that `stop` joins them even if `start` failed.
        self._threads = DiscoveryThreads(settings.node)
        # Set once, by `start`. Other threads read it; what they say before that is dropped, and no
        # broker is found so early: the chart's own thread begins last.
        self._chart: ProducerFactoryChart | None = None

    @property
    def peers(self) -> tuple[Endpoint, ...]:
        """The brokers that are known now, without home."""
        return self._chart.peers if self._chart else ()

    def start(self) -> None:
        """Begin every search; returns at once. What is found is handed to the sink."""
        self._chart = ProducerFactoryChart(
            settings=self.settings,
            probe=self._probe,
            sink=self._sink,
            scanner=self._scanner,
            name_service=self._name_service,
            refusals=self._refusals,
            first_search_ended=self._first_search_ended,
            threads=self._threads,
            observer=self._observer,
        )

    def stop(self, timeout_s: float = 5.0) -> None:
        """End every search and join every thread; the sink is not called any more.

        A thread that still runs after `timeout_s` is logged.
        """
        if self._chart:
            self._chart.stop()
        # After the charts: no chart takes a probe that is ended here for a verdict.
        self._probe.stop()
        # Last: what its threads wait for has been ended above, so they can be joined.
        self._threads.stop(timeout_s)

    def peer_up(self, endpoint: Endpoint) -> None:
        """Say that the node is connected to a broker."""
        if self._chart:
            self._chart.tell("peer_up", endpoint)

    def peer_down(self, endpoint: Endpoint) -> None:
        """Say that the node's connection to a broker broke."""
        if self._chart:
            self._chart.tell("peer_down", endpoint)

    def alien_spoke(self, claim: str) -> None:
        """Pass on the claim of an unknown node with our key that its broker is at `claim`.

        May be called for each of its frames: it is cheap and bounded.
        """
        # There is no such chart where the policy is to ignore them.
        if self._chart and self._chart.aliens:
            self._chart.aliens.spoke(claim)

    def evaluate_hosts_file(self) -> None:
        """Read the hosts files and scout their hosts now."""
        if self._chart:
            # A signal of programs: no chart declares that it publishes it.
            event = Event(signal=EVALUATE_HOSTS_FILE, payload=RequestPayload(self.settings.origin))
            fabric.publish(self._chart.fabric, event)
