"""How a node is: a value for health endpoints, and the observer that keeps it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from miros_mesh.observer import STOPPED, Observer

NO_NODE: Final = "no chart has joined the mesh yet, or all have left it"

PeerState: TypeAlias = Literal["up", "down", "blocked"]
"""Whether a broker is connected; `blocked` is one that is, and takes nothing (an alarm)."""

# Discovery may bring brokers for months that never answer.
_MOST_OUTAGES = 1024


@dataclass(frozen=True, slots=True)
class Outage:
    """A broker that a node has lost, or cannot reach."""

    reason: str
    """Of the latest attempt to connect, else of the loss: that of a `LinkError`."""
    since: float
    """When it was lost, or was first not reached: Unix time."""

    def __str__(self) -> str:
        return f"{self.reason}, since {datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M:%SZ}"


@dataclass(frozen=True, slots=True)
class Health:
    """A node at one moment. A broker that is down makes it unready, never unfit to live."""

    node: str
    """Its name."""
    consuming: bool
    """Whether it receives from its home broker, by every queue that it has there."""
    peers: Mapping[str, PeerState]
    """The brokers it sends to, by their address without credentials."""
    dead_charts: tuple[str, ...]
    """The charts whose thread was ended by an exception, and that were not stopped since."""
    outbox_events: int
    """Events that wait for a confirm, once for each peer they are for.

    In the node's first search, those that are held for the brokers that it finds once more."""
    home: str = ""
    """The broker that it receives from, by its address without credentials."""
    outages: Mapping[str, Outage] = field(default_factory=dict)
    """Why and since when it cannot send to a broker, or receive from home; of those lost only."""
    deaf_charts: Mapping[str, str] = field(default_factory=dict)
    """The charts whose queue home refuses though it is there, and why: of a `LinkError`."""
    deaf_networks: Mapping[str, str] = field(default_factory=dict)
    """Likewise of the node's own queues: `repair`, `roll`, and networks that are watched."""
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The fingerprints of its keys, the one that seals first: of `mesh` and the snoop networks."""
    key_problems: Mapping[str, str] = field(default_factory=dict)
    """Why the file of a network's keys cannot be used now; the keys of before stay in use."""
    dead_threads: tuple[str, ...] = ()
    """The threads of connections that an error of the library has ended."""

    @property
    def connected(self) -> bool:
        """Whether it has a connection to send to its home broker, blocked or not."""
        # Blocked counts: events wait in the outbox until the alarm ends.
        return self.peers.get(self.home, "down") != "down"

    @property
    def ready(self) -> bool:
        """Whether it is connected and consuming, for each of its charts."""
        return not self.unready

    @property
    def unready(self) -> tuple[str, ...]:
        """Why it is not ready, a sentence each."""
        home = self.home or "its home broker"
        outage = self.outages.get(self.home)
        why = f": {outage}" if outage else ""
        sentences = {
            f"node {self.node} does not consume from {home}{why}": not self._subscribed,
            f"node {self.node} has no connection to send to {home}{why}": not self.connected,
        }
        return (
            *(sentence for sentence, holds in sentences.items() if holds),
            *_deaf("chart", self.node, self.deaf_charts),
            *_deaf("network", self.node, self.deaf_networks),
        )

    @property
    def _subscribed(self) -> bool:
        # With its home broker away no queue is told as refused.
        return bool(self.consuming or self.deaf_charts or self.deaf_networks)

    @property
    def unfit(self) -> tuple[str, ...]:
        """Why only a restart would help, a sentence each; no broker's state is a reason."""
        return (
            *(
                f"chart {chart} of node {self.node} is dead: a handler raised, as the log says"
                for chart in self.dead_charts
            ),
            *(
                f"thread {thread} has ended: an error of the library, as the log says"
                for thread in self.dead_threads
            ),
        )


def _deaf(kind: str, node: str, deaf: Mapping[str, str]) -> Iterator[str]:
    return (f"{kind} {name} of node {node} hears nothing: {why}" for name, why in deaf.items())


