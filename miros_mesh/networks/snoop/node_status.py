"""The status of each node: once a second, how it is, for nodes that may see its trace.

On the wire and at the broker the network is called `pulse`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice

from miros_mesh.errors import EventTooLargeError
from miros_mesh.health import Health
from miros_mesh.link.ports import Delivery
from miros_mesh.networks.network import UNNUMBERED, Network
from miros_mesh.networks.order.streams import Gaps
from miros_mesh.networks.snoop.watchers import Watchers
from miros_mesh.wire.envelope import (
    MAX_LISTED,
    ChartStatus,
    ChartWork,
    NodeStatus,
    PeerStatus,
    WorkingStatus,
)
from miros_mesh.wire.freshness import Freshness
from miros_mesh.wire.identity import Identity


class StatusNetwork(Watchers[NodeStatus]):
    """The network of node status: sends the node's own, shows all nodes' to its watchers."""

    def __init__(self, network: Network[NodeStatus], identity: Identity, routing_key: str) -> None:
        super().__init__()
        self.network = network
        self._identity = identity
        self._routing_key = routing_key

    def send(
        self,
        health: Health,
        charts: Iterable[ChartStatus],
        *,
        leaving: bool = False,
        work: Iterable[ChartWork] | None = None,
    ) -> None:
        """Send the node's status, with the first `MAX_LISTED` of its charts and of its peers.

        Without `work` it is one that nodes of the first frames can read.

        Raises the `MeshError` of a status that cannot travel.
        """
        node, incarnation = self._identity.node, self._identity.incarnation
        peers = tuple(PeerStatus(*peer) for peer in islice(health.peers.items(), MAX_LISTED))
        listed = tuple(islice(charts, MAX_LISTED))
        said = (
            *(node, node, incarnation, UNNUMBERED, time.time()),
            *(health.consuming, health.outbox_events, peers, listed, leaving),
        )
        if work is not None:
            try:
                self._send(WorkingStatus(*said, tuple(islice(work, MAX_LISTED))))
            except EventTooLargeError:
                # Of very many charts with long names; that they are there is told all the same.
                work = None
        if work is None:
            self._send(NodeStatus(*said))

    def _send(self, status: NodeStatus) -> None:
        # Not counted as an event, so that an idle node's outbox counts as empty.
        self.network.send(self._routing_key, status, counted=False)

    def receiver(self) -> Callable[[Delivery], None]:
        """Return what shows the statuses of deliveries, the node's own among them."""
        return partial(self._receive, Gaps(), self.network.freshness())

    def _receive(self, gaps: Gaps, freshness: Freshness, delivery: Delivery) -> None:
        statuses = self.network.open(delivery, freshness).messages
        # Without those that came before, and say how a node was.
        if new := [each for each in statuses if _is_new(each, gaps)]:
            self.show(new)
        if statuses:
            delivery.ack()


def _is_new(status: NodeStatus, gaps: Gaps) -> bool:
    return gaps.before((status.incarnation, status.chart), status.sequence) is not None
