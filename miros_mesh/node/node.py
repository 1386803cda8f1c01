"""The composition root: a node is built of its parts by the settings, started, and stopped."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from miros_mesh.address import direct_topic
from miros_mesh.config.key_rings import KeyRings
from miros_mesh.config.settings import MeshConfig
from miros_mesh.discovery.settings import FIRST_SEARCH_S
from miros_mesh.errors import (
    ChartNameTakenError,
    LinkError,
    MeshError,
    MessageTooLargeError,
)
from miros_mesh.forks import importing
from miros_mesh.health import Health, Vitals
from miros_mesh.link.ports import Broker, Delivery, Link, LinkSettings, QueueSpec
from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.group.filed import FiledInbox
from miros_mesh.networks.history import History
from miros_mesh.networks.hold import Hold
from miros_mesh.networks.inbox import Inbox, Source
from miros_mesh.networks.letters.home import Letters, Place
from miros_mesh.networks.letters.letter import letter_codec
from miros_mesh.networks.letters.local import LocalLetters
from miros_mesh.networks.letters.refused_events import RefusedEvents
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.network import Refusal
from miros_mesh.networks.notes.deaths import Deaths
from miros_mesh.networks.notes.marks import Marks
from miros_mesh.networks.order.routes import Routes
from miros_mesh.networks.order.streams import MAX_HELD_BYTES
from miros_mesh.networks.peers import Peers
from miros_mesh.networks.repair import Repair
from miros_mesh.networks.roll import Roll
from miros_mesh.networks.snoop.at_work import AtWork
from miros_mesh.networks.snoop.console import Console
from miros_mesh.networks.snoop.node_status import StatusNetwork
from miros_mesh.networks.snoop.recorder import Recorder
from miros_mesh.networks.snoop.records import SnoopNetwork
from miros_mesh.node import network_specs as specs
from miros_mesh.node.credentials import Credentials
from miros_mesh.node.group_seat import GroupSeat, Surroundings
from miros_mesh.node.groups import Group
from miros_mesh.node.link_settings import link_settings
from miros_mesh.node.no_listeners import NoListeners
from miros_mesh.node.peer_signals import PeerSignals
from miros_mesh.node.queues import NodeQueues, topics_of
from miros_mesh.node.registry import Ending, Registry
from miros_mesh.node.roster import Roster
from miros_mesh.node.search.link_probe import LinkProbe, marks_of
from miros_mesh.node.search.settings import refusals_of, settings_of
from miros_mesh.node.session import Host, Session
from miros_mesh.node.unread_broker import warn_of_unread_broker
from miros_mesh.node.watched_networks import WatchedNetworks
from miros_mesh.observer import Observers, Tracer
from miros_mesh.private_files import prepare_home
from miros_mesh.report import StopReport
from miros_mesh.text import logger_of
from miros_mesh.timing.clock import Clock, SystemClock
from miros_mesh.wire.codec import ONE_DESTINATION
from miros_mesh.wire.envelope import (
    ENVELOPE_BYTES,
    MAX_KEYS,
    ChartStatus,
    Envelope,
    HeldKey,
    HeldKeys,
    NodeRoll,
    RepairMessage,
    RoutedEnvelope,
)
from miros_mesh.wire.identity import Identity
from miros_mesh.wire.serializer import MsgpackSerializer

# What only some settings need is imported where they choose it, all of it in this module: a fifth
# of the package is for the search, and a broker's client is for nodes without a link of their own.
if TYPE_CHECKING:
    from miros_mesh.discovery.discovery import Discovery
    from miros_mesh.node.ancestors import Ancestors
    from miros_mesh.node.search.bridge import DiscoveryBridge

logger = logger_of(__name__)

_TRACE_ROUTING_KEY: Final = "snoop.trace"
_SPY_ROUTING_KEY: Final = "snoop.spy"
_STATUS_ROUTING_KEY: Final = "pulse"
# Threads end at their next turn after the drain, which is never far.
_JOIN_TIMEOUT_S: Final = 5.0
# Tried again and again, so that a node which stops need not wait for long.
_STORE_PATIENCE_S: Final = 1.0


class Node(Host):
    """One process on the mesh: the parts that all charts of equal settings share.

    The constructor builds every part and connects nothing; `start` does, once.
    """

    def __init__(self, config: MeshConfig) -> None:
        """Build the parts.

        Raises `ConfigError`, `EmbeddedStoreError` for a folder of no use, and `UnsupportedError`.
        """
        self.config = config
        self.forked = False
        """Whether this is a child's copy of its parent's node, of which nothing works."""
        self.identity = identity = _identity_of(config)
        # That of the settings is somebody else's, and not stopped here.
        self._own_clock = SystemClock(f"mesh-{identity.node}-timers")
        self.clock: Clock = self._own_clock if config.clock is None else config.clock
        """What time it is for the charts of the node, and who keeps their timers."""
        self.queues = NodeQueues(config, identity)
        self.home = home_broker(config)
        self._build_observers()
        self._build_networks()
        self._build_snoop()
        self._refusals = refusals_of(config) if config.discovery_sources else None
        self._link = self._build_link()
        self.peers = Peers(
            self._link,
            [
                *(self.mesh.network, self.trace.network, self.spy.network),
                *(self._repairs, self.statuses.network, self.roll.network),
                *(self._ancestors.networks if self._ancestors else ()),
            ],
            home=self.home,
            home_networks=self._home_networks,
            hold=self._made_hold(),
        )
        self._searched = threading.Event()
        """Set when the first search has ended, or will not end any more."""
        self.subscriber = self._link.subscriber(self.home, name_lock=self.queues.name_lock)
        self.watched = WatchedNetworks(
            self.subscriber,
            self._watchers_queue,
            timeout_s=self._add_timeout_s,
            companions=self._ancestors.lines if self._ancestors else {},
        )
        self._discovery = self._build_discovery()
        # `_sessions`, `_topics` and `_probes` are changed by the threads that use charts, one entry
        # at a time, and no two live charts have one name: they need no lock. Other threads walk
        # along copies of the first (repair) and the last (recorder).
        self._sessions: dict[str, Session] = {}
        # What each chart has sent under, also of charts that have left.
        self._topics: dict[str, str] = {}
        self._probes: dict[str, Callable[[], ChartStatus]] = {}
        self._at_work = AtWork(lambda: self.sessions)
        # Of the key that seals notes of this node now.
        self._notes_key = self.keys["mesh"].primary
        # Guards that they are asked for once.
        self._hearing = threading.Lock()
        self._hears_rolls = False
        # Whether the other nodes were told of this one, and not that it leaves. Used on the
        # recorder's thread, and after its end on the one that stops the node.
        self._told = False
        self._complained = False

    def start(self) -> None:
        """Connect to the home broker; once.

        Raises the `LinkError` or `ConfigError` that prevents it, and then leaves nothing running.
        """
        warn_of_unread_broker(self.config)
        try:
            self._connect()
        except BaseException:
            self.stop()
            raise

    @property
    def name(self) -> str:
        """The node's name on the mesh."""
        return self.identity.node

    @property
    def charts(self) -> int:
        """How many charts it has, dead or alive."""
        return len(self._sessions)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The places of its charts, dead or alive."""
        return tuple(self._sessions.values())

    @property
    def open_requests(self) -> int:
        """How many requests of its charts wait for an answer."""
        return sum(len(each.requests) for each in list(self._sessions.values()))

    def report(self) -> StopReport:
        """Say what has become until now of the events of its charts."""
        return self.peers.report()

    def stop(self) -> StopReport:
        """Drain the outboxes, end every thread, and say what became of the events.

        A call that was interrupted can be made again; another one after the end changes nothing.
        """
        waited_s = self._wait_for_peers()
        # Before the drain: what it calls may transmit.
        self._own_clock.stop(_JOIN_TIMEOUT_S)
        if self._discovery:
            # First, so that no broker is found while the others are given up.
            self._discovery.stop(_JOIN_TIMEOUT_S)
            # A start that waits for it on another thread waits no longer: it will not end.
            self._searched.set()
        self.repair.stop(_JOIN_TIMEOUT_S)
        if self.queues.lasting:
            self._deaths.give_up()
            self._marks.write()
        # Before the peers end, which send its last records. The last status comes after them: by
        # then its thread sends none any more.
        if self.recorder.runs:
            self.recorder.stop(_JOIN_TIMEOUT_S)
            self._send_last_status()
        # Waits for confirms. The subscriber ends next, with the last acknowledgements; then nothing
        # more comes for the console.
        report = self.peers.stop(max(self.config.drain_timeout_s - waited_s, 0))
        # After the publishers, which hand it what brokers refuse.
        self._refused_events.stop(_JOIN_TIMEOUT_S)
        self.subscriber.stop(_JOIN_TIMEOUT_S)
        # After the subscriber, which hands it what other nodes say.
        self.roster.stop(_JOIN_TIMEOUT_S)
        self.console.stop(_JOIN_TIMEOUT_S)
        # After the publishers, whose hooks call it. Last the link, to which the workers have given
        # their connections back.
        self.peer_signals.close()
        self._link.close()
        self._complain_once(report.left_over)
        return report

    def abandon(self) -> None:
        """Let go, in a forked child, of what belongs to the parent."""
        self.forked = True
        # Its charts and threads are the parent's: nothing here may wait for them.
        self._discovery = None
        self._link.abandon()

    def health(self) -> Health:
        """Say how it is at this moment."""
        vitals, peers = self._vitals, [each.name for each in self.peers.brokers]
        outages = vitals.outages
        refused = self.subscriber.refused() if vitals.receiving else ()
        return Health(
            node=self.name,
            consuming=vitals.receiving and not refused,
            peers={peer: vitals.state_of(peer) for peer in peers},
            dead_charts=vitals.dead_charts,
            outbox_events=self.report().left_over,
            home=self.home.name,
            # Without those of brokers that were given up.
            outages={peer: outages[peer] for peer in peers if peer in outages},
            deaf_charts={spec.chart: why for spec, why in refused if spec.chart},
            keys={network: ring.fingerprints for network, ring in self.keys.items()},
            key_problems=self.keys.problems,
            deaf_networks={self.queues.network(spec): w for spec, w in refused if not spec.chart},
            dead_threads=tuple(
                thread
                for thread, peer in vitals.dead_threads.items()
                if peer in peers or peer == self.home.name
            ),
        )

    def outboxes(self) -> Mapping[str, int]:
        """Count the events that wait for a confirm of each peer."""
        return self.peers.outboxes()

    def join(
        self,
        chart: str,
        tx_routing_key: str,
        rx_routing_keys: tuple[str, ...],
        *,
        room: Callable[[], int],
        post: Callable[[Arrival], None],
        group: Group | None = None,
    ) -> Session:
        """Give a chart its queue, its inbox and its session; nothing is posted before `open`.

        In a group a second queue is that of the group, and its own is for it alone. Raises the
        `LinkError` that prevents it, or `GroupError` where the others of the group want it
        otherwise.
        """
        before = self._topics.get(chart, tx_routing_key)
        if before != tx_routing_key and self.config.old_frames == "write":
            raise ChartNameTakenError(
                f"a chart {chart!r} of this process has sent under {before!r}; one that sends "
                f"under {tx_routing_key!r} needs another name, since its events {ONE_DESTINATION}"
            )
        self._topics[chart] = tx_routing_key
        own_keys = () if group else rx_routing_keys
        queue, topics = self.queues.of_chart(chart, own_keys), topics_of(own_keys)
        inbox = Inbox(
            self.mesh,
            Place(chart, queue.name),
            self.letters,
            missed=self.repair.look,
            kept_s=queue.expires_s if self.queues.lasting else 0.0,
            hears=(*own_keys, direct_topic(self.name, chart)),
            room=room,
            post=post,
            deaths=self._deaths.of(chart) if self.queues.lasting else None,
            handled_before=partial(self._marks.before, chart, topics),
        )
        seat = self._seat(chart, group, rx_routing_keys, room, post) if group else None
        shared = list(seat.sources) if seat else []
        hear_ancestors = None
        if self._ancestors:
            theirs, hear_ancestors = self._ancestors.source(
                self.queues,
                self.subscriber,
                self.letters,
                Place(chart, queue.name),
                rx_routing_keys,
                group,
                room=room,
                post=post,
            )
            shared.append(theirs)
        # The session is there before the queues: repair has to find the inboxes when the first
        # event arrives, and `leave` undoes all when a queue is refused.
        session = self._sessions[chart] = Session(
            self,
            chart,
            tx_routing_key=tx_routing_key,
            rx_routing_keys=rx_routing_keys,
            source=Source(inbox, (queue.name,), self.queues.lasting),
            shared=shared,
            announced=seat.announced if seat else "",
            group=group.name if group else "",
            leave=lambda end_by: NODES.leave(self, chart, end_by),
        )
        existed = self.subscriber.add(queue, inbox.receive, self._add_timeout_s)
        if self.queues.lasting:
            self._marks.joined(inbox, topics, anew=not existed)
        if seat:
            if seat.announced:
                self._hear_rolls()
            seat.join(self._add_timeout_s)
        if hear_ancestors:
            hear_ancestors(self._add_timeout_s)
        return session

    def _seat(
        self,
        chart: str,
        group: Group,
        rx_routing_keys: tuple[str, ...],
        room: Callable[[], int],
        post: Callable[[Arrival], None],
    ) -> GroupSeat:
        around = Surroundings(
            self.config,
            self.queues,
            self.mesh,
            self._filed,
            self.letters,
            self.subscriber,
            self.roster,
            missed=self.repair.look,
            filed_inbox=FiledInbox,
        )
        return GroupSeat(around, chart, group, rx_routing_keys, room=room, post=post)

    def _hear_rolls(self) -> None:
        """Hear of the charts of other nodes, from the first time on."""
        with self._hearing:
            if not self._hears_rolls:
                rolls = self.queues.of_watchers(self.roll.network.name)
                self.subscriber.add(rolls, self.roster.receive, self._add_timeout_s)
                self.roster.start()
                self._hears_rolls = True

    def break_off(self, chart: str) -> None:
        """End the wait of a chart's `join` for its queue, which then raises."""
        if session := self._sessions.get(chart):
            for queue in session.queues:
                self.subscriber.remove(queue)

    def leave(self, chart: str, end_by: float) -> None:
        """Forget a chart: deliver nothing more to it, and send what it has recorded.

        It has until that (monotonic) time for its last letters and its note; 0 is a whole
        `drain_timeout_s`.
        """
        self.roll.left(chart)
        if session := self._sessions.get(chart):
            session.close(end_by or time.monotonic() + self.config.drain_timeout_s)
            self._marks.left(session.inbox)
            self._deaths.left(chart)
        # While the chart's watchers are there: it sees its own last records.
        self.flush_records()
        self.take_no_part(chart)
        for snoop in (self.trace, self.spy):
            snoop.end(chart)
            snoop.unwatch(chart)
            self.watched.release(snoop)
        self._sessions.pop(chart, None)
        self._vitals.left(chart)

    def watch(
        self,
        snoop: SnoopNetwork | StatusNetwork,
        owner: str,
        watcher: Callable[[Sequence[Any]], object],
    ) -> None:
        """Show a snoop network, or node statuses, to a watcher. Raises `LinkError`."""
        # First, so that it sees what comes as soon as the queue is there.
        snoop.watch(owner, watcher)
        self.watched.consume(snoop)

    def hear_rolls(self, hear: Callable[[Sequence[NodeRoll]], object]) -> None:
        """Call with what nodes say of themselves; on a node that tells no charts of others.

        Raises `LinkError`.
        """
        network = self.roll.network
        freshness = network.freshness()

        def receive(delivery: Delivery) -> None:
            if rolls := network.open(delivery, freshness).messages:
                hear(rolls)
                delivery.ack()

        self.subscriber.add(self.queues.of_watchers(network.name), receive, self._add_timeout_s)

    def take_part(self, chart: str, probe: Callable[[], ChartStatus]) -> None:
        """Begin to record and to show; the probe says how the chart is, once a second."""
        self._probes[chart] = probe
        # A node without a chart in a snoop stream has neither thread. When the last one takes no
        # part any more both sleep until the next does, or the node stops.
        self.recorder.start()
        self.console.start()

    def take_no_part(self, chart: str) -> None:
        """Say no more how the chart is; with the last chart, say that the node leaves."""
        self._probes.pop(chart, None)

    def flush_records(self) -> None:
        """Wait until what charts have recorded is in the outbox, for five seconds at most."""
        self.recorder.flush(_JOIN_TIMEOUT_S)

    def _build_observers(self) -> None:
        config = self.config
        self.peer_signals = PeerSignals(
            self.name,
            specs.MESH.name,
            self.home.name,
            tell_no_listener=config.tell_no_listener,
        )
        self._vitals = Vitals(self.home.name)
        self._bridge = self._build_bridge()
        self.letters = Letters(self.identity)
        searching = (self._bridge,) if self._bridge else ()
        # Called in this order: a program's hook that asks for the node's health finds the change.
        own = self._vitals, self.peer_signals, NoListeners(self._known_topics), self.letters
        self.observer = Observers(*own, *searching, *config.observers)
        self.tracer = next((each for each in config.observers if isinstance(each, Tracer)), None)

    def _build_networks(self) -> None:
        config, identity, observer = self.config, self.identity, self.observer
        keys = self.keys = KeyRings(config, self._keys_changed)
        history = History(max_events=config.repair_events, max_bytes=config.repair_bytes)
        events = specs.network_of(specs.MESH, config, keys, observer, history, Routes())
        events.unheard = self._unheard
        self._refused_events = self._build_refused_events()
        events.set_aside = self._refused_events.keep
        self._serializer = config.serializer or MsgpackSerializer(config.payload_types)
        self.mesh = Mesh(
            events,
            identity,
            self._serializer,
            observer,
            dedup_window=config.dedup_window,
            held_bytes=max(MAX_HELD_BYTES, config.outbox_bytes, config.repair_bytes),
            tracer=self.tracer,
            payloads=config.payloads,
            wall=self.clock.wall,
            clock_error_s=config.clock_error_s,
        )
        trace = specs.network_of(specs.SNOOP_TRACE, config, keys, observer)
        self.trace = SnoopNetwork(trace, identity, _TRACE_ROUTING_KEY, observer)
        spy = specs.network_of(specs.SNOOP_SPY, config, keys, observer)
        self.spy = SnoopNetwork(spy, identity, _SPY_ROUTING_KEY, observer)
        status = specs.network_of(specs.STATUS, config, keys, observer)
        self.statuses = StatusNetwork(status, identity, _STATUS_ROUTING_KEY)
        self._ancestors = self._build_ancestors()
        self._build_home_networks()
        self._build_roll()
        self._repairs = specs.network_of(specs.REPAIR, config, keys, observer)
        self.repair = Repair(
            self._repairs,
            self.mesh,
            history,
            self._inboxes,
            interval_s=config.heartbeat_interval_s,
            timeout_s=config.repair_timeout_s,
            message_bytes=specs.largest_message(config),
            whole_since=lambda: self._vitals.whole_since,
            also=self._at_intervals,
            old_frames=config.old_frames == "write",
        )

        def answer_refused(refusal: Refusal[RepairMessage]) -> None:
            if isinstance(refusal.error, MessageTooLargeError):
                self.repair.refused(sum(map(len, refusal.encoded)))
                for message in refusal.messages:
                    # One that alone is too large beside the words of repair is gone.
                    if len(message.events) == 1:
                        self.mesh.network.forget(refusal.broker, message.events)

        self._repairs.set_aside = answer_refused

    def _unheard(self, events: Sequence[Envelope]) -> None:
        """Tell of requests, and of events for one chart, that no broker has a queue of.

        On a publisher's thread.
        """
        for event in events:
            if not isinstance(event, RoutedEnvelope):
                continue
            if event.wants_reply:
                if session := self._sessions.get(event.chart):
                    session.requests.unroutable(event.id)
            elif event.to:
                self.peer_signals.unheard(event.to)

    def _build_home_networks(self) -> None:
        config, keys, identity, observer = self.config, self.keys, self.identity, self.observer
        letters = specs.network_of(specs.LETTERS, config, keys, observer)
        self.letters.attach(letters, observer)
        deaths = specs.network_of(specs.DEATHS, config, keys, observer)
        self._deaths = Deaths(deaths, identity, config.max_deliveries)
        marks = specs.network_of(specs.MARKS, config, keys, observer)
        self._marks = Marks(marks, identity, observer, self.mesh.network.name)
        self._filed = specs.network_of(specs.GROUP, config, keys, observer)
        self._home_networks = letters, deaths, marks, self._filed

    def _build_roll(self) -> None:
        network = specs.network_of(specs.ROLL, self.config, self.keys, self.observer)
        # Those who read frames of the first versions alone read no other roll.
        keys = None if self.config.old_frames == "write" else self._held_keys
        self.roll = Roll(network, self.identity, self.config.heartbeat_interval_s, keys)
        self.roster = Roster(network, self.identity, whole_since=lambda: self._vitals.whole_since)

    def _held_keys(self) -> tuple[HeldKeys, ...]:
        return tuple(
            HeldKeys(
                network,
                ring.used_since,
                tuple(HeldKey(*state) for state in ring.states[:MAX_KEYS]),
            )
            for network, ring in self.keys.items()
        )

    def _keys_changed(self) -> None:
        """Let follow what follows the keys: marks at brokers, notes for the next process, rolls.

        On the thread that has changed them; never waits for a broker.
        """
        before, self._notes_key = self._notes_key, self.keys["mesh"].primary
        if self.queues.lasting and before != self._notes_key:
            # The next process need not have the older key.
            self._marks.write(anew=True)
            self._deaths.write_anew()
        # With it each publisher wakes, and declares the marks of keys that are new.
        self.roll.say()

    def _build_refused_events(self) -> RefusedEvents:
        config = self.config
        return RefusedEvents(
            LocalLetters(config.home_folder, patience_s=_STORE_PATIENCE_S),
            letter_codec(
                self.keys[specs.MESH.keys],
                specs.largest_message(config) + ENVELOPE_BYTES,
                signer=config.signer(),
            ),
            self.identity,
            specs.MESH.name,
            self.observer,
            self.peer_signals.refused,
            max_event_bytes=config.max_event_bytes,
        )

    def _known_topics(self) -> Iterable[str]:
        heard = [key for each in list(self._sessions.values()) for key in each.rx_routing_keys]
        return [*list(self._topics.values()), *heard]

    def _build_snoop(self) -> None:
        def not_recorded(network: str, events: int) -> None:
            self.observer.dropped(network=network, reason="recorder_full", events=events)

        def not_shown(events: int) -> None:
            self.observer.dropped(network="snoop_console", reason="slow_reader", events=events)

        self.recorder = Recorder(self.name, dropped=not_recorded, send_status=self._send_status)
        self.console = Console(self.name, self.identity.incarnation, dropped=not_shown)

    def _build_link(self) -> Link:
        config = self.config
        settings = link_settings(
            config,
            node=self.name,
            exchanges=specs.EXCHANGES,
            observer=self.observer,
            credentials=Credentials(config, self._forget_refusals),
            more_exchanges=self._key_marks if config.brokers else tuple,
            transient_exchanges=self._ancestors.exchanges if self._ancestors else (),
        )
        return home_link(config, settings)

    def _build_ancestors(self) -> Ancestors | None:
        if self.config.ancestors == "off":
            return None
        with importing():
            from miros_mesh.networks.ancestor.inbox import AncestorInbox  # noqa: PLC0415 - few have any
            from miros_mesh.node.ancestors import Ancestors  # noqa: PLC0415 - likewise

        parts = self.mesh, self.trace, self.spy, self._serializer
        return Ancestors(self.config, self.keys, *parts, AncestorInbox)

    def _watchers_queue(self, network: str) -> QueueSpec:
        theirs = self._ancestors.queue_of(self.queues, network) if self._ancestors else None
        return theirs or self.queues.of_watchers(network)

    def _key_marks(self) -> tuple[str, ...]:
        return marks_of(self.keys["mesh"].fingerprints)

    def _forget_refusals(self) -> None:
        """Look again at brokers that have refused credentials which are others now."""
        if self._refusals:
            self._refusals.forget()

    def _build_bridge(self) -> DiscoveryBridge | None:
        if not self.config.discovery_sources:
            return None
        with importing():
            from miros_mesh.node.search.bridge import DiscoveryBridge  # noqa: PLC0415 - few search

        return DiscoveryBridge(self.config)

    def _build_discovery(self) -> Discovery | None:
        if self._bridge is None:
            return None
        with importing():
            from miros_mesh.discovery.discovery import Discovery  # noqa: PLC0415 - few search

        discovery = Discovery(
            settings_of(self.config, self.name),
            probe=LinkProbe(self.config, self._link, self.keys["mesh"]),
            sink=self._bridge,
            observer=self.observer,
            refusals=self._refusals,
            first_search_ended=self._first_search_ended,
        )
        self._bridge.attach(discovery, self.peers, self.mesh)
        return discovery

    def _made_hold(self) -> Hold | None:
        """Make what keeps events for brokers to come, where the settings want it and any come."""
        config = self.config
        if not config.discovery_sources or config.first_search_wait != "hold":
            return None
        return Hold(max_events=config.outbox_events, max_bytes=config.outbox_bytes)

    def _first_search_ended(self) -> None:
        # In this order: who waits finds nothing held back.
        self.peers.release()
        self._searched.set()

    def _wait_for_peers(self) -> float:
        """Let the first search end if events wait for what it finds; return how long that took."""
        began = time.monotonic()
        if self._discovery and self.peers.held:
            self._searched.wait(self.config.drain_timeout_s)
        return time.monotonic() - began

    def _connect(self) -> None:
        # The settings may have been made long ago.
        self.keys.look()
        self.subscriber.start()
        publisher = self.peers.add(self.home)
        # Both connect at the same time, and either may say why there is no broker.
        self.subscriber.wait_ready(self._start_timeout_s)
        publisher.wait_ready(self._start_timeout_s)
        asked = self.queues.of_repair(specs.REPAIR.name, self.repair.routing_key)
        self.subscriber.add(asked, self.repair.receive, self._add_timeout_s)
        self.repair.start()
        if self.config.tell_charts:
            self._hear_rolls()
        if self.queues.lasting:
            self._read_deaths()
            self._read_marks()
        if self._discovery:
            # Last: a node that cannot reach its home broker looks for no other.
            self._discovery.start()
            if self.config.first_search_wait == "block":
                self._searched.wait(FIRST_SEARCH_S)

    def _read_deaths(self) -> None:
        """Read what the last process of this name noted. Charts work without, so it is logged."""
        notes = self.queues.of_deaths(specs.DEATHS.name, self._deaths.routing_key)
        try:
            self.subscriber.add(notes, self._deaths.receive, self._add_timeout_s)
        except LinkError as error:
            logger.error("the deaths of charts are not noted: %s", error)  # noqa: TRY400 - says all
            return
        self._deaths.read(self._add_timeout_s)

    def _read_marks(self) -> None:
        """Read how far the last process of this name has come; likewise."""
        notes = self.queues.of_marks(specs.MARKS.name, self._marks.routing_key)
        try:
            self.subscriber.add(notes, self._marks.receive, self._add_timeout_s)
        except LinkError as error:
            logger.error("how far charts have come is not noted: %s", error)  # noqa: TRY400 - says all

    def _at_intervals(self) -> None:
        self.keys.look()
        # For a broker that is away they would heap up, each out of date when the next one is there.
        if any(self._vitals.state_of(each.name) == "up" for each in self.peers.brokers):
            self.roll.say()
        if self.queues.lasting:
            self._marks.look()

    def _inboxes(self) -> list[Inbox]:
        sessions = [each for each in list(self._sessions.values()) if not each.silent]
        return [inbox for each in sessions for inbox in each.inboxes]

    def _send_status(self) -> bool:
        """Tell how the node is; returns whether a chart takes part, so that more is to be told."""
        charts = [probe() for probe in list(self._probes.values())]
        if not charts:
            self._send_last_status()
            return False
        self._told = True
        self._tell(charts)
        return True

    def _send_last_status(self) -> None:
        """Tell those who were told of the node that it leaves."""
        if self._told:
            self._told = False
            self._tell([], leaving=True)

    def _tell(self, charts: Iterable[ChartStatus], *, leaving: bool = False) -> None:
        try:
            health = self.health()
            # Those who read frames of the first versions alone read no other status.
            work = None if self.config.old_frames == "write" else self._at_work.look(health)
            self.statuses.send(health, charts, leaving=leaving, work=work)
        except MeshError as error:
            self.statuses.network.complain("pulse", error)

    def _complain_once(self, left_over: int) -> None:
        if left_over and not self._complained:
            self._complained = True
            logger.error("node %s stopped with %d event(s) undelivered", self.name, left_over)
            self.observer.dropped(network=specs.MESH.name, reason="stopped", events=left_over)

    @property
    def _start_timeout_s(self) -> float:
        config = self.config
        tries = config.connection_attempts * max(len(config.brokers), 1)
        # A second is the longest pause between two tries of a first connection (`link.retry`).
        return tries * (config.connect_timeout_s + 1.0)

    @property
    def _add_timeout_s(self) -> float:
        return self.config.connect_timeout_s + self.config.confirm_timeout_s


