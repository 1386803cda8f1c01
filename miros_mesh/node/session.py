"""What one chart does on the mesh: everything that charts know of their node."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

from miros_mesh.address import chart_address, direct_topic, validate_topic
from miros_mesh.config.key_rings import KeyRings
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import ChartAddressError, OldFramesError, TtlError
from miros_mesh.health import Health
from miros_mesh.link.ports import Subscriber
from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.inbox import Inbox, Source, origin_of
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.network import COMPLAIN_EVERY_S
from miros_mesh.networks.requests import Ended, Request, Requests
from miros_mesh.networks.roll import Roll
from miros_mesh.networks.snoop.console import Console
from miros_mesh.networks.snoop.recorder import Recorder
from miros_mesh.networks.snoop.records import SnoopNetwork, Step
from miros_mesh.node.peer_signals import PeerSignals, Post
from miros_mesh.node.roster import Roster
from miros_mesh.node.watched_networks import WatchedNetworks
from miros_mesh.observer import NO_SPAN, Observer, Span, Tracer, hears
from miros_mesh.report import StopReport
from miros_mesh.text import logger_of
from miros_mesh.timing.clock import Clock
from miros_mesh.timing.throttle import Throttle
from miros_mesh.wire.codec import ONE_DESTINATION
from miros_mesh.wire.envelope import (
    MAX_TTL_S,
    ChartStatus,
    Envelope,
    SnoopRecord,
    TracedEnvelope,
)
from miros_mesh.wire.identity import Identity

logger = logger_of(__name__)

Stream = Literal["trace", "spy"]
SnoopCallback = Callable[[SnoopRecord], None]
"""Takes what a chart of the mesh has done."""


class Host(Protocol):
    """The parts of a node that sessions use."""

    config: MeshConfig
    identity: Identity
    clock: Clock
    forked: bool
    keys: KeyRings
    observer: Observer
    tracer: Tracer | None
    mesh: Mesh
    subscriber: Subscriber
    peer_signals: PeerSignals
    roll: Roll
    roster: Roster
    trace: SnoopNetwork
    spy: SnoopNetwork
    recorder: Recorder
    console: Console
    watched: WatchedNetworks

    def take_part(self, chart: str, probe: Callable[[], ChartStatus]) -> None:
        """Begin to record and to show; the probe says how the chart is."""

    def take_no_part(self, chart: str) -> None:
        """Say no more how the chart is; with the last chart, say that the node leaves."""

    def flush_records(self) -> None:
        """Wait until what charts have recorded is in the outbox, for five seconds at most."""

    def health(self) -> Health:
        """Say how the node is at this moment."""

    def report(self) -> StopReport:
        """Say what has become until now of the events of the node's charts."""


class Work(NamedTuple):
    """What a chart has done, and has to do, at one moment."""

    done: int = 0
    """How many events it has handled."""
    to_do: int = 0
    """How many wait in its FIFO or are being handled."""
    deferred: int = 0
    """How many deliveries the broker keeps because it has put off an event in them."""
    event: str = ""
    """The id of the one that it is handling; empty while it rests."""


