"""What arrived for one chart: in order, once each, and acknowledged when it was handled."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from miros_mesh.errors import PayloadError
from miros_mesh.link.ports import Delivery
from miros_mesh.networks.mesh import BEAT, GOODBYE, HELLO, RESERVED_PREFIX, Mesh
from miros_mesh.networks.streams import Admission, Passed, Range, Streams
from miros_mesh.wire.envelope import Envelope


class _Ticket:
    """One delivery, settled when the last of its events is done.

    A frame with an event that was refused goes where refused frames go, after the others were
    handled.
    """

    __slots__ = ("_delivery", "_left", "_lock", "_refused", "begun")

    def __init__(self, delivery: Delivery, events: int) -> None:
        self._delivery = delivery
        self._left = events
        self._refused = False
        self._lock = threading.Lock()
        self.begun = False
        """Whether the chart was handed one of the events."""

    def done(self, *, refused: bool = False) -> None:
        with self._lock:
            self._left -= 1
            self._refused = self._refused or refused
            if self._left:
                return
        if self._refused:
            self._delivery.reject()
        else:
            self._delivery.ack()


@dataclass(eq=False)
class Arrival:
    """A received event on its way to a chart, in its inbox and then in its FIFO.

    The chart's own thread makes the miros event of it: that costs more than all before.
    """

    signal: ClassVar[int] = 0
    """What miros' FIFO looks at before that: the number of no signal."""

    envelope: Envelope
    payload: Any = None
    tickets: list[_Ticket] = field(default_factory=list)

    @property
    def signal_name(self) -> str:
        """The name of its signal, as a miros event has it."""
        return self.envelope.signal

    @property
    def begun(self) -> bool:
        """Whether the chart was handed an event of its frame.

        What came by repair belongs to no frame, and no broker would give it again.
        """
        return not self.tickets or any(ticket.begun for ticket in self.tickets)

    def begin(self) -> None:
        """The chart is handed the event."""
        for ticket in self.tickets:
            ticket.begun = True


