"""The mesh: events between charts. Echoes, duplicates and strangers' signals stop here."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from miros_mesh.config import PayloadSerializer
from miros_mesh.errors import MeshError, PayloadError
from miros_mesh.link.ports import Delivery
from miros_mesh.networks.network import Network
from miros_mesh.networks.replay import ReplayWindows, Verdict
from miros_mesh.observer import Observer
from miros_mesh.wire import Envelope

# Signal names that begin so belong to the library and never reach a chart.
RESERVED_PREFIX = "miros_mesh."
GOODBYE = RESERVED_PREFIX + "goodbye"


@dataclass(frozen=True)
class Identity:
    """Who a node is: its name, and a mark that is new at each start."""

    node: str
    incarnation: str


class Mesh:
    """Sends and receives events for all charts of a node."""

    def __init__(
        self,
        network: Network[Envelope],
        identity: Identity,
        serializer: PayloadSerializer,
        observer: Observer,
        *,
        dedup_window: int,
    ) -> None:
        self.network = network
        self.identity = identity
        self.observer = observer
        self.dedup_window = dedup_window
        self._serializer = serializer

    def transmit(
        self, chart: str, routing_key: str, signal: str, payload: Any, cause: str | None
    ) -> None:
        """Queue an event for every peer; never waits.

        Raises `PayloadError` or `EventTooLargeError`.
        """
        self._send(chart, routing_key, signal, self._dumped(payload), cause)

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

    def goodbye(self, chart: str, routing_key: str) -> None:
        """Tell the others that a chart leaves."""
        self._send(chart, routing_key, GOODBYE, b"", None)

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

    def _send(
        self, chart: str, routing_key: str, signal: str, data: bytes, cause: str | None
    ) -> None:
        node, incarnation = self.identity.node, self.identity.incarnation
        now = time.time()
        self.network.send(
            chart,
            routing_key,
            lambda sequence: Envelope(node, chart, incarnation, sequence, signal, data, now, cause),
            counted=not signal.startswith(RESERVED_PREFIX),
        )


class _Ticket:
    """One delivery, acknowledged when the last of its events is done."""

    __slots__ = ("_delivery", "_left", "_lock", "begun")

    def __init__(self, delivery: Delivery, events: int) -> None:
        self._delivery = delivery
        self._left = events
        self._lock = threading.Lock()
        self.begun = False
        """Whether the chart was handed one of the events."""

    def done(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._delivery.ack()


@dataclass(eq=False)
class Arrival:
    """A received event on its way through a chart's FIFO."""

    envelope: Envelope
    payload: Any
    tickets: list[_Ticket] = field(default_factory=list)

    @property
    def begun(self) -> bool:
        """Whether the chart was handed an event of its frame."""
        return any(ticket.begun for ticket in self.tickets)

    def begin(self) -> None:
        """The chart is handed the event."""
        for ticket in self.tickets:
            ticket.begun = True


