"""A received event on its way to a chart, and the delivery that is acknowledged after it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

from miros_mesh.link.ports import Delivery
from miros_mesh.wire.envelope import Envelope, RoutedEnvelope


class Ticket:
    """Acknowledges a delivery when the last of its events is done: handled, or set aside.

    `acknowledged` is called after that. Which events are done is not noted, since this is on the
    way of each one: an inbox that needs to know opens the delivery again.
    """

    __slots__ = ("_events", "_left", "_lock", "acknowledged", "begun", "delivery")

    def __init__(
        self,
        delivery: Delivery,
        events: int,
        acknowledged: Callable[[], object] | None = None,
    ) -> None:
        self.delivery = delivery
        self._events = self._left = events
        self.acknowledged = acknowledged
        """Called once it is."""
        # Guards `_left`: events of a frame are done on the chart's thread and on others.
        self._lock = threading.Lock()
        self.begun = False
        """Whether the chart was given one of the events; guarded by the inbox's lock."""

    @property
    def partly_done(self) -> bool:
        """Whether some of its events are done, and others are not."""
        return 0 < self._left < self._events

    def done(self) -> None:
        """Count an event as done; acknowledge after the last one."""
        with self._lock:
            self._left -= 1
            if self._left:
                return
        # Needs no lock: only the call that has counted the last event comes here.
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


@dataclass(eq=False)
class Arrival:
    """A received event, with a ticket for each delivery that has brought it.

    One that came by repair has none: it belongs to no delivery. It stands in the chart's FIFO as it
    is, and the chart's own thread makes the miros event of it, which costs more than all before.
    """

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
    # The inbox adds those of copies, under its lock, until the event is finished. After that the
    # list does not change, and is read without the lock.
    tickets: list[Ticket] = field(default_factory=list)

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