class Inbox:
    """What arrived for one chart: fed into its FIFO while that has room, acknowledged once handled.

    `room` says how many events the FIFO takes now, and `post` puts one there or raises nothing.
    Events that come before an earlier one of their sender wait for it; `missed` is called then.
    """

    def __init__(
        self,
        mesh: Mesh,
        chart: str,
        *,
        room: Callable[[], int],
        post: Callable[[Arrival], None],
        missed: Callable[[], None] = lambda: None,
    ) -> None:
        self._mesh = mesh
        self._chart = chart
        self._room = room
        self._post = post
        self._missed = missed
        self._streams: Streams[Arrival] = Streams(mesh.dedup_window)
        self._waiting: deque[Arrival] = deque()
        self._unfinished: dict[str, Arrival] = {}
        self._open = False
        self._finishing = False
        self._all_fed: Callable[[], None] | None = None
        self._admitting = 0
        self._refused = 0
        self._lock = threading.RLock()
        self._feeding = threading.Lock()

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
        with self._lock:
            if self._finishing:
                self._refused += sum(not self._is_for_nobody(each) for each in envelopes)
                return
            # Its first events may be begun, so it has to be whole before `finish` is through.
            self._admitting += 1
        try:
            ticket = _Ticket(delivery, len(envelopes))
            for envelope in envelopes:
                if self._is_echo(envelope):
                    ticket.done()
                else:
                    self._admit(envelope, ticket)
        finally:
            with self._lock:
                self._admitting -= 1
        self.feed()

    def holes(self) -> dict[tuple[str, str], list[Range]]:
        """The numbers that events wait for, by their stream: incarnation and chart."""
        with self._lock:
            return self._streams.holes()

    def repair(self, envelopes: Sequence[Envelope]) -> int:
        """Take what was asked for again; how many of it were missing here."""
        taken = 0
        with self._lock:
            for envelope in envelopes:
                if self._streams.wants(_stream_of(envelope), envelope.sequence):
                    taken += 1
                    self._admit(envelope)
        self.feed()
        return taken

    def skip(self, stream: tuple[str, str], last: int) -> None:
        """Wait no longer for events up to this number: their sender has them no more."""
        with self._lock:
            self._pass(stream, self._streams.skip(stream, last))
        self.feed()

    def expire(self, before: float) -> None:
        """Wait no longer for what was missing before that (monotonic) time already."""
        with self._lock:
            for stream, passed in self._streams.expire(before):
                self._pass(stream, passed)
        self.feed()

    def feed(self) -> None:
        """Move what waits into the FIFO while it has room."""
        while self._may_feed():
            # Whoever feeds looks again when it is done, so nobody waits, nor overtakes.
            if not self._feeding.acquire(blocking=False):
                return
            try:
                self._feed()
            finally:
                self._feeding.release()

    def _may_feed(self) -> bool:
        if self._waiting:
            return self._open and self._room() > 0
        return self._all_fed is not None and not self._admitting

    def _feed(self) -> None:
        while arrival := self._next():
            # What is called here may be the program's, and take its time and other locks.
            self._post(arrival)
        with self._lock:
            all_fed = None if self._waiting or self._admitting else self._all_fed
            if all_fed:
                self._all_fed = None
        if all_fed:
            all_fed()

    def _next(self) -> Arrival | None:
        with self._lock:
            if not (self._waiting and self._may_feed()):
                return None
            arrival = self._waiting.popleft()
            arrival.begin()
            return arrival

    def take_back(self, arrival: Arrival) -> None:
        """The FIFO had no place after all for the event posted last: it waits at the front."""
        with self._lock:
            if self._open:
                self._waiting.appendleft(arrival)

    def finished(self, arrival: Arrival, *, refused: bool = False) -> None:
        """The chart has run the event to completion, or refused it."""
        with self._lock:
            if self._unfinished.pop(arrival.envelope.id, None) is None:
                # A handler may post a received event again; it is acknowledged once.
                return
        for ticket in arrival.tickets:
            ticket.done(refused=refused)

    def _admit(self, envelope: Envelope, *tickets: _Ticket) -> None:
        arrival = Arrival(envelope, None, list(tickets))
        with self._lock:
            verdict, in_turn = self._streams.admit(
                _stream_of(envelope), envelope.sequence, arrival, time.monotonic()
            )
            if verdict is not Admission.NEW:
                self._drop(verdict.value)
                self._settle_copy(envelope, tickets, refused=verdict is Admission.STALE)
                return
            self._unfinished[envelope.id] = arrival
            for each in in_turn:
                self._enter(each)
        if not in_turn:
            self._missed()

    def _enter(self, arrival: Arrival) -> None:
        envelope = arrival.envelope
        if envelope.signal.startswith(RESERVED_PREFIX):
            self._control(envelope)
            self.finished(arrival)
            return
        try:
            arrival.payload = self._mesh.payload_of(envelope)
        except PayloadError as error:
            self._mesh.network.complain("payload", error)
            self._drop("payload")
            self.finished(arrival, refused=True)
            return
        if arrival.begun or not self._finishing:
            self._waiting.append(arrival)

    def _pass(self, stream: tuple[str, str], passed: Passed[Arrival]) -> None:
        if passed.missing:
            _, chart = stream
            network = self._mesh.network.name
            self._mesh.observer.gap(network=network, sender=chart, missing=passed.missing)
        for arrival in passed.items:
            self._enter(arrival)

    def _is_for_nobody(self, envelope: Envelope) -> bool:
        return envelope.signal.startswith(RESERVED_PREFIX) or self._is_echo(envelope)

    def _is_echo(self, envelope: Envelope) -> bool:
        own = self._mesh.identity.incarnation
        return envelope.incarnation == own and envelope.chart == self._chart

    def _settle_copy(
        self, envelope: Envelope, tickets: Sequence[_Ticket], *, refused: bool
    ) -> None:
        unfinished = self._unfinished.get(envelope.id)
        if unfinished is not None:
            # The broker may forget this copy only when the first one has been handled.
            unfinished.tickets += tickets
            return
        for ticket in tickets:
            ticket.done(refused=refused)

    def _control(self, envelope: Envelope) -> None:
        if envelope.signal == GOODBYE:
            self._mesh.observer.chart_left(node=envelope.node, chart=envelope.chart)
        elif envelope.signal in (HELLO, BEAT):
            self._mesh.heard(envelope)

    def _drop(self, reason: str) -> None:
        self._mesh.observer.dropped(network=self._mesh.network.name, reason=reason, events=1)


def _stream_of(envelope: Envelope) -> tuple[str, str]:
    return envelope.incarnation, envelope.chart