class Inbox:
    """What arrived for one chart: fed into its FIFO while that has room, acknowledged once handled.

    `room` says how many events the FIFO takes now, and `post` puts one there or raises nothing.
    """

    def __init__(
        self, mesh: Mesh, chart: str, *, room: Callable[[], int], post: Callable[[Arrival], None]
    ) -> None:
        self._mesh = mesh
        self._chart = chart
        self._room = room
        self._post = post
        self._windows = ReplayWindows(mesh.dedup_window)
        self._waiting: deque[Arrival] = deque()
        self._unfinished: dict[str, Arrival] = {}
        self._open = False
        self._finishing = False
        self._all_fed: Callable[[], None] | None = None
        self._refused = 0
        self._lock = threading.RLock()

    def open(self) -> None:
        """The chart has started: begin to feed it."""
        with self._lock:
            self._open = True
        self.feed()

    def finish(self, all_fed: Callable[[], None]) -> None:
        """Begin no further frame; feed what waits of those begun, and then call back, once.

        A frame that is handled in part comes again as a whole.
        """
        with self._lock:
            self._all_fed = all_fed
            self._finishing = True
            self._waiting = deque(arrival for arrival in self._waiting if arrival.begun)
        self.feed()

    def close(self) -> int:
        """Feed no more. Returns how many events were received and are not handled."""
        with self._lock:
            self._open, self._finishing = False, True
            self._waiting.clear()
            return len(self._unfinished) + self._refused

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery on the subscriber's thread."""
        envelopes = self._mesh.network.open(delivery)
        if not envelopes:
            return
        if self._finishing:
            self._refused += sum(not self._is_for_nobody(each) for each in envelopes)
            return
        ticket = _Ticket(delivery, len(envelopes))
        for envelope in envelopes:
            self._admit(envelope, ticket)
        self.feed()

    def feed(self) -> None:
        """Move what waits into the FIFO while it has room."""
        if not self._waiting and self._all_fed is None:
            return
        with self._lock:
            while self._open and self._waiting and self._room() > 0:
                arrival = self._waiting.popleft()
                arrival.begin()
                self._post(arrival)
            if self._all_fed and not self._waiting:
                all_fed, self._all_fed = self._all_fed, None
                all_fed()

    def take_back(self, arrival: Arrival) -> None:
        """The FIFO had no place after all for the event posted last: it waits at the front."""
        with self._lock:
            if self._open:
                self._waiting.appendleft(arrival)

    def finished(self, arrival: Arrival) -> None:
        """The chart has run the event to completion."""
        with self._lock:
            if self._unfinished.pop(arrival.envelope.id, None) is None:
                # A handler may post a received event again; it is acknowledged once.
                return
        for ticket in arrival.tickets:
            ticket.done()

    def _admit(self, envelope: Envelope, ticket: _Ticket) -> None:
        if self._is_echo(envelope):
            ticket.done()
        elif not self._is_new(envelope):
            self._settle_copy(envelope, ticket)
        elif envelope.signal.startswith(RESERVED_PREFIX):
            self._control(envelope)
            ticket.done()
        else:
            self._queue(envelope, ticket)

    def _queue(self, envelope: Envelope, ticket: _Ticket) -> None:
        try:
            payload = self._mesh.payload_of(envelope)
        except PayloadError as error:
            self._mesh.network.complain("payload", error)
            self._drop("payload")
            ticket.done()
            return
        with self._lock:
            arrival = Arrival(envelope, payload, [ticket])
            self._unfinished[envelope.id] = arrival
            self._waiting.append(arrival)

    def _is_for_nobody(self, envelope: Envelope) -> bool:
        return envelope.signal.startswith(RESERVED_PREFIX) or self._is_echo(envelope)

    def _is_echo(self, envelope: Envelope) -> bool:
        own = self._mesh.identity.incarnation
        return envelope.incarnation == own and envelope.chart == self._chart

    def _is_new(self, envelope: Envelope) -> bool:
        stream = f"{envelope.incarnation}/{envelope.chart}"
        verdict, missing = self._windows.check(stream, envelope.sequence)
        if missing:
            self._mesh.observer.gap(
                network=self._mesh.network.name, sender=envelope.chart, missing=missing
            )
        if verdict is not Verdict.NEW:
            self._drop(verdict.value)
        return verdict is Verdict.NEW

    def _settle_copy(self, envelope: Envelope, ticket: _Ticket) -> None:
        with self._lock:
            unfinished = self._unfinished.get(envelope.id)
            if unfinished is not None:
                # The broker may forget this copy only when the first one has been handled.
                unfinished.tickets.append(ticket)
                return
        ticket.done()

    def _control(self, envelope: Envelope) -> None:
        if envelope.signal == GOODBYE:
            self._mesh.observer.chart_left(node=envelope.node, chart=envelope.chart)

    def _drop(self, reason: str) -> None:
        self._mesh.observer.dropped(network=self._mesh.network.name, reason=reason, events=1)
