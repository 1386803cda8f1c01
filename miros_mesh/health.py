"""How a node is: a value for health endpoints, and the observer that keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from miros_mesh.observer import Observer

PeerState: TypeAlias = Literal["up", "down", "blocked"]


@dataclass(frozen=True, slots=True)
class Health:
    """A node at one moment. Whether it should live is no question of its brokers."""

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


class Vitals(Observer):
    """Remembers what its hooks were told last."""

    def __init__(self) -> None:
        self.consuming = False
        self._up: set[str] = set()
        self._blocked: set[str] = set()
        # A dictionary, because it keeps the order.
        self._dead: dict[str, None] = {}

    @property
    def dead_charts(self) -> tuple[str, ...]:
        """Those that died, in that order, without the ones that left."""
        return tuple(self._dead)

    def state_of(self, peer: str) -> PeerState:
        """What is known of a peer."""
        if peer not in self._up:
            return "down"
        return "blocked" if peer in self._blocked else "up"

    def left(self, chart: str) -> None:
        """A chart was stopped, dead or not."""
        self._dead.pop(chart, None)

    def peer_up(self, *, peer: str) -> None:
        self._up.add(peer)

    def peer_down(self, *, peer: str, reason: str) -> None:
        self._up.discard(peer)

    def blocked(self, *, peer: str) -> None:
        self._blocked.add(peer)

    def unblocked(self, *, peer: str) -> None:
        self._blocked.discard(peer)

    def subscribed(self, *, broker: str) -> None:
        self.consuming = True

    def unsubscribed(self, *, broker: str, reason: str) -> None:
        self.consuming = False

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        self._dead[chart] = None
