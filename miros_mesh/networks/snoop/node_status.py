"""The pulse of each node: once a second, how it is, for whoever may see its trace."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice

from miros_mesh.health import Health
from miros_mesh.link.ports import Delivery
from miros_mesh.networks.network import UNNUMBERED, Network
from miros_mesh.networks.snoop.watchers import Watchers
from miros_mesh.wire.envelope import MAX_LISTED, ChartStatus, NodeStatus, PeerStatus
from miros_mesh.wire.identity import Identity


class StatusNetwork(Watchers[NodeStatus]):
    """The network of pulses: sends the node's own, shows everybody's."""

    def __init__(self, network: Network[NodeStatus], identity: Identity, routing_key: str) -> None:
        super().__init__()
        self.network = network
        self._identity = identity
        self._routing_key = routing_key

    def send(self, health: Health, charts: Iterable[ChartStatus], *, leaving: bool = False) -> None:
        """Tell how the node is; of its charts and peers the first thousand."""
        node, incarnation = self._identity.node, self._identity.incarnation
        peers = tuple(PeerStatus(*peer) for peer in islice(health.peers.items(), MAX_LISTED))
        listed = tuple(islice(charts, MAX_LISTED))
        status = NodeStatus(
            node,
            node,
            incarnation,
            UNNUMBERED,
            time.time(),
            health.consuming,
            health.outbox_events,
            peers,
            listed,
            leaving,
        )
        self.network.send(self._routing_key, status, counted=False)

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery."""
        if statuses := self.network.open(delivery):
            self.show(statuses)
            delivery.ack()
