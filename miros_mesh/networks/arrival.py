"""A received event on its way to a chart, and the delivery that is acknowledged after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import length_hint
from typing import Any, ClassVar, NamedTuple, Protocol

import msgspec

from miros_mesh.link.ports import Delivery
from miros_mesh.networks.order.runs import Batch
from miros_mesh.wire.envelope import Envelope, RoutedEnvelope


class Ticket:
    """Acknowledges a delivery when the last of its events is done: handled, or set aside.

    `acknowledged` is called after that. Which events are done is not noted, since this is on the
    way of each one: an inbox that needs to know opens the delivery again.
    """

    __slots__ = ("_events", "_left", "acknowledged", "begun", "delivery")

    def __init__(
        self,
        delivery: Delivery,
        events: int,
        acknowledged: Callable[[], object] | None = None,
    ) -> None:
        self.delivery = delivery
        self._events = events
        # Counts down, each number once: events of a frame are done on the chart's thread and on
        # others, and one step of an iterator needs no lock.
        self._left = iter(range(events - 1, -1, -1))
        self.acknowledged = acknowledged
        """Called once it is."""
        self.begun = False
        """Whether the chart was given one of the events; guarded by the inbox's lock."""

    @property
    def partly_done(self) -> bool:
        """Whether some of its events are done, and others are not."""
        return 0 < length_hint(self._left) < self._events

    def done(self) -> None:
        """Count an event as done; acknowledge after the last one."""
        # More than that are none of its own.
        if next(self._left, True):
            return
        self.delivery.ack()
        if self.acknowledged:
            self.acknowledged()


class Owner(Protocol):
    """The inbox by which an event arrived, as far as who handles it needs it."""

    def is_poison(self, arrival: Arrival) -> bool:
        """Whether it has ended as many charts as it may."""

    def is_expired(self, event: Envelope) -> bool:
        """Whether it is older than its sender lets it be."""

    def expired(self, arrival: Arrival) -> None:
        """Set it aside because it is."""

    def finished(self, arrival: Arrival) -> None:
        """Note that it was handled."""

    def set_aside(self, arrival: Arrival, reason: Reason) -> None:
        """Make a dead letter of it."""

    def take_back(self, arrival: Arrival) -> None:
        """Put it in front again: the FIFO had no place for it."""


class Reason(NamedTuple):
    """Why something is set aside."""

    word: str
    """One of few, as in the hook `dropped`."""
    detail: str = ""
    """More of it, and never a payload."""
    deliveries: int = 0
    """How often it was handled in vain."""

    def __str__(self) -> str:
        times = f"{self.deliveries} time(s)" if self.deliveries else ""
        return ", ".join(filter(None, (self.word, times, self.detail)))


class Arrival(msgspec.Struct, eq=False):
    """A received event, with a ticket for each delivery that has brought it.

    One that came by repair has none: it belongs to no delivery. It stands in the chart's FIFO as it
    is, and the chart's own thread makes the miros event of it, which costs more than all before.
    """

    # A struct, since each event of each chart makes one: a class takes three times as long for it.

    signal: ClassVar[int] = 0
    """What miros' FIFO may look at before that: the number of no signal."""

    envelope: Envelope
    inbox: Owner
    topic: str = ""
    """What it came under: a topic, or the address of the chart; empty where that is not known."""
    again: bool = False
    """Whether it may have come before, as who has filed or sent it again says."""
    payload: Any = None
    """What the serializer has read, from just before the event enters the FIFO."""
    answers: bool = False
    """Whether it has ended the request that it answers: it is handled now, whatever happens."""
    # The inbox adds those of copies, under its lock, until the event is finished. After that they
    # do not change, and are read without the lock. All events of a frame have one tuple.
    tickets: Sequence[Ticket] = ()
    known_id: str = ""
    """The event's id, where that is known already."""
    batch: Batch | None = None
    """What other charts of the node know of the same frame; None where there are none."""

    @property
    def id(self) -> str:
        """What names the event: the same at every receiver."""
        return self.known_id or self.envelope.id

    @property
    def signal_name(self) -> str:
        """The name of its signal, as a miros event has it."""
        return self.envelope.signal

    @property
    def may_expire(self) -> bool:
        """Whether its sender has said how old it may be, and it has ended no request yet."""
        event = self.envelope
        return type(event) is RoutedEnvelope and event.ttl_s is not None and not self.answers

    @property
    def redelivered(self) -> bool:
        """Whether it may have been handled before, as far as is known."""
        return self.again or any(each.delivery.redelivered for each in self.tickets)

    @property
    def deliveries(self) -> int:
        """How often a broker has delivered it, as far as is known."""
        return max((each.delivery.deliveries for each in self.tickets), default=1)

    @property
    def begun(self) -> bool:
        """Whether it has to be handled now, because no broker would bring it again as a whole.

        So it is once the chart was given an event of its frame, and always after a repair.
        """
        return not self.tickets or any(ticket.begun for ticket in self.tickets)

    def begin(self) -> None:
        """Note that the chart is given the event."""
        for ticket in self.tickets:
            ticket.begun = True

    def done(self) -> None:
        """Count the event as handled, or set aside, for each delivery that has brought it."""
        for ticket in self.tickets:
            ticket.done()
