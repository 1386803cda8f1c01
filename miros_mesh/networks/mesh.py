"""The mesh: events between charts, on their way out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from miros_mesh.errors import MeshError, PayloadError
from miros_mesh.networks.network import Network
from miros_mesh.observer import NO_SPAN, Observer, Tracer
from miros_mesh.wire.envelope import Envelope, TracedEnvelope
from miros_mesh.wire.identity import Identity
from miros_mesh.wire.serializer import PayloadSerializer

# Signal names that begin so belong to the library and never reach a chart.
RESERVED_PREFIX = "miros_mesh."
GOODBYE = RESERVED_PREFIX + "goodbye"
# Says nothing but its number, by which receivers see that something before it is missing.
BEAT = RESERVED_PREFIX + "beat"
# Says where the home broker of its node is, as a beat does: nodes that do not know it may look.
HELLO = RESERVED_PREFIX + "hello"
_BEATS = 2
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
        tracer: Tracer | None = None,
    ) -> None:
        self.network = network
        self.identity = identity
        self.observer = observer
        self.dedup_window = dedup_window
        self.tracer = tracer
        self._serializer = serializer
        self.claim = ""
        """Where the node's home broker is for others; nothing is said while it is empty."""
        self.claimed: Callable[[str], None] = lambda _: None
        """Told what other nodes claim; checks it, and returns at once."""
        self._quiet: dict[str, _Quiet] = {}

    def transmit(
        self, chart: str, routing_key: str, signal: str, payload: Any, cause: str | None
    ) -> None:
        """Queue an event for every peer; never waits.

        Raises `PayloadError` or `EventTooLargeError`.
        """
        span = NO_SPAN
        if self.tracer:
            node = self.identity.node
            span = self.tracer.sending(node=node, chart=chart, topic=routing_key, signal=signal)
        try:
            data = self._dumped(payload)
            sequence = self._send(chart, routing_key, signal, data, cause, span.context)
        except BaseException as error:
            span.end(error=error)
            raise
        if span is not NO_SPAN:
            message_id = f"{self.identity.incarnation}/{chart}/{sequence}"
            span.end(message_id=message_id, size_bytes=len(data))
        if chart not in self._quiet:
            self._quiet[chart] = _Quiet(routing_key)

    def _dumped(self, payload: Any) -> bytes:
        try:
            return self._serializer.dumps(payload)
        except MeshError:
            raise
        except Exception as error:
            raise PayloadError(
                f"the serializer {self._serializer.name} cannot write this payload: "
                f"{type(error).__name__}"
            ) from error

    def join(self, chart: str, routing_key: str) -> None:
        """The chart has started: say where its node is, if anybody is to know."""
        if self.claim:
            self._quiet.setdefault(chart, _Quiet(routing_key))
            self._say(HELLO, chart, routing_key)

    def hello(self) -> None:
        """Say it once more, for those who have not heard it; under each routing key once."""
        charts = {quiet.routing_key: chart for chart, quiet in list(self._quiet.items())}
        for routing_key, chart in charts.items():
            self._say(HELLO, chart, routing_key)

    def heard(self, envelope: Envelope) -> None:
        """Another node said hello, or let its heart beat."""
        own = envelope.incarnation == self.identity.incarnation
        if not own and 0 < len(envelope.payload) <= _LONGEST_CLAIM:
            self.claimed(envelope.payload.decode(errors="replace"))

    def goodbye(self, chart: str, routing_key: str) -> None:
        """Tell the others that a chart leaves."""
        self._quiet.pop(chart, None)
        self._send(chart, routing_key, GOODBYE, b"", None)

    def beat(self) -> None:
        """Let each chart that has fallen silent since the last call say its number, twice.

        Were its last events lost with a queue, nothing else would tell their receivers.
        """
        for chart, quiet in list(self._quiet.items()):
            last = self.network.sequence_of(chart)
            if last != quiet.last:
                quiet.last, quiet.beats = last, 0
            elif quiet.beats < _BEATS:
                quiet.last = self._say(BEAT, chart, quiet.routing_key)
                quiet.beats += 1

    def payload_of(self, envelope: Envelope) -> Any:
        """Raises `PayloadError` when the serializer cannot read it."""
        try:
            return self._serializer.loads(envelope.payload)
        except PayloadError:
            raise
        except Exception as error:
            raise PayloadError(
                f"the payload of {envelope.signal} from {envelope.chart} cannot be read: "
                f"{type(error).__name__}; do all nodes use the same serializer?"
            ) from error

    def _say(self, word: str, chart: str, routing_key: str) -> int:
        """The chart's last number, one more unless it has said goodbye before: that is the last."""

        def make(sequence: int) -> Envelope:
            if chart not in self._quiet:
                raise _GoneError
            return self._envelope(chart, sequence, word, self.claim.encode(), None)

        try:
            return self.network.send(chart, routing_key, make, counted=False)
        except _GoneError:
            return self.network.sequence_of(chart)

    def _send(
        self,
        chart: str,
        routing_key: str,
        signal: str,
        data: bytes,
        cause: str | None,
        trace: str | None = None,
    ) -> int:
        return self.network.send(
            chart,
            routing_key,
            lambda sequence: self._envelope(chart, sequence, signal, data, cause, trace),
            counted=not signal.startswith(RESERVED_PREFIX),
        )

    def _envelope(
        self,
        chart: str,
        sequence: int,
        signal: str,
        data: bytes,
        cause: str | None,
        trace: str | None = None,
    ) -> Envelope:
        node, incarnation = self.identity.node, self.identity.incarnation
        fields = node, chart, incarnation, sequence, signal, data, time.time(), cause
        return TracedEnvelope(*fields, trace) if trace else Envelope(*fields)


class _GoneError(Exception):
    """The chart has said goodbye."""


@dataclass
class _Quiet:
    """A chart's last number when it was looked at, and its beats since then."""

    routing_key: str
    last: int = 0
    beats: int = 0
