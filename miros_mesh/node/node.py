"""The composition root: builds everything from the settings; starts it and stops it."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from miros_mesh.config.settings import MeshConfig, NetworkName
from miros_mesh.discovery.discovery import Discovery
from miros_mesh.errors import ChartNameTakenError, MeshError, StoppedError
from miros_mesh.health import Health, Vitals
from miros_mesh.link.kombu_link import amqp_link, embedded_link
from miros_mesh.link.ports import Broker, Link, LinkSettings, Subscriber
from miros_mesh.networks.history import History
from miros_mesh.networks.inbox import Arrival, Inbox
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.network import Network, exchange_of
from miros_mesh.networks.peers import Peers
from miros_mesh.networks.repair import Repair
from miros_mesh.networks.snoop.console import Console
from miros_mesh.networks.snoop.node_status import StatusNetwork
from miros_mesh.networks.snoop.recorder import Recorder
from miros_mesh.networks.snoop.records import Snoop
from miros_mesh.node.discovery_bridge import DiscoveryBridge
from miros_mesh.node.discovery_settings import refusals_of, settings_of
from miros_mesh.node.link_probe import LinkProbe, marks_of
from miros_mesh.node.peer_signals import PeerSignals
from miros_mesh.node.queues import NodeQueues
from miros_mesh.observer import Observers, Tracer
from miros_mesh.private_files import prepare_home
from miros_mesh.report import StopReport
from miros_mesh.wire.codec import FRAME_OVERHEAD_BYTES, Codec
from miros_mesh.wire.envelope import (
    ChartStatus,
    Envelope,
    NodeStatus,
    Origin,
    RepairMessage,
    SnoopRecord,
    TracedEnvelope,
)
from miros_mesh.wire.identity import Identity
from miros_mesh.wire.key_file import load_or_create_key
from miros_mesh.wire.keyring import KeyRing
from miros_mesh.wire.serializer import MsgpackSerializer

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=Origin)

NETWORKS: tuple[NetworkName, ...] = ("mesh", "snoop_trace", "snoop_spy")
REPAIR = "repair"
PULSE = "pulse"
TRACE_ROUTING_KEY = "snoop.trace"
SPY_ROUTING_KEY = "snoop.spy"
PULSE_ROUTING_KEY = "pulse"
# Nobody waits for a record, and a frame costs a chart's process more than what is in it.
SNOOP_FRAME_RECORDS = 1_000
# An event's envelope around its payload: names, numbers, ids.
_ENVELOPE_BYTES = 2048
# Joining threads after the drain; they end at their next turn, which is never far.
_JOIN_TIMEOUT_S = 5.0


class Node:
    """One process on the mesh: its link, its three networks, its peers and its charts' inboxes.

    A node starts with its first chart and stops with its last one.
    """

    def __init__(self, config: MeshConfig) -> None:
        self.config = config
        self.identity = Identity(config.node_name or _generated_name(), secrets.token_hex(6))
        self.queues = NodeQueues(config, self.identity)
        self.forked = False
        """Whether this is a child's copy of its parent's node, of which nothing works."""
        self.home = _home_broker(config)
        self.peer_signals = PeerSignals(self.identity.node, NETWORKS[0], self.home.name)
        self._vitals = Vitals(self.home.name)
        self._bridge = DiscoveryBridge(config) if config.discovery_sources else None
        self._discovery: Discovery | None = None
        searching = (self._bridge,) if self._bridge else ()
        self.observer = Observers(self._vitals, self.peer_signals, *searching, *config.observers)
        self.tracer = next((each for each in config.observers if isinstance(each, Tracer)), None)
        self._charts: dict[str, Inbox | None] = {}
        self._queues: dict[str, str] = {}
        self._topics: dict[str, str] = {}
        self._lock = threading.RLock()
        self._link: Link | None = None
        self._stopped = False
        self._report = StopReport()
        self._snoops: tuple[Snoop, ...] = ()
        self._watched: set[str] = set()
        self.recorder = Recorder(
            self.identity.node,
            dropped=lambda network, events: self.observer.dropped(
                network=network, reason="recorder_full", events=events
            ),
            beat=self._beat,
        )
        self._probes: dict[str, Callable[[], ChartStatus]] = {}
        self.console = Console(
            self.identity.node,
            self.identity.incarnation,
            dropped=lambda events: self.observer.dropped(
                network="snoop_console", reason="slow_reader", events=events
            ),
        )

    @property
    def name(self) -> str:
        """The node's name on the mesh."""
        return self.identity.node

    @property
    def stopped(self) -> bool:
        """Whether it has stopped, or failed to start; it never starts again."""
        return self._stopped

    def start(self) -> None:
        """Connect to the home broker; at once when already started.

        Raises the `LinkError` or `ConfigError` that prevents it, and then leaves nothing running.
        """
        with self._lock:
            if self._stopped:
                raise StoppedError(f"node {self.name} has stopped; a new chart makes a new node")
            if self._link is None:
                try:
                    self._build()
                except BaseException:
                    self.stop()
                    raise

    def report(self) -> StopReport:
        """What has become until now of the events of its charts."""
        return self.peers.report() if self._link else self._report

    def stop(self) -> StopReport:
        """Drain the outboxes, end every thread, and say what became of the events.

        A call that was interrupted can be made again.
        """
        with self._lock:
            link, self._stopped = self._link, True
        if link is None:
            return self._report
        if self._discovery:
            # First, so that no broker is found while the others are given up.
            self._discovery.stop(_JOIN_TIMEOUT_S)
        self.repair.stop(_JOIN_TIMEOUT_S)
        if self.recorder.runs:
            self.recorder.stop(_JOIN_TIMEOUT_S)
            self._beat(leaving=True)
        self._report = report = self.peers.stop(self.config.drain_timeout_s)
        if report.left_over:
            logger.error("node %s stopped with %d events undelivered", self.name, report.left_over)
            self.observer.dropped(network="mesh", reason="stopped", events=report.left_over)
        self.subscriber.stop(_JOIN_TIMEOUT_S)
        self.console.stop(_JOIN_TIMEOUT_S)
        self.peer_signals.close()
        link.close()
        self._link = None
        return report

    def abandon(self) -> None:
        """In a forked child: this node is the parent's."""
        self.forked = True
        self._discovery = None
        if self._link:
            self._link.abandon()

    def health(self) -> Health:
        """How it is at this moment."""
        brokers = self.peers.brokers if self._link else ()
        return Health(
            node=self.name,
            consuming=self._vitals.consuming,
            peers={each.name: self._vitals.state_of(each.name) for each in brokers},
            dead_charts=self._vitals.dead_charts,
            outbox_events=self.report().left_over if self._link else 0,
            home=self.home.name,
        )

    def outboxes(self) -> Mapping[str, int]:
        """How many events wait for a confirm of each peer."""
        return self.peers.outboxes() if self._link else {}

    @property
    def charts(self) -> int:
        """How many charts it has, dead or alive."""
        return len(self._charts)

    def reserve(self, chart: str) -> None:
        """Take a chart's name. Raises `ChartNameTakenError`."""
        if chart in self._charts:
            raise ChartNameTakenError(
                f"a live chart of this process is already named {chart!r}; "
                "names tell charts apart, so give each its own"
            )
        self._charts[chart] = None

    def join(
        self,
        chart: str,
        tx_routing_key: str,
        rx_routing_key: str,
        *,
        room: Callable[[], int],
        post: Callable[[Arrival], None],
    ) -> Inbox:
        """Give a chart its queue and inbox.

        Raises the `LinkError` that prevents it, or `ChartNameTakenError` for a name that has sent
        under another topic: who heard only one of them would ask for the events of both.
        """
        if self._topics.setdefault(chart, tx_routing_key) != tx_routing_key:
            raise ChartNameTakenError(
                f"a chart {chart!r} of this process has sent under {self._topics[chart]!r}; "
                f"a chart that sends under {tx_routing_key!r} needs another name"
            )
        inbox = self._charts[chart] = Inbox(
            self.mesh, chart, room=room, post=post, missed=self.repair.look
        )
        queue = self.queues.of_chart(chart, rx_routing_key)
        self._queues[chart] = queue.name
        self.subscriber.add(queue, inbox.receive, self._add_timeout_s)
        return inbox

    def silence(self, chart: str) -> None:
        """Deliver nothing more to a chart."""
        self.peer_signals.unsubscribe(chart)
        with self._lock:
            inbox = self._charts.get(chart)
            if inbox is None:
                return
            self._charts[chart] = None
        unhandled = inbox.close()
        if unhandled and not self.queues.lasting:
            self.observer.dropped(network="mesh", reason="stopped", events=unhandled)
        self.subscriber.remove(self._queues[chart])

    def leave(self, chart: str) -> bool:
        """Forget a chart; whether it was the last one."""
        self.silence(chart)
        self.recorder.flush(_JOIN_TIMEOUT_S)
        self._probes.pop(chart, None)
        for snoop in self._snoops:
            snoop.unwatch(chart)
        self._charts.pop(chart, None)
        self._vitals.left(chart)
        return not self._charts

    def watch(
        self, snoop: Snoop | StatusNetwork, owner: str, watcher: Callable[[Sequence[Any]], object]
    ) -> None:
        """Show a snoop network, or the pulses, to a watcher. Raises the `LinkError` in its way."""
        snoop.watch(owner, watcher)
        with self._lock:
            if snoop.network.name in self._watched:
                return
            self._watched.add(snoop.network.name)
        try:
            queue = self.queues.of_watchers(snoop.network.name)
            self.subscriber.add(queue, snoop.receive, self._add_timeout_s)
        except BaseException:
            # Whoever asks next tries again.
            self._watched.discard(snoop.network.name)
            raise

    def take_part(self, chart: str, probe: Callable[[], ChartStatus]) -> None:
        """A chart is in a snoop network from now on: it tells, and the probe tells how it is."""
        self._probes[chart] = probe
        self.recorder.start()
        self.console.start()

    def _beat(self, *, leaving: bool = False) -> None:
        charts = [probe() for probe in list(self._probes.values())]
        try:
            self.statuses.send(self.health(), charts, leaving=leaving)
        except MeshError as error:
            self.statuses.network.complain("pulse", error)

    def _build(self) -> None:
        config, identity = self.config, self.identity
        history = History[Envelope](max_events=config.repair_events, max_bytes=config.repair_bytes)
        mesh = self._network("mesh", Envelope, history, extended=TracedEnvelope)
        trace = self._network("snoop_trace", SnoopRecord)
        spy = self._network("snoop_spy", SnoopRecord)
        self.mesh = Mesh(
            mesh,
            identity,
            config.serializer or MsgpackSerializer(),
            self.observer,
            dedup_window=config.dedup_window,
            tracer=self.tracer,
        )
        self.trace = Snoop(trace, identity, TRACE_ROUTING_KEY, self.observer)
        self.spy = Snoop(spy, identity, SPY_ROUTING_KEY, self.observer)
        self._snoops = (self.trace, self.spy)
        statuses = self._network(PULSE, NodeStatus)
        self.statuses = StatusNetwork(statuses, identity, PULSE_ROUTING_KEY)
        repairs = self._network(REPAIR, RepairMessage)
        link = self._make_link(self._link_settings())
        self.peers = Peers(link, (mesh, trace, spy, repairs, statuses))
        self.subscriber: Subscriber = link.subscriber(self.home, name_lock=self.queues.name_lock)
        self.repair = Repair(
            repairs,
            self.mesh,
            history,
            self._inboxes,
            interval_s=config.heartbeat_interval_s,
            timeout_s=config.repair_timeout_s,
            message_bytes=self._largest_message,
            whole_since=lambda: self._vitals.whole_since,
        )
        self._link = link
        self.subscriber.start()
        publisher = self.peers.add(self.home)
        self.subscriber.wait_ready(self._start_timeout_s)
        publisher.wait_ready(self._start_timeout_s)
        asked = self.queues.of_repair(REPAIR, self.repair.routing_key)
        self.subscriber.add(asked, self.repair.receive, self._add_timeout_s)
        self.repair.start()
        if self._bridge:
            self._discovery = discovery = Discovery(
                settings_of(config, self.name),
                probe=LinkProbe(config, link),
                sink=self._bridge,
                observer=self.observer,
                refusals=refusals_of(config),
            )
            self._bridge.attach(discovery, self.peers, self.mesh)
            discovery.start()

    @property
    def _largest_message(self) -> int:
        return max(self.config.frame_bytes, self.config.max_event_bytes)

    def _inboxes(self) -> list[Inbox]:
        return [inbox for inbox in list(self._charts.values()) if inbox]

    def _network(
        self,
        name: str,
        message_type: type[T],
        history: History[T] | None = None,
        *,
        extended: type[T] | None = None,
    ) -> Network[T]:
        config = self.config
        own, snoop = name == REPAIR, name.startswith("snoop")
        key = {REPAIR: "mesh", PULSE: "snoop_trace"}.get(name, name)
        largest = self._largest_message + _ENVELOPE_BYTES
        codec = Codec(
            name,
            KeyRing(self._keys(cast("NetworkName", key))),
            message_type,
            max_frame_bytes=largest + FRAME_OVERHEAD_BYTES,
            max_event_bytes=largest if own else config.max_event_bytes,
            extended=extended,
        )
        return Network(
            name,
            codec,
            self.observer,
            frame_events=max(config.frame_events, SNOOP_FRAME_RECORDS * snoop),
            frame_bytes=config.frame_bytes,
            # Nobody's trace may cost anybody an event.
            expendable=snoop or name == PULSE,
            history=history,
        )

    def _keys(self, network: NetworkName) -> tuple[bytes, ...]:
        keys = self.config.keys_for(network)
        return keys or (load_or_create_key(prepare_home(self.config.home_folder)),)

    def _link_settings(self) -> LinkSettings:
        config = self.config
        return LinkSettings(
            node=self.name,
            exchanges=(
                *(exchange_of(network) for network in (*NETWORKS, REPAIR, PULSE)),
                *(marks_of(config) if config.brokers else ()),
            ),
            observer=self.observer,
            attempts=config.connection_attempts,
            connect_timeout_s=config.connect_timeout_s,
            heartbeat_interval_s=config.heartbeat_interval_s,
            confirm_timeout_s=config.confirm_timeout_s,
            confirm_window=config.confirm_window,
            outbox_events=config.outbox_events,
            outbox_bytes=config.outbox_bytes,
        )

    def _make_link(self, settings: LinkSettings) -> Link:
        if self.config.link_factory:
            link: Link = self.config.link_factory(settings)
            return link
        if self.config.brokers:
            return amqp_link(settings)
        return embedded_link(settings, prepare_home(self.config.home_folder))

    @property
    def _start_timeout_s(self) -> float:
        config = self.config
        tries = config.connection_attempts * max(len(config.brokers), 1)
        return tries * (config.connect_timeout_s + 1.0)

    @property
    def _add_timeout_s(self) -> float:
        return self.config.connect_timeout_s + self.config.confirm_timeout_s


def _home_broker(config: MeshConfig) -> Broker:
    if config.link_factory:
        return Broker(type(config.link_factory).__name__, config.brokers)
    if not config.brokers:
        return Broker(f"embedded:{config.home_folder}")
    return Broker(config.brokers[0].redacted, config.brokers)


def _generated_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
