"""The pulse of each node: once a second, how it is, for whoever may see its trace."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice

from miros_mesh.health import Health
from miros_mesh.link.ports import Delivery
from miros_mesh.networks.mesh import Identity
from miros_mesh.networks.network import Network
from miros_mesh.networks.watchers import Watchers
from miros_mesh.wire import MAX_PULSED, ChartPulse, PeerPulse, Pulse


class Pulses(Watchers[Pulse]):
    """The network of pulses: sends the node's own, shows everybody's."""

    def __init__(self, network: Network[Pulse], identity: Identity, routing_key: str) -> None:
        super().__init__()
        self.network = network
        self._identity = identity
        self._routing_key = routing_key

    def send(self, health: Health, charts: Iterable[ChartPulse], *, leaving: bool = False) -> None:
        """Tell how the node is; of its charts and peers the first thousand."""
        node, incarnation = self._identity.node, self._identity.incarnation
        peers = tuple(PeerPulse(*peer) for peer in islice(health.peers.items(), MAX_PULSED))
        told = tuple(islice(charts, MAX_PULSED))
        self.network.send(
            node,
            self._routing_key,
            lambda sequence: Pulse(
                node,
                node,
                incarnation,
                sequence,
                time.time(),
                health.consuming,
                health.outbox_events,
                peers,
                told,
                leaving,
            ),
            counted=False,
        )

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery."""
        if pulses := self.network.open(delivery):
            self.show(pulses)
            delivery.ack()
