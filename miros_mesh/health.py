"""How a node is: a value for health endpoints, and the observer that keeps it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from miros_mesh.observer import Observer

PeerState: TypeAlias = Literal["up", "down", "blocked"]


@dataclass(frozen=True, slots=True)
class Health:
    """A node at one moment. A broker that is down makes it unready, never unfit to live."""

    node: str
    """Its name."""
    consuming: bool
    """Whether it receives from its home broker."""
    peers: Mapping[str, PeerState]
    """The brokers it sends to, by their address without credentials."""
    dead_charts: tuple[str, ...]
    """The charts whose thread was ended by an exception, and that were not stopped since."""
    outbox_events: int
    """Events that wait for a confirm, once for each peer they are for."""
    home: str = ""
    """The broker that it receives from, by its address without credentials."""

    @property
    def connected(self) -> bool:
        """Whether it has a connection to send to its home broker, blocked or not."""
        # Blocked counts: events wait in the outbox until the alarm ends.
        return self.peers.get(self.home, "down") != "down"

    @property
    def ready(self) -> bool:
        """Whether it is connected and consuming."""
        return not self.unready

    @property
    def unready(self) -> tuple[str, ...]:
        """Why it is not ready, a sentence each."""
        home = self.home or "its home broker"
        sentences = {
            f"node {self.node} does not consume from {home}": not self.consuming,
            f"node {self.node} has no connection to send to {home}": not self.connected,
        }
        return tuple(sentence for sentence, holds in sentences.items() if holds)

    @property
    def unfit(self) -> tuple[str, ...]:
        """Why only a restart would help, a sentence each; no broker's state is a reason."""
        return tuple(
            f"chart {chart} of node {self.node} is dead: a handler raised, as the log says"
            for chart in self.dead_charts
        )


class Vitals(Observer):
    """What the hooks say of the node's connections and charts, kept for `Health`.

    Hooks run on the threads of the publishers, of the subscriber and of charts. Those of
    connections change one thing, and compute `whole_since` anew.
    """

    def __init__(self, home: str) -> None:
        self.consuming = False
        self.whole_since: float | None = None
        """Since when (monotonic) it both consumes from its home broker and can send to it."""
        # `_up` and `_blocked` are written by publishers' threads, `_dead` by charts' and by `left`,
        # `consuming` by the subscriber's; `node.health` reads them from any. One step of a set or a
        # dictionary needs no lock.
        self._home = home
        # Guards a connection's change together with the `whole_since` that follows from it: else a
        # thread that looked before another one's change could set it after that.
        self._lock = threading.Lock()
        self._up: set[str] = set()
        self._blocked: set[str] = set()
        # A dictionary for its order; the values say nothing.
        self._dead: dict[str, None] = {}

    @property
    def dead_charts(self) -> tuple[str, ...]:
        """The charts whose handler raised, in that order, without those stopped since."""
        return tuple(self._dead)

    def state_of(self, peer: str) -> PeerState:
        """What the last hooks said of a peer; `down` for one that is unknown."""
        if peer not in self._up:
            return "down"
        # A peer that is down is unblocked by its publisher, so the two sets say nothing contrary.
        return "blocked" if peer in self._blocked else "up"

    def left(self, chart: str) -> None:
        """Forget a chart that was stopped, dead or not."""
        self._dead.pop(chart, None)

    def peer_up(self, *, peer: str) -> None:
        with self._lock:
            self._up.add(peer)
            self._look()

    def peer_down(self, *, peer: str, reason: str) -> None:
        with self._lock:
            self._up.discard(peer)
            self._look()

    def blocked(self, *, peer: str) -> None:
        with self._lock:
            self._blocked.add(peer)
            self._look()

    def unblocked(self, *, peer: str) -> None:
        with self._lock:
            self._blocked.discard(peer)
            self._look()

    def subscribed(self, *, broker: str) -> None:
        with self._lock:
            self.consuming = True
            self._look()

    def unsubscribed(self, *, broker: str, reason: str) -> None:
        with self._lock:
            self.consuming = False
            self._look()

    def _look(self) -> None:
        # With the lock held.
        # Blocked does not count here: repair asks other nodes, and its question would wait as well.
        if not (self.consuming and self.state_of(self._home) == "up"):
            self.whole_since = None
        elif self.whole_since is None:
            self.whole_since = time.monotonic()

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        self._dead[chart] = None

    def chart_revived(self, *, chart: str) -> None:
        self._dead.pop(chart, None)