def why_dead(nodes: Iterable[Health]) -> list[str]:
    """Say why a process of these nodes is to be restarted, a sentence each; one without any lives.

    It would be restarted before its first chart starts.
    """
    return [why for node in nodes for why in node.unfit]


def why_unready(nodes: Sequence[Health]) -> list[str]:
    """Say why such a process does not do its work, a sentence each; one without nodes has none."""
    return [why for node in nodes for why in node.unready] if nodes else [NO_NODE]


class Vitals(Observer):
    """What the hooks say of the node's connections and charts, kept for `Health`.

    Hooks run on the threads of the publishers, of the subscriber and of charts. Those of
    connections change one thing, and compute `whole_since` anew.
    """

    def __init__(self, home: str) -> None:
        self.receiving = False
        """Whether it has a connection to receive from its home broker."""
        self.whole_since: float | None = None
        """Since when (monotonic) it both consumes from its home broker and can send to it."""
        # `_up` and `_blocked` are written by publishers' threads, `_dead` by charts' and by `left`,
        # `receiving` by the subscriber's, `_outages` by both kinds of workers';
        # `node.health` reads them from any. One step of a set or a dictionary needs no lock.
        self._home = home
        # Guards a connection's change together with the `whole_since` that follows from it: else a
        # thread that looked before another one's change could set it after that.
        self._lock = threading.Lock()
        self._up: set[str] = set()
        self._blocked: set[str] = set()
        self._outages: dict[str, Outage] = {}
        # A dictionary for its order; the values say nothing.
        self._dead: dict[str, None] = {}
        # By their names the peers that they were for; each is set by the thread itself.
        self._dead_threads: dict[str, str] = {}

    @property
    def outages(self) -> Mapping[str, Outage]:
        """The brokers that were lost or not reached, home for either direction."""
        return dict(self._outages)

    @property
    def dead_charts(self) -> tuple[str, ...]:
        """The charts whose handler raised, in that order, without those stopped since."""
        return tuple(self._dead)

    @property
    def dead_threads(self) -> Mapping[str, str]:
        """The threads that an error has ended, each with the peer of its connection."""
        return dict(self._dead_threads)

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
            self._back(peer)
            self._look()

    def peer_down(self, *, peer: str, reason: str) -> None:
        with self._lock:
            self._up.discard(peer)
            self._lost(peer, reason)
            self._look()

    def unreached(self, *, peer: str, reason: str) -> None:
        with self._lock:
            self._lost(peer, reason)

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
            self.receiving = True
            self._back(broker)
            self._look()

    def unsubscribed(self, *, broker: str, reason: str) -> None:
        with self._lock:
            self.receiving = False
            self._lost(broker, reason)
            self._look()

    def _lost(self, peer: str, reason: str) -> None:
        # With the lock held. What the latest attempt met is what an operator has to put right: a
        # connection was lost, and then a password refused.
        if reason == STOPPED:
            self._outages.pop(peer, None)
        elif outage := self._outages.get(peer):
            self._outages[peer] = replace(outage, reason=reason)
        elif len(self._outages) < _MOST_OUTAGES or peer == self._home:
            self._outages[peer] = Outage(reason, time.time())

    def _back(self, peer: str) -> None:
        # With the lock held. Home is back once both of its connections are.
        if peer in self._up and (peer != self._home or self.receiving):
            self._outages.pop(peer, None)

    def _look(self) -> None:
        # With the lock held.
        # Blocked does not count here: repair asks other nodes, and its question would wait as well.
        if not (self.receiving and self.state_of(self._home) == "up"):
            self.whole_since = None
        elif self.whole_since is None:
            self.whole_since = time.monotonic()

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        self._dead[chart] = None

    def chart_revived(self, *, chart: str) -> None:
        self._dead.pop(chart, None)

    def thread_died(self, *, thread: str, peer: str, error: BaseException) -> None:
        self._dead_threads[thread] = peer