class Session:
    """One chart's place on its node, from `join` until it leaves.

    After `leave`, and in a forked child, nothing of it may be used but `forked` and `report`.
    """

    def __init__(
        self,
        node: Host,
        chart: str,
        *,
        tx_routing_key: str,
        rx_routing_keys: tuple[str, ...],
        source: Source,
        shared: Sequence[Source] = (),
        announced: str = "",
        group: str = "",
        leave: Callable[[float], StopReport],
    ) -> None:
        self.node = node
        self.chart = chart
        self.inbox = source.inbox
        """Where the chart's own events come from."""
        self._sources = (source, *shared)
        self._announced = announced
        self.group = group
        """The name of the group that the chart is in; empty for a chart in none."""
        self.leave = leave
        """Leave the mesh, as `Registry.leave` of the node."""
        self._tx_routing_key = tx_routing_key
        self.rx_routing_keys = rx_routing_keys
        """The patterns that it hears."""
        self.queues = [queue for each in self._sources for queue in each.queues]
        """Where its events wait."""
        self.work: Callable[[], Work] = Work
        """Says what the chart has done and has to do; from any thread."""
        self._feeds = tuple(each.inbox.feed for each in self._sources)
        self._tells = hears(node.observer, "handed_over")
        self.requests = Requests(chart, node.clock, node.observer)
        """What it has asked, and waits to be answered."""
        self._complaints = Throttle(COMPLAIN_EVERY_S)
        self.silent = False
        """Whether nothing more is delivered to the chart."""
        self.unhandled = 0
        """How many events it had received and not handled by then."""
        # Set by the chart's thread before it tells of its death, which may be before `open` has
        # said that the chart is there.
        self._dead = False
        self.dying = False
        """Whether its handler has raised, and the observers were not told yet."""
        # Guards `silent`: a chart may die while it is stopped, and is silenced once.
        self._silencing = threading.Lock()

    @property
    def forked(self) -> bool:
        """Whether this is a child's copy of what belongs to its parent process."""
        return self.node.forked

    @property
    def observer(self) -> Observer:
        """The hooks of the node's observers."""
        return self.node.observer

    @property
    def inboxes(self) -> list[Inbox]:
        """Where its events come from."""
        return [each.inbox for each in self._sources]

    @property
    def prefix(self) -> str:
        """What makes the ids of the chart's events unique on the mesh."""
        return f"{self.node.identity.incarnation}/{self.chart}"

    def open(self, post: Post) -> None:
        """Say hello, and feed the chart; `post` takes the public signals of the library."""
        # In this order a chart hears of the peers before it gets the first event of the network.
        self.node.mesh.join(self.chart, self._tx_routing_key)
        self.node.roll.joined(self.chart, self._tx_routing_key, self._announced)
        self.node.peer_signals.subscribe(self.chart, post)
        if self.node.config.tell_charts:
            self.node.roster.subscribe(self.chart, self.rx_routing_keys, post)
        for inbox in self.inboxes:
            inbox.open()
        if self._dead:
            # Of an event of its own, while this went on: what `died` did came too early.
            self.node.roll.died(self.chart)
            self._tell_nothing()

    def feed(self) -> None:
        """Move what waits into the FIFO while it has room."""
        # Each event of the chart comes here.
        for feed in self._feeds:
            feed()

    def finish(self, all_fed: Callable[[], None]) -> None:
        """Begin no further frame; feed what waits of those begun, and then call back, once."""
        left = iter(self.inboxes[1:])

        def fed() -> None:
            # The next one when the last one is done; each calls once, on any thread.
            if (inbox := next(left, None)) is None:
                all_fed()
            else:
                inbox.finish(fed)

        self.inbox.finish(fed)

    def transmit(
        self,
        signal: str,
        payload: Any,
        cause: str | None,
        *,
        routing_key: str | None = None,
        to: str | None = None,
        ttl_s: float | None = None,
        asked: Callable[[str], object] | None = None,
        reply_to: str | None = None,
    ) -> str:
        """Send an event and return its id; never waits. For `asked` see `Mesh.transmit`.

        Raises `PayloadError`, `EventTooLargeError`, `RoutingKeyError`, `ChartAddressError`,
        `TtlError` or `OldFramesError`.
        """
        return self.node.mesh.transmit(
            self.chart,
            self._destination(routing_key, to),
            signal,
            payload,
            cause,
            to=to or "",
            ttl_s=None if ttl_s is None else seconds("ttl_s", ttl_s),
            asked=asked,
            reply_to=reply_to,
        )

    def request(
        self,
        signal: str,
        payload: Any,
        cause: str | None,
        *,
        timeout_s: float,
        ended: Ended,
        routing_key: str | None = None,
        to: str | None = None,
    ) -> str:
        """Send an event that wants a reply, and return its id; never waits.

        `answered` has to be asked about each reply. Without one in time `ended` is called,
        as `Requests` says, which may be before this returns. Raises as `transmit`, and
        `StoppedError` for a chart that has died.
        """
        timeout_s = seconds("timeout_s", timeout_s)
        # Who answers later answers for nothing; but clocks may differ by so much.
        ttl_s = min(timeout_s + self.node.config.clock_error_s, MAX_TTL_S)
        send = partial(
            self.transmit, signal, payload, cause, routing_key=routing_key, to=to, ttl_s=ttl_s
        )
        return self.requests.open(signal, cause, timeout_s, ended, send)

    def answered(self, reply: Arrival, request_id: str) -> Request | None:
        """Return the request that a reply answers, which has ended by that; None for any other.

        Such a one is counted as dropped, and done.
        """
        if request := self.requests.answered(request_id):
            return request
        self.observer.dropped(network=self.node.mesh.network.name, reason="late_reply", events=1)
        if times := self._complaints.due("late"):
            logger.warning(
                "%s: %d replies came to no open request and are dropped, the last one %s: too "
                "late, not the first, or for an earlier process",
                self.chart,
                times,
                origin_of(reply.envelope),
            )
        reply.inbox.finished(reply)
        return None

    def handed_over(self, event: Envelope) -> None:
        """Tell the observers that the chart gets an event, and how long that was on its way."""
        if not self._tells:
            return
        # The sender's clock may be ahead of this one.
        latency_s = max(self.node.clock.wall() - event.sent_at, 0)
        self.observer.handed_over(chart=self.chart, seconds=latency_s)

    def _destination(self, routing_key: str | None, to: str | None) -> str:
        elsewhere = to or routing_key not in (None, self._tx_routing_key)
        if elsewhere and self.node.config.old_frames == "write":
            # Here too, since a chart's first event would be taken, and no later one.
            raise OldFramesError(ONE_DESTINATION)
        if to is None:
            return self._tx_routing_key if routing_key is None else validate_topic(routing_key)
        if routing_key is not None:
            raise ChartAddressError(
                f"an event goes under a topic or to one chart: give routing_key={routing_key!r} or "
                f"to={to!r}, not both"
            )
        node, chart = chart_address(to)
        if (node, chart) == (self.node.identity.node, self.chart):
            raise ChartAddressError(
                f"{to} is the chart that sends, and a chart does not hear itself: post the event "
                "into its own FIFO"
            )
        return direct_topic(node, chart)

    def goodbye(self) -> None:
        """Say to the other charts of the mesh that this one leaves."""
        self.node.mesh.goodbye(self.chart, self._tx_routing_key)

    def handling(self, envelope: Envelope, topic: str) -> Span:
        """Begin the span in which the calling thread handles an event."""
        tracer = self.node.tracer
        if tracer is None:
            return NO_SPAN
        return tracer.handling(
            node=self.node.identity.node,
            chart=self.chart,
            topic=topic,
            signal=envelope.signal,
            message_id=envelope.id,
            size_bytes=len(envelope.payload),
            context=envelope.trace if isinstance(envelope, TracedEnvelope) else None,
        )

    def died(self, error: BaseException, arrival: Arrival | None) -> None:
        """Deliver nothing more to a chart whose handler raised, and tell the observers.

        First other nodes are told, and it is noted for the next process of the node's name which
        received event it was: that takes as long as the broker needs, `drain_timeout_s` at most.
        """
        self._dead = True
        self.node.roll.died(self.chart)
        waits = any(each.lasting for each in self._sources)
        end_by = time.monotonic() + (self.node.config.drain_timeout_s if waits else 0)
        # What was set aside is done when the broker has the letter, and acknowledged before the
        # queue is let go. Whatever is not acknowledged by then comes again.
        self._wait_settled(end_by)
        self._silence(end_by)
        self.inbox.died(error, arrival, _left(end_by))
        self.node.observer.chart_died(chart=self.chart, error=error)
        self.dying = False

    def close(self, end_by: float) -> None:
        """Deliver nothing more to a chart that leaves, and note what is handled of its last frames.

        That takes as long as the broker needs, at most until that (monotonic) time.
        """
        self._wait_settled(end_by)
        # No note of a chart that has died: its death has noted all.
        if self._silence():
            self.inbox.stopped(_left(end_by))

    def _wait_settled(self, end_by: float) -> None:
        for source in self._sources:
            if source.end:
                source.end(_left(end_by))
        for inbox in self.inboxes:
            inbox.wait_kept(_left(end_by))

    def _silence(self, wait_by: float = 0.0) -> bool:
        """Deliver nothing more to the chart; what it has not handled is counted as dropped.

        The broker keeps the events of a chart whose queue outlives its node. Waits until it has
        the acknowledgements, at most until that (monotonic) time. Returns False if that was done
        before.
        """
        self._tell_nothing()
        with self._silencing:
            if self.silent:
                return False
            self.silent = True
        # Out of the lock, as all that follows: observers are called, and may stop the chart.
        for source in self._sources:
            unhandled = source.inbox.close()
            self.unhandled += unhandled
            if unhandled and not source.lasting:
                self.node.observer.dropped(network="mesh", reason="stopped", events=unhandled)
            # After the inbox is closed: the removal comes later, on the subscriber's thread, and
            # what is handed out until then is not taken.
            for queue in source.queues:
                self.node.subscriber.remove(queue, _left(wait_by))
        return True

    def _tell_nothing(self) -> None:
        self.requests.close()
        self.node.peer_signals.unsubscribe(self.chart)
        self.node.roster.unsubscribe(self.chart)

    def health(self) -> Health:
        """Say how the chart's node is at this moment."""
        return self.node.health()

    def report(self) -> StopReport:
        """Say what has become until now of the events of the node's charts."""
        return self.node.report()

    def watch(
        self,
        stream: Stream,
        probe: Callable[[], ChartStatus],
        *,
        color: bool,
        callback: SnoopCallback | None,
        wanted: Callable[[], bool],
    ) -> None:
        """Take part in a stream: print all charts' records, or hand them to the callback.

        `probe` says how this chart is, for the node's status. The callback is called while `wanted`
        returns that it is. Records of other nodes come after `consume`. Never waits.
        """
        console = self.node.console
        printing = console.colored if color else console.plain
        # The console runs before the first record comes.
        self.node.take_part(self.chart, probe)
        snoop = self._snoop(stream)
        snoop.watch(self.chart, console.calling(callback, wanted) if callback else printing)
        snoop.begin(self.chart)

    def consume(self, stream: Stream) -> None:
        """Return when records of other nodes come, if the stream is watched. Raises `LinkError`."""
        self.node.watched.consume(self._snoop(stream))

    def end_records(self, stream: Stream) -> None:
        """Take no more records of the chart into a stream; those of before are on their way."""
        self._snoop(stream).end(self.chart)

    def flush_records(self) -> None:
        """Wait until what was recorded is in the outbox and shown, for five seconds at most."""
        self.node.flush_records()

    def unwatch(self, stream: Stream) -> None:
        """Show the chart a stream no more. Never waits."""
        snoop = self._snoop(stream)
        snoop.unwatch(self.chart)
        self.node.watched.release(snoop)

    def take_no_part(self) -> None:
        """Take part in no stream any more: the node's status leaves the chart out."""
        self.node.take_no_part(self.chart)

    def record(
        self, stream: Stream, amount: int, steps: Callable[..., Iterable[Step]], *facts: Any
    ) -> None:
        """Have `steps(*facts)` sent as that many records; never waits for the network."""
        self.node.recorder.record(self._snoop(stream), self.chart, amount, steps, *facts)

    def _snoop(self, stream: Stream) -> SnoopNetwork:
        return self.node.trace if stream == "trace" else self.node.spy


def seconds(what: str, given: object) -> float:
    """Return a time that a program gives for an event; raises `TtlError`."""
    number = isinstance(given, (int, float)) and not isinstance(given, bool)
    if not number or not 0 < given <= MAX_TTL_S:  # type: ignore[operator]
        raise TtlError(
            f"{what} is a number of seconds above 0 and up to {MAX_TTL_S:,.0f}, not {given!r:.40}"
        )
    return float(given)  # type: ignore[arg-type]


def _left(end_by: float) -> float:
    return max(end_by - time.monotonic(), 0)