# The one process-wide object: charts of equal settings find each other's node by it.
NODES: Final = Registry(Node)


def join(
    config: MeshConfig,
    chart: str,
    ending: Ending,
    tx_routing_key: str,
    rx_routing_keys: tuple[str, ...],
    *,
    room: Callable[[], int],
    post: Callable[[Arrival], None],
    group: Group | None = None,
) -> Session:
    """Bring a chart onto the node of these settings, which starts with its first chart.

    Raises what `Registry.enter` and `Node.join` raise, and then the chart has not joined.
    """
    with NODES.entrance():
        node = NODES.enter(config, chart, ending)
        try:
            return node.join(
                chart, tx_routing_key, rx_routing_keys, room=room, post=post, group=group
            )
        except BaseException:
            NODES.leave(node, chart)
            raise


def break_off(config: MeshConfig, chart: str, ending: Ending) -> None:
    """Have the `join` of a chart that is stopped meanwhile raise soon; without one do nothing."""
    NODES.break_off(config, chart, ending)


def home_broker(config: MeshConfig) -> Broker:
    """Return the broker that a node of these settings consumes from.

    Raises `UnsupportedError` for the embedded one, where this system cannot have it.
    """
    if config.link_factory:
        return Broker(type(config.link_factory).__name__, config.brokers)
    if not config.brokers:
        with importing():
            from miros_mesh.embedded.transport import require_supported  # noqa: PLC0415 - see above

        require_supported()
        return Broker(f"embedded:{config.home_folder}")
    return Broker(config.brokers[0].redacted, config.brokers)


def home_link(config: MeshConfig, settings: LinkSettings) -> Link:
    """Make the link to that broker; raises `EmbeddedStoreError` for a folder of no use."""
    if config.link_factory:
        link: Link = config.link_factory(settings)
        return link
    with importing():
        from miros_mesh.link.kombu_link import amqp_link, embedded_link  # noqa: PLC0415 - see above

    if config.brokers:
        return amqp_link(settings)
    return embedded_link(settings, prepare_home(config.home_folder), config.durability)


def _identity_of(config: MeshConfig) -> Identity:
    signer = config.signer()
    # By its end receivers know whose incarnation it is, where they have an allow-list.
    mark = signer.mark if signer else ""
    return Identity(config.node_name or _generated_name(), secrets.token_hex(6) + mark)


def _generated_name() -> str:
    # A process may have several nodes, and its number may have been another's before.
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
