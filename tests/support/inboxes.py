"""An inbox with its chart, of which nothing runs until a test says so."""

from __future__ import annotations

from typing import Any

from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.inbox import Inbox, Sharing
from miros_mesh.networks.mesh import Mesh
from miros_mesh.observer import Observer
from support.ports_in_hand import Handed
from support.sealed import PLACE, LetterShelf, envelope, frame_of, mesh


class Chart:
    """A chart with a FIFO of so many places, and its inbox. Nothing runs until told to."""

    def __init__(
        self,
        places: int = 100,
        observer: Observer | None = None,
        *,
        sharing: Sharing | None = None,
        ours: Mesh | None = None,
        kind: type[Inbox] = Inbox,
    ) -> None:
        self.places = places
        self.fifo: list[Arrival] = []
        self.handled: list[str] = []
        self.home = LetterShelf(observer)
        self.inbox = kind(
            ours or mesh(observer),
            PLACE,
            self.home.letters,
            room=lambda: self.places - len(self.fifo),
            post=self.post,
            sharing=sharing,
        )

    def post(self, arrival: Arrival) -> None:
        self.fifo.append(arrival)

    def receive(self, *sequences: int, **facts: Any) -> Handed:
        """One frame with these numbers."""
        delivery = Handed(frame_of(*(envelope(number, **facts) for number in sequences)))
        self.inbox.receive(delivery)
        return delivery

    def handle(self, count: int = 1) -> None:
        """Run so many events to completion."""
        for _ in range(count):
            arrival = self.fifo.pop(0)
            self.handled.append(arrival.envelope.id)
            self.inbox.finished(arrival)
            self.inbox.feed()

    @property
    def waiting(self) -> list[int]:
        return [arrival.envelope.sequence for arrival in self.fifo]


class Notes(Observer):
    """What an inbox tells."""

    def __init__(self) -> None:
        self.drops: list[str] = []
        self.gaps: list[tuple[str, int]] = []
        self.left: list[tuple[str, str]] = []
        self.aside: list[tuple[str, str]] = []

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self.drops += [reason] * events

    def set_aside(self, *, chart: str, reason: str) -> None:
        self.aside.append((chart, reason))

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.gaps.append((sender, missing))

    def chart_left(self, *, node: str, chart: str) -> None:
        self.left.append((node, chart))
