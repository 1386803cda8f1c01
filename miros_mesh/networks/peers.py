"""The brokers that a node publishes to, each with its publisher."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from miros_mesh.link.ports import Broker, Link, Publisher
from miros_mesh.networks.network import Network
from miros_mesh.report import StopReport


class Peers:
    """Attaches a publisher to every network for each peer, and detaches all at the end."""

    def __init__(self, link: Link, networks: Sequence[Network[Any]]) -> None:
        self._link = link
        self._networks = tuple(networks)
        self._publishers: dict[Broker, Publisher] = {}
        self._ended = StopReport()
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

    def report(self) -> StopReport:
        """What has become until now of the events for all peers."""
        return sum((each.report() for each in list(self._publishers.values())), self._ended)

    def stop(self, drain_timeout_s: float) -> StopReport:
        """Stop publishing to any peer; a call that was interrupted can be made again."""
        deadline = time.monotonic() + drain_timeout_s
        for broker, publisher in list(self._publishers.items()):
            for network in self._networks:
                network.detach(publisher)
            ended = publisher.stop(max(deadline - time.monotonic(), 0.1))
            with self._lock:
                if self._publishers.pop(broker, None):
                    self._ended += ended
        return self._ended
