"""The inbox of the partitions that a member handles, and of those that it steps back from.

Each member consumes the queues of all partitions, and the broker hands what is in one of them to
the first in its line. Who gets something of a partition that another one should handle gives all
of it back, in order, and goes to the end of the line: so the right one comes to the front, and
no one has to know who is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from miros_mesh.link.ports import Delivery
from miros_mesh.networks.arrival import Arrival, Ticket
from miros_mesh.networks.inbox import Inbox
from miros_mesh.networks.letters.home import Letters, Place
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.network import Network
from miros_mesh.wire.envelope import Filed


class Line(Protocol):
    """The lines of members that wait for a partition each, known by its topic."""

    def is_mine(self, topic: str) -> bool:
        """Whether to handle what comes of a partition; called under a lock."""

    def step_aside(self, topic: str) -> None:
        """Give back what is not settled, and go to the end of the line; never waits."""


class FiledInbox(Inbox):
    """An inbox for events that a sorter has filed, which come in frames of their own network.

    They come in the order in which they were filed; copies are dropped. Before it steps back from a
    partition, what the chart has begun is handled.
    """

    def __init__(
        self,
        mesh: Mesh,
        place: Place,
        letters: Letters,
        *,
        filed: Network[Filed],
        topics: Sequence[str],
        line: Line,
        kept_s: float,
        **more: Any,
    ) -> None:
        super().__init__(mesh, place, letters, kept_s=kept_s, **more)
        self._filed = filed
        self._line = line
        self._filed_freshness = filed.freshness(kept_s, *topics)
        self._yielding: set[str] = set()
        """The topics of partitions from which it is to step back."""
        self._tickets: dict[str, set[Ticket]] = {topic: set() for topic in topics}
        """Of what is not acknowledged, by the same. Both behind the inbox's lock."""

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery of a partition; called on the subscriber's thread."""
        if not self._is_mine(delivery.topic):
            # Not settled: it goes back with the others.
            return
        refuse = partial(self._refuse, delivery)
        messages = self._filed.open(delivery, self._filed_freshness, refuse).messages
        if not messages:
            return
        with self._lock:
            if not self._takes:
                self._refused += len(messages)
                return
            ticket = Ticket(delivery, len(messages))
            ticket.acknowledged = partial(self._acknowledged, delivery.topic, ticket)
            self._tickets[delivery.topic].add(ticket)
            for each in messages:
                self._admit(each.event, each.topic, (ticket,), again=each.again)
        self._call_and_feed()

    def lost(self, topic: str) -> None:
        """Hear that the queue of a partition has got back what is not settled."""
        self._give_back(topic)
        with self._lock:
            self._yielding.discard(topic)
            # What is begun comes again, too, and is known.
            self._tickets[topic].clear()

    def _is_mine(self, topic: str) -> bool:
        with self._lock:
            if topic in self._yielding:
                return False
            if self._line.is_mine(topic):
                return True
            self._yielding.add(topic)
        self._give_back(topic)
        self._step_aside_once_free(topic)
        return False

    def _give_back(self, topic: str) -> None:
        """Let go of what the chart was not given."""
        self.begin_anew(lambda arrival: _topic_of(arrival) == topic)
        with self._lock:
            begun = {ticket for ticket in self._tickets[topic] if ticket.begun}
            self._tickets[topic] = begun

    def _acknowledged(self, topic: str, ticket: Ticket) -> None:
        """Hear that all of a frame is done; step back where that was the last one in hand."""
        with self._lock:
            self._tickets[topic].discard(ticket)
        if topic in self._yielding:
            self._step_aside_once_free(topic)

    def _step_aside_once_free(self, topic: str) -> None:
        with self._lock:
            free = topic in self._yielding and not self._tickets[topic]
        if free:
            self._line.step_aside(topic)


def _topic_of(arrival: Arrival) -> str:
    """Return the topic of an event's partition."""
    return arrival.tickets[0].delivery.topic if arrival.tickets else ""
