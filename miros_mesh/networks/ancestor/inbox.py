"""The inbox of what nodes of miros-rabbitmq send to one chart."""

from __future__ import annotations

from typing import Any

from miros_mesh.link.ports import Delivery
from miros_mesh.networks.arrival import Ticket
from miros_mesh.networks.inbox import Inbox, Sharing
from miros_mesh.networks.letters.home import Letters, Place
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.network import Network
from miros_mesh.wire.envelope import Envelope


class AncestorInbox(Inbox):
    """Takes events in the order in which they come: they have no numbers.

    A body that comes twice is known, as long as its place is among the last `dedup_window`; two
    bodies of one event are two events. `place` is that of the chart's own queue, where a dead
    letter of one of them is put back.
    """

    def __init__(
        self,
        mesh: Mesh,
        place: Place,
        letters: Letters,
        *,
        ancestors: Network[Envelope],
        max_deliveries: int = 0,
        **more: Any,
    ) -> None:
        super().__init__(mesh, place, letters, sharing=Sharing(False, max_deliveries), **more)
        self._ancestors = ancestors
        self._token_freshness = ancestors.freshness(0.0, *self.hears)

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery of their exchange; called on the subscriber's thread.

        What cannot be read is rejected: no later key would make an event of it that is owed.
        """
        messages = self._ancestors.open(delivery, self._token_freshness).messages
        if not messages:
            return
        with self._lock:
            if not self._takes:
                self._refused += len(messages)
                return
            tickets = (Ticket(delivery, len(messages)),)
            for each in messages:
                self._admit(each, delivery.topic, tickets)
        self._call_and_feed()
