"""The mesh: events between charts, on their way out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from miros_mesh.errors import MeshError, PayloadError
from miros_mesh.networks.network import UNNUMBERED, Network
from miros_mesh.networks.order.runs import Readers
from miros_mesh.networks.order.streams import MAX_HELD_BYTES
from miros_mesh.observer import NO_SPAN, Observer, Tracer
from miros_mesh.wire.envelope import RESERVED_PREFIX, Envelope, RoutedEnvelope, TracedEnvelope
from miros_mesh.wire.identity import Identity
from miros_mesh.wire.payload_faults import trouble_of
from miros_mesh.wire.payload_forms import PayloadTypes
from miros_mesh.wire.serializer import PayloadSerializer
from miros_mesh.wire.typed_payloads import Payloads

GOODBYE = RESERVED_PREFIX + "goodbye"
# Says nothing but its number, by which receivers see that something before it is missing.
BEAT = RESERVED_PREFIX + "beat"
# Makes its node's claim, as a beat does: nodes that do not know the broker may look at it.
HELLO = RESERVED_PREFIX + "hello"
# A beat may be lost with the same queue as the events before it, and then has a second chance.
_BEATS = 2
# Of destinations: more would cost more than they tell.
_MOST_BEATS = 100
# What shows that a clock is ahead, until the minute after this one.
_BELIEVED_S = 60.0
# Nodes whose clock is ahead of ours.
_MOST_CLOCKS = 1_000
# A host's name has 253 characters at most; beside it stands a port.
_LONGEST_CLAIM = 300


class Mesh:
    """Sends events for all charts of a node, and reads their payloads."""

    def __init__(
        self,
        network: Network[Envelope],
        identity: Identity,
        serializer: PayloadSerializer,
        observer: Observer,
        *,
        dedup_window: int,
        held_bytes: int = MAX_HELD_BYTES,
        tracer: Tracer | None = None,
        payloads: Mapping[str, Any] = PayloadTypes(),
        wall: Callable[[], float] = time.time,
        clock_error_s: float = 30.0,
    ) -> None:
        self.network = network
        self.identity = identity
        self._prefix = f"{identity.incarnation}/"
        self.observer = observer
        self.dedup_window = dedup_window
        self.held_bytes = held_bytes
        self.tracer = tracer
        self._payloads = Payloads(serializer, payloads)
        self._wall = wall
        self._ahead = _ClocksAhead(clock_error_s)
        # A claim is what a node says of where its home broker is: `host:port`.
        self.claim = ""
        """What this node claims; it claims nothing while this is empty."""
        self.claimed: Callable[[str], None] = lambda _: None
        """Called with what other nodes claim, which may be false; must return at once."""
        self.also: Callable[[str, Envelope], object] | None = None
        """Called with each event that was sent under a topic, for who hears no frames."""
        # By chart, from its start to its goodbye. Dictionaries need no lock for what is done here.
        self._charts: dict[str, _Chart] = {}

    def transmit(
        self,
        chart: str,
        destination: str,
        signal: str,
        payload: Any,
        cause: str | None,
        *,
        to: str = "",
        ttl_s: float | None = None,
        asked: Callable[[str], object] | None = None,
        reply_to: str | None = None,
    ) -> str:
        """Queue an event for every peer and return its id; never waits.

        The destination is a topic, or that of the chart `to`. With `asked` a reply is wanted, and
        that is called with the id, as by `Network.send`. Raises `PayloadError`,
        `EventTooLargeError` or `OldFramesError`.
        """
        span = NO_SPAN
        if self.tracer:
            node = self.identity.node
            span = self.tracer.sending(node=node, chart=chart, topic=destination, signal=signal)
        try:
            data = self._dumped(signal, payload)
            event = self._envelope(chart, signal, data, cause, span.context)
            if to or ttl_s or asked or reply_to:
                event = _routed(event, to, ttl_s, asked is not None, reply_to)
            # A disk costs more than the whole round trip of a request, whose sender is told of any
            # loss by its time-out.
            persistent = asked is None and reply_to is None
            sequence = self.network.send(destination, event, persistent=persistent, asked=asked)
        except BaseException as error:
            span.end(error=error)
            raise
        # What is for one chart, or wants to be answered, is of no use to who knows neither.
        if self.also and not (to or asked or reply_to):
            self.also(destination, event)
        # As `Origin.id` will have it at the receivers.
        message_id = f"{self._prefix}{chart}/{sequence}"
        if span is not NO_SPAN:
            span.end(message_id=message_id, size_bytes=len(data))
        return message_id

    def age_s(self, event: Envelope) -> float:
        """Return how old an event is, by its sender's clock and ours."""
        now = self._wall()
        age_s = now - event.sent_at
        # A clock that is ahead shows by events from the future. By one that is behind, events are
        # older than they are: hosts whose events have a time to live need one time.
        return age_s + self._ahead.seen(event.node, -age_s, now)

    def _dumped(self, signal: str, payload: Any) -> bytes:
        try:
            return self._payloads.dumps(signal, payload)
        except MeshError:
            raise
        except Exception as error:
            # Not its text, which may quote the payload, and belongs in no log.
            raise PayloadError(
                f"the serializer {self._payloads.serializer.name} cannot write this payload: "
                f"{trouble_of(error)}"
            ) from error

    def join(self, chart: str, routing_key: str) -> None:
        """Say hello for a chart that starts, if there is a claim, and watch it for silence."""
        self._charts[chart] = _Chart(routing_key)
        if self.claim:
            self._hello(chart, routing_key)

    def hello(self) -> None:
        """Say hello again, under each routing key once: a peer was found that has not heard it."""
        charts = {each.routing_key: chart for chart, each in list(self._charts.items())}
        for routing_key, chart in charts.items():
            self._hello(chart, routing_key)

    def heard(self, envelope: Envelope) -> None:
        """Take a hello or a beat: pass on what another node claims."""
        own = envelope.incarnation == self.identity.incarnation
        if not own and 0 < len(envelope.payload) <= _LONGEST_CLAIM:
            self.claimed(envelope.payload.decode(errors="replace"))

    def goodbye(self, chart: str, routing_key: str) -> None:
        """Tell the other nodes that a chart leaves; no hello or beat of it follows."""
        # In this order, on which `_hello` relies.
        self._charts.pop(chart, None)
        self.network.send(routing_key, self._envelope(chart, GOODBYE, b""), counted=False)

    def beat(self) -> None:
        """Let each chart that has fallen silent since the last call say its number, twice.

        Were its last events lost with a queue, nothing else would tell their receivers.
        """
        # A copy, since charts join and leave meanwhile.
        for chart, known in list(self._charts.items()):
            last = self.network.sequence_of(chart)
            # `last` is 0 for a chart that has sent nothing: no receiver can miss anything of it.
            if last != known.last:
                known.last, known.beats = last, 0
            elif last and known.beats < _BEATS:
                known.beats += 1
                known.last = self._beat_everywhere(chart, last)

    def _beat_everywhere(self, chart: str, last: int) -> int:
        """Say a chart's number where it has sent last; return its number after that."""
        for destination in self.network.recent(chart, _MOST_BEATS):
            # When something else is sent meanwhile there is no silence to break.
            if not (said := self._say(BEAT, chart, destination, last)):
                break
            last = said
        return last

    def payload_of(self, envelope: Envelope, *, typed: bool = True) -> Any:
        """Read an event's payload; raises `PayloadError` when it cannot be, or does not fit.

        Where it is not `typed`, a payload of a declared type stays in built-in types.
        """
        try:
            return self._payloads.loads(envelope.signal, envelope.payload, typed=typed)
        except PayloadError:
            raise
        except Exception as error:
            raise _unreadable(envelope, error) from error

    def payload_again(self, envelope: Envelope, readers: Readers) -> Any:
        """Read a payload that several charts get, of which each may change its own.

        `readers` has what was found out of the payloads of a frame. Raises as `payload_of`.
        """
        # By the object, which the frame has: who has the key may give two events one id.
        place = id(envelope)
        try:
            if reader := readers.get(place):
                return reader()
            payload, readers[place] = self._payloads.loads_again(envelope.signal, envelope.payload)
        except PayloadError:
            raise
        except Exception as error:
            raise _unreadable(envelope, error) from error
        else:
            return payload

    def _hello(self, chart: str, routing_key: str) -> None:
        said = 0
        while not said:
            # A goodbye first takes the chart out and then takes a number. If this finds the chart,
            # no goodbye had a number when `last` was read; if it gets one now, `last` is outdated.
            last = self.network.sequence_of(chart)
            if chart not in self._charts:
                return
            # 0 when the chart has sent something meanwhile: each further round has cost it a
            # number.
            said = self._say(HELLO, chart, routing_key, last)

    def _say(self, word: str, chart: str, routing_key: str, last: int) -> int:
        """Send a word with the claim, unless the chart has sent something after `last`."""
        envelope = self._envelope(chart, word, self.claim.encode())
        return self.network.send(routing_key, envelope, counted=False, after=last)

    def _envelope(
        self,
        chart: str,
        signal: str,
        data: bytes,
        cause: str | None = None,
        trace: str | None = None,
    ) -> Envelope:
        node, incarnation = self.identity.node, self.identity.incarnation
        fields = node, chart, incarnation, UNNUMBERED, signal, data, self._wall(), cause
        return TracedEnvelope(*fields, trace) if trace else Envelope(*fields)


