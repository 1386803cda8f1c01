"""The brokers that a node publishes to, each with its publisher."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from miros_mesh.errors import StoppedError
from miros_mesh.link.ports import Broker, Link, Publisher
from miros_mesh.networks.hold import Hold
from miros_mesh.networks.network import Network
from miros_mesh.report import StopReport

# With a `drain_timeout_s` of 0, a goodbye is given the time that a broker needs for it.
_SHORTEST_DRAIN_S = 0.1


class Peers:
    """Attaches a publisher to every network for each peer, and detaches all at the end.

    `home_networks` are for the broker `home` alone. What the others send goes into `hold` too, if
    there is one, until `release`: each peer that is added meanwhile gets it first.

    Thread-safe. Its lock comes before those of networks and outboxes, and is never held while a
    publisher ends, which takes its time.
    """

    def __init__(
        self,
        link: Link,
        networks: Sequence[Network[Any]],
        *,
        home: Broker | None = None,
        home_networks: Sequence[Network[Any]] = (),
        hold: Hold | None = None,
    ) -> None:
        self._link = link
        self._networks = tuple(networks)
        self._home = home
        self._home_networks = tuple(home_networks)
        # Guards all that follows. A publisher is in one of the first two until its events are in
        # the report of the third, so that `report` counts each event once.
        self._lock = threading.Lock()
        self._publishers: dict[Broker, Publisher] = {}
        self._leaving: list[Publisher] = []
        self._ended = StopReport()
        self._stopped = False
        self._hold = hold
        for network in self._networks:
            network.hold_back(hold)

    @property
    def brokers(self) -> tuple[Broker, ...]:
        """Return the peers of this moment, in the order in which they were added."""
        return tuple(self._publishers)

    @property
    def held(self) -> int:
        """Return how many events wait for peers that may come."""
        with self._lock:
            return self._hold.report().left_over if self._hold else 0

    def add(self, broker: Broker, *, patient: bool = False) -> Publisher:
        """Publish to this broker from now on; return its publisher, which may be there already.

        A patient publisher never gives up its first connection either. Raises `StoppedError` after
        `stop`.
        """
        with self._lock:
            if self._stopped:
                raise StoppedError(f"{broker.name} is not published to: the node has stopped")
            if broker in self._publishers:
                return self._publishers[broker]
            # Under the lock until every network has it: a `remove` or `stop` in between would
            # detach it from some of them too early.
            publisher = self._publishers[broker] = self._link.publisher(broker, patient=patient)
            publisher.start()
            reports = [network.attach(publisher) for network in self._networks_of(broker)]
        # A hook may ask for the node's health, and with it for `report`.
        for report in reports:
            report()
        return publisher

    def remove(self, broker: Broker, timeout_s: float) -> int:
        """Give up a broker that is lost: drop the events for it, and return how many.

        Waits for the end of its publisher, `timeout_s` at most; other calls do not wait meanwhile.
        For a broker that is no peer it does nothing.
        """
        with self._lock:
            publisher = self._publishers.pop(broker, None)
            if publisher is None:
                return 0
            self._leaving.append(publisher)
        for network in self._networks_of(broker):
            network.detach(publisher, gone=True)
        # After it was detached: nothing is put any more that would not be sent.
        publisher.abort(timeout_s)
        with self._lock:
            self._leaving.remove(publisher)
            lost = publisher.report()
            self._ended += _all_dropped(lost)
        return lost.left_over

    def release(self) -> None:
        """Hold nothing back for peers that come; what was held for them is forgotten.

        It was for no peer that there is. A second call does nothing.
        """
        with self._lock:
            # They were told as dropped. What is left was for a peer that does not come.
            held, tellings = self._let_go()
            self._ended += StopReport(sent=held.dropped, dropped=held.dropped)
        for tell in tellings:
            tell()

    def report(self) -> StopReport:
        """Return what has become until now of the events for all peers, of this moment and past.

        What is held back counts as left over, as if it were for one more peer.
        """
        with self._lock:
            held = (self._hold,) if self._hold else ()
            working = [*self._publishers.values(), *self._leaving, *held]
            return sum((each.report() for each in working), self._ended)

    def outboxes(self) -> Mapping[str, int]:
        """Return how many events are not confirmed by each peer, by its name."""
        with self._lock:
            working = list(self._publishers.items())
        return {broker.name: each.report().left_over for broker, each in working}

    def stop(self, drain_timeout_s: float) -> StopReport:
        """Drain and end every publisher, in `drain_timeout_s` for all; return the last report.

        They drain and end side by side. A call that was interrupted can be made again.
        """
        with self._lock:
            self._stopped = True
            # No peer comes any more, and what it was to get is left over.
            self._ended += self._let_go()[0]
            working = list(self._publishers.items())
        for broker, publisher in working:
            for network in self._networks_of(broker):
                network.detach(publisher)
        deadline = time.monotonic() + max(drain_timeout_s, _SHORTEST_DRAIN_S)
        for _, publisher in working:
            publisher.drain(max(deadline - time.monotonic(), 0))
        # All are asked to end before the first is waited for.
        for _, publisher in working:
            publisher.abort(0)
        for broker, publisher in working:
            ended = publisher.stop(0)
            with self._lock:
                # `remove`, or a second call after an interrupted one, may have counted it already.
                if self._publishers.pop(broker, None):
                    self._ended += ended
        return self._ended

    def _let_go(self) -> tuple[StopReport, list[Callable[[], None]]]:
        """Hold nothing back; return what became of it, and what tells of what none has heard."""
        hold, self._hold = self._hold, None
        if hold is None:
            return StopReport(), []
        tellings = [network.hold_back(None) for network in self._networks]
        return hold.report(), tellings

    def _networks_of(self, broker: Broker) -> tuple[Network[Any], ...]:
        return self._networks + (self._home_networks if broker == self._home else ())


def _all_dropped(report: StopReport) -> StopReport:
    """Count as dropped what was left over."""
    return replace(report, left_over=0, dropped=report.dropped + report.left_over)
