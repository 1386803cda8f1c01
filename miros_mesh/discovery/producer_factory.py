"""`ProducerFactoryChart`: starts the searches, merges what they find, hands it to the node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from miros import Event

from miros_mesh.address import DEFAULT_PORTS, Endpoint
from miros_mesh.discovery.addresses import lan_is_off
from miros_mesh.discovery.chart import ENTRY, EXIT, DiscoveryChart, on
from miros_mesh.discovery.known_brokers import KnownBrokers
from miros_mesh.discovery.ports import AddressScanner, BrokerProbe, NameService, PeerSink
from miros_mesh.discovery.producer_queue import Producer, Queue, QueueSink
from miros_mesh.discovery.refused_brokers import RefusedBrokers
from miros_mesh.discovery.resolver import Resolver
from miros_mesh.discovery.safety.payloads import FORMS
from miros_mesh.discovery.scout import RabbitConsumerScoutChart
from miros_mesh.discovery.settings import DiscoverySettings, settings_alone
from miros_mesh.discovery.signals import CONNECTION_DISCOVERY, ConnectionDiscoveryPayload
from miros_mesh.discovery.sources.alien_gate import AlienGate
from miros_mesh.discovery.sources.aliens import AlienChart
from miros_mesh.discovery.sources.candidates import lan_candidates
from miros_mesh.discovery.sources.dns import DnsChart
from miros_mesh.discovery.sources.lan import LanChart
from miros_mesh.discovery.sources.man_net import ManNetChart
from miros_mesh.discovery.sources.name_service import SystemNames
from miros_mesh.discovery.sources.tcp_scanner import TcpScanner
from miros_mesh.discovery.threads import between
from miros_mesh.text import logger_of

logger = logger_of(__name__)

NAME: Final = "producer_factory_chart"
# In the pattern of a network's producers, until a broker is found.
NOWHERE: Final = Endpoint("localhost", DEFAULT_PORTS["amqp"])
# A change that the sink refuses is handed over again after such a pause, so often at most.
RETRY_S: Final = (0.1, 1.0)
MOST_TRIES: Final = 10


@dataclass(frozen=True)
class Change:
    """A broker that was found or lost, which the node has not taken yet."""

    endpoint: Endpoint
    found: bool


class ProducerFactoryChart(DiscoveryChart):
    """Hears `CONNECTION_DISCOVERY`, and defers what comes while the node is being told.

    A node gives `settings` and a `sink`. A program that has the ancestor's arguments gets what is
    found from `producer_queue`, as `ProducerQueue`.
    """

    NEST = (
        ("producer_discovery", None),
        ("post_to_queue", "producer_discovery"),
        ("refactor_producers", "post_to_queue"),
    )
    HEARS = (CONNECTION_DISCOVERY,)
    READS = FORMS

    def __init__(  # noqa: PLR0913 - the arguments of the ancestor's documents
        self,
        producer_queue: Queue | None = None,
        mesh_routing_key: str = "",
        mesh_exchange_name: str = "",
        mesh_serialization_function: Callable[[Any], bytes] | None = None,
        snoop_trace_routing_key: str = "",
        snoop_trace_exchange_name: str = "",
        snoop_spy_routing_key: str = "",
        snoop_spy_exchange_name: str = "",
        *,
        probe: BrokerProbe,
        settings: DiscoverySettings | None = None,
        sink: PeerSink | None = None,
        scanner: AddressScanner | None = None,
        name_service: NameService | None = None,
        refusals: RefusedBrokers | None = None,
        first_search_ended: Callable[[], object] = lambda: None,
        **common: Any,
    ) -> None:
        if settings is None:
            settings = settings_alone(mesh_routing_key, mesh_exchange_name)
        if sink is None:
            if producer_queue is None:
                raise TypeError("ProducerFactoryChart needs a producer_queue, or a sink")
            mesh = (mesh_routing_key, mesh_exchange_name, mesh_serialization_function)
            sink = QueueSink(
                producer_queue,
                mesh=Producer(NOWHERE, *mesh),
                snoop_trace=Producer(NOWHERE, snoop_trace_routing_key, snoop_trace_exchange_name),
                snoop_spy=Producer(NOWHERE, snoop_spy_routing_key, snoop_spy_exchange_name),
            )
        common = {"live_trace": settings.live_trace, "live_spy": settings.live_spy, **common}
        super().__init__(NAME, origin=settings.origin, **common)
        self.settings = settings
        self._probe = probe
        self._sink = sink
        self._scanner = scanner
        self._names = name_service or SystemNames()
        self._resolver = Resolver(self._names, self.threads.lookups, settings.port, settings.home)
        self._refusals = RefusedBrokers() if refusals is None else refusals
        # Changed on this chart's thread; `is_known` and `is_connected` are called on others.
        self._known = KnownBrokers(settings.home, settings.peer_forget_after_s)
        self._gate = AlienGate(settings.port, is_known=self._known.is_known, observer=self.observer)
        # In the order in which they happened. The node is told a copy, on another thread.
        self._changes: list[Change] = []
        self._tries = 0
        # Whether `ips_discovered` is posted: a second one would tell the node the same again.
        self._announced = False
        # Called once, when each source has ended a search and the node has taken what they found.
        self._first_search_ended = first_search_ended
        self._first_search = True
        # The sources that have ended none.
        self._searching: set[str] = set()
        # Both are filled by the first entry, before this chart's own thread starts.
        self.children: list[DiscoveryChart] = []
        self.aliens: AlienChart | None = None
        self.begin()

    @property
    def peers(self) -> tuple[Endpoint, ...]:
        """The brokers that are known now, without home."""
        return self._known.peers

    @on("producer_discovery", ENTRY)
    def producer_discovery_entry(self, _: Event) -> None:
        # Every address of home, before an unknown node names one of them.
        self._look_up(ConnectionDiscoveryPayload((), (), NAME))
        self._start_searches()
        self._expect_ends()

    @on("producer_discovery", CONNECTION_DISCOVERY)
    def connection_discovery(self, event: Event) -> None:
        # A name may take seconds. Two of them may end in either order: the next search of the
        # source puts right what that mixes up.
        self._look_up(event.payload)

    def _look_up(self, discovery: ConnectionDiscoveryPayload) -> None:
        def resolved(found: object) -> None:
            self.tell("hosts_resolved", found)
            if discovery.ends_search:
                # In this order, also where both are deferred.
                self.tell("search_ended", discovery.dispatcher)

        self.threads.network.run(lambda: self._resolver.resolve(discovery), resolved)

    @on("producer_discovery", "hosts_resolved")
    def hosts_resolved(self, event: Event) -> None:
        resolved = event.payload
        if isinstance(resolved, Exception):
            logger.error("a CONNECTION_DISCOVERY is ignored: its look-up failed", exc_info=resolved)
            return
        # First: what is home under another name is then recognised, and is no peer.
        self._known.at_home(resolved.home)
        for endpoint, addresses in resolved.hosts.items():
            if self._known.alive(endpoint, addresses):
                self._changes.append(Change(endpoint, found=True))
        for endpoint in resolved.dead:
            self._known.dead(endpoint, time.monotonic())
        self._expect_losses()
        self._report_changes()

    @on("producer_discovery", "search_ended")
    def search_ended(self, event: Event) -> None:
        self._searching.discard(event.payload)
        self._end_first_search()

    @on("producer_discovery", "search_overdue")
    def search_overdue(self, _: Event) -> None:
        waited_s, late = self.settings.first_search_s, ", ".join(sorted(self._searching))
        logger.warning("the first search counts as ended after %g s, without %s", waited_s, late)
        self._searching.clear()
        self._end_first_search()

    @on("producer_discovery", "peer_up")
    def peer_up(self, event: Event) -> None:
        # Not deferred while the node is told: the publisher that `found` has just made says it, and
        # it changes nothing that the node is being told.
        self._known.connected(event.payload)
        self._expect_losses()

    @on("producer_discovery", "peer_down")
    def peer_down(self, event: Event) -> None:
        self._known.disconnected(event.payload, time.monotonic())
        self._expect_losses()

    @on("producer_discovery", "forget_dead")
    def forget_dead(self, _: Event) -> None:
        for endpoint in self._known.forget_dead(time.monotonic()):
            # It may have been adopted; the node that claimed it may claim it again.
            self._gate.lost(endpoint)
            self._changes.append(Change(endpoint, found=False))
        self._expect_losses()
        self._report_changes()

    @on("producer_discovery", "ips_discovered", to="refactor_producers")
    def ips_discovered(self, _: Event) -> str:
        return "refactor_producers"

    @on("post_to_queue", CONNECTION_DISCOVERY)
    @on("post_to_queue", "hosts_resolved")
    @on("post_to_queue", "search_ended")
    @on("post_to_queue", "forget_dead")
    def not_while_busy(self, event: Event) -> None:
        # They lead to changes, and `node_told` puts what the node has not taken in their place.
        self.defer(event)

    @on("post_to_queue", EXIT)
    def post_to_queue_exit(self, _: Event) -> None:
        # `recall` posts at the end of the mailbox, so they keep their order.
        while self.defer_queue:
            self.recall()

    @on("post_to_queue", "ips_discovered", to="refactor_producers")
    def try_again(self, _: Event) -> str:
        return "refactor_producers"

    @on("post_to_queue", "ready", to="producer_discovery")
    def ready(self, _: Event) -> str:
        return "producer_discovery"

    @on("refactor_producers", ENTRY)
    def refactor_producers_entry(self, _: Event) -> None:
        # What is told now is all that `_changes` has: a later change is announced anew.
        self._announced = False
        changes = tuple(self._changes)
        # One call at a time, as `PeerSink` promises: the next one is begun after `node_told` only.
        # And apart from the network's threads, which dead hosts may hold.
        self.threads.local.run(
            lambda: self._tell_node(changes), lambda left: self.tell("node_told", left)
        )

    @on("refactor_producers", "node_told")
    def node_told(self, event: Event) -> None:
        self._changes = list(event.payload)
        self._tries = self._tries + 1 if self._changes else 0
        if self._tries >= MOST_TRIES:
            self._give_up()
        self._end_first_search()
        # A retry enters the state anew, with what is left.
        if self._changes:
            self.later("ips_discovered", between(*RETRY_S))
        else:
            self.post_fifo(Event(signal="ready"))

    def stop_children(self) -> None:
        for child in self.children:
            # One that was given is for the next life too.
            if isinstance(child, LanChart) and self._scanner and not self.ended:
                child.leave_scanner()
            child.stop()

    def renew(self) -> None:
        # The known brokers stay; what the node was being told is told again, which is harmless.
        self.children, self.aliens = [], None
        self._announced = False
        self._report_changes()
        self._expect_losses()

    def _start_searches(self) -> None:
        wanted = self.settings.sources
        if "manual" in wanted:
            self.children.append(self._manual())
        # MIROS_MESH_LAN is stronger than any setting.
        if "lan" in wanted and not lan_is_off():
            self.children.append(self._lan())
        if "dns" in wanted:
            self.children.append(self._dns())
        if self.settings.aliens != "ignore":
            self.aliens = AlienChart(
                self._gate,
                policy=self.settings.aliens,
                send_scout=self._send_scout,
                port=self.settings.port,
                **self.common,
            )
            self.children.append(self.aliens)

    def _expect_ends(self) -> None:
        if not self._first_search:
            return
        # After a death of this chart all of them search anew; the limit stays that of before.
        self._searching = {each.name for each in self.children if each is not self.aliens}
        if "search_overdue" not in self._alarms:
            self.later("search_overdue", self.settings.first_search_s)
        self._end_first_search()

    def _end_first_search(self) -> None:
        """Say, once, that the first search has ended, if the node knows all that it found."""
        if self._first_search and not self._searching and not self._changes:
            self._first_search = False
            self.cancel("search_overdue")
            self._first_search_ended()

    def _manual(self) -> ManNetChart:
        return ManNetChart(
            self.settings.routing_key,
            self.settings.exchange_name,
            send_scout=self._send_scout,
            cache_file_path=self.settings.hosts_files,
            port=self.settings.port,
            look_again_s=self.settings.look_again_s,
            **self.common,
        )

    def _lan(self) -> LanChart:
        settings = self.settings
        # Candidates are asked for at each scan: networks and neighbours change.
        scanner = self._scanner or TcpScanner(
            settings.port, lambda: lan_candidates(ipv6=settings.ipv6)
        )
        return LanChart(
            settings.routing_key,
            settings.exchange_name,
            send_scout=self._send_scout,
            time_out_in_minutes=settings.cache_max_age_s / 60,
            cache_file_path=settings.cache_path,
            scope=settings.scope,
            scanner=scanner,
            port=settings.port,
            is_connected=self._known.is_connected,
            **self.common,
        )

    def _dns(self) -> DnsChart:
        return DnsChart(
            self.settings.routing_key,
            self.settings.exchange_name,
            names=self.settings.dns_names,
            send_scout=self._send_scout,
            name_service=self._names,
            port=self.settings.port,
            interval_s=self.settings.dns_interval_s,
            **self.common,
        )

    def _send_scout(self, host: str, source: str) -> RabbitConsumerScoutChart:
        return RabbitConsumerScoutChart(
            host,
            self.settings.routing_key,
            self.settings.exchange_name,
            probe=self._probe,
            port=self.settings.port,
            refusals=self._refusals,
            source=source,
            timeout_s=self.settings.scout_timeout_s,
            **self.common,
        )

    def _tell_node(self, changes: Iterable[Change]) -> list[Change]:
        """Return the changes that the node did not take, and later ones for the same brokers."""
        left: list[Change] = []
        for change in changes:
            try:
                # Found, then lost, then found: for one broker the order is what counts.
                if all(change.endpoint != each.endpoint for each in left):
                    (self._sink.found if change.found else self._sink.lost)(change.endpoint)
                else:
                    left.append(change)
            except Exception:
                logger.exception("the node refused %s; it is handed over again", change.endpoint)
                left.append(change)
        return left

    def _give_up(self) -> None:
        for change in self._changes:
            logger.error(
                "the node refused %s %d times; it is forgotten until it is found anew",
                change.endpoint,
                MOST_TRIES,
            )
            # Else the next search would find it known, and the node would never hear of it. One
            # that was lost is struck already.
            self._known.strike(change.endpoint)
        self._changes = []
        self._tries = 0

    def _report_changes(self) -> None:
        if self._changes and not self._announced:
            self._announced = True
            self.post_fifo(Event(signal="ips_discovered"))

    def _expect_losses(self) -> None:
        # One alarm for all, for the first that will be lost; set anew whenever that may change.
        end = self._known.next_end()
        if end is None:
            self.cancel("forget_dead")
        else:
            self.later("forget_dead", max(end - time.monotonic(), 0.0))