def _routed(
    event: Envelope, to: str, ttl_s: float | None, wants_reply: bool, reply_to: str | None
) -> RoutedEnvelope:
    return replace(
        RoutedEnvelope.of(event), to=to, ttl_s=ttl_s, wants_reply=wants_reply, reply_to=reply_to
    )


class _ClocksAhead:
    """By how many seconds the clocks of nodes are ahead of ours, at least. Thread-safe.

    Who has the key can send in the name of a node, and of any time: it is believed for no longer
    than two minutes, and no clock is believed to be further ahead than clocks may be.
    """

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._seen: dict[str, tuple[float, float, float]] = {}
        """By node: since when, what was seen since, and what in the minute before that."""
        # Guards `_seen`: charts' threads ask, and the subscriber's.
        self._lock = threading.Lock()

    def seen(self, node: str, ahead_s: float, now: float) -> float:
        """Take what an event shows that comes now; return by how much its clock is ahead."""
        with self._lock:
            return self._taken(node, ahead_s, now)

    def _taken(self, node: str, ahead_s: float, now: float) -> float:
        since, latest, before = self._seen.get(node, (now, 0.0, 0.0))
        if not 0 <= now - since < _BELIEVED_S:
            before = latest if 0 <= now - since < 2 * _BELIEVED_S else 0.0
            since, latest = now, 0.0
        latest = max(latest, min(ahead_s, self._most_s))
        if latest or before:
            self._seen[node] = since, latest, before
            if len(self._seen) > _MOST_CLOCKS:
                del self._seen[next(iter(self._seen))]
        else:
            # Of most there is nothing to know.
            self._seen.pop(node, None)
        return max(latest, before)


@dataclass
class _Chart:
    """A chart that may have fallen silent."""

    routing_key: str
    # This and the next belong to the thread that calls `beat`, which is that of repair.
    last: int = 0
    """Its last number when `beat` looked at it last."""
    beats: int = 0
    """How many beats it has said since its last event."""


def _unreadable(envelope: Envelope, error: Exception) -> PayloadError:
    return PayloadError(
        f"the payload of {envelope.signal} from {envelope.chart} cannot be read: "
        f"{trouble_of(error)}; do all nodes use the same serializer?"
    )
