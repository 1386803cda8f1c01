"""The brokers that a node publishes to, each with its publisher."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from miros_mesh.errors import StoppedError
from miros_mesh.link.ports import Broker, Link, Publisher
from miros_mesh.networks.network import Network
from miros_mesh.report import StopReport


class Peers:
    """Attaches a publisher to every network for each peer, and detaches all at the end."""

    def __init__(self, link: Link, networks: Sequence[Network[Any]]) -> None:
        self._link = link
        self._networks = tuple(networks)
        self._publishers: dict[Broker, Publisher] = {}
        self._leaving: list[Publisher] = []
        self._ended = StopReport()
        self._stopped = False
        self._lock = threading.Lock()

    @property
    def brokers(self) -> tuple[Broker, ...]:
        """The peers of this moment."""
        return tuple(self._publishers)

    def add(self, broker: Broker, *, patient: bool = False) -> Publisher:
        """Publish to this broker from now on; a known one keeps its publisher.

        A patient publisher tries for ever to connect for the first time, too. Raises
        `StoppedError` after `stop`.
        """
        with self._lock:
            if self._stopped:
                raise StoppedError(f"{broker.name} was found too late: the node has stopped")
            if broker in self._publishers:
                return self._publishers[broker]
            publisher = self._publishers[broker] = self._link.publisher(broker, patient=patient)
            publisher.start()
            for network in self._networks:
                network.attach(publisher)
        return publisher

    def remove(self, broker: Broker, timeout_s: float) -> int:
        """Publish to this broker no more; how many events for it are dropped.

        Nothing is drained: the broker is lost. Waits for its worker for `timeout_s` at most, and
        nobody else waits meanwhile. For a broker that is no peer it does nothing.
        """
        with self._lock:
            publisher = self._publishers.pop(broker, None)
            if publisher is None:
                return 0
            # Until it has ended, what it reports counts with the others.
            self._leaving.append(publisher)
        for network in self._networks:
            network.detach(publisher)
        publisher.abort(timeout_s)
        with self._lock:
            self._leaving.remove(publisher)
            lost = publisher.report()
            self._ended += _without_hope(lost)
        return lost.left_over

    def report(self) -> StopReport:
        """What has become until now of the events for all peers."""
        with self._lock:
            working = [*self._publishers.values(), *self._leaving]
            return sum((each.report() for each in working), self._ended)

    def outboxes(self) -> Mapping[str, int]:
        """How many events wait for a confirm of each peer."""
        return {broker.name: each.report().left_over for broker, each in self._now()}

    def _now(self) -> list[tuple[Broker, Publisher]]:
        with self._lock:
            return list(self._publishers.items())

    def stop(self, drain_timeout_s: float) -> StopReport:
        """Stop publishing to any peer; a call that was interrupted can be made again."""
        with self._lock:
            self._stopped = True
        deadline = time.monotonic() + drain_timeout_s
        for broker, publisher in list(self._publishers.items()):
            for network in self._networks:
                network.detach(publisher)
            ended = publisher.stop(max(deadline - time.monotonic(), 0.1))
            with self._lock:
                if self._publishers.pop(broker, None):
                    self._ended += ended
        return self._ended


def _without_hope(report: StopReport) -> StopReport:
    """Nobody sends any more what was left over."""
    return replace(report, left_over=0, dropped=report.dropped + report.left_over)
