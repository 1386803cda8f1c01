"""The brokers that a node publishes to, each with its publisher."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from miros_mesh.link.ports import Broker, Link, Publisher
from miros_mesh.networks.network import Network


class Peers:
    """Attaches a publisher to every network for each peer, and detaches all at the end."""

    def __init__(self, link: Link, networks: Sequence[Network[Any]]) -> None:
        self._link = link
        self._networks = tuple(networks)
        self._publishers: dict[Broker, Publisher] = {}
        self._lock = threading.Lock()

    @property
    def brokers(self) -> tuple[Broker, ...]:
        """The peers of this moment."""
        return tuple(self._publishers)

    def add(self, broker: Broker) -> Publisher:
        """Publish to this broker from now on; a known one keeps its publisher."""
        with self._lock:
            if broker in self._publishers:
                return self._publishers[broker]
            publisher = self._publishers[broker] = self._link.publisher(broker)
        publisher.start()
        for network in self._networks:
            network.attach(publisher)
        return publisher

    def stop(self, drain_timeout_s: float) -> int:
        """Stop publishing to any peer; returns how many events stay undelivered."""
        with self._lock:
            publishers, self._publishers = list(self._publishers.values()), {}
        deadline = time.monotonic() + drain_timeout_s
        left = 0
        for publisher in publishers:
            for network in self._networks:
                network.detach(publisher)
            left += publisher.stop(max(deadline - time.monotonic(), 0.1))
        return left
