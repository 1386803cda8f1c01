"""Stand-ins for the small ports of the link, held in a test's hand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from miros_mesh.errors import BrokerUnreachableError
from miros_mesh.link.ports import Broker, LetterBox, Parcel, Subscriber
from miros_mesh.report import StopReport

TOPIC = "topic.of.a.test"


@dataclass(eq=False)
class Handed:
    """A delivery that remembers what became of it."""

    body: bytes
    returned: bool = False
    topic: str = TOPIC
    acks: int = 0
    rejects: int = 0

    @property
    def redelivered(self) -> bool:
        return self.returned

    @property
    def deliveries(self) -> int:
        return 1 + self.returned

    def ack(self) -> None:
        self.acks += 1

    def reject(self) -> None:
        self.rejects += 1


@dataclass(eq=False)
class Shelf:
    """A publisher that keeps its parcels and counts as an outbox does."""

    left: int = 0
    broker: Broker = Broker("shelf")  # noqa: RUF009 - a frozen value
    parcels: list[Parcel] = field(default_factory=list)
    events: int = 0
    size_bytes: int = 0
    started: int = 0
    aborted: int = 0
    drained_within_s: list[float] = field(default_factory=list)
    stopped: int = 0

    def start(self) -> None:
        self.started += 1

    def wait_ready(self, timeout_s: float) -> None:
        pass

    def put(self, parcel: Parcel) -> Sequence[Parcel]:
        self.parcels.append(parcel)
        self.events += parcel.events
        self.size_bytes += parcel.size_bytes
        return ()

    def grown(self, parcel: Parcel, size_bytes: int, events: int = 1) -> Sequence[Parcel]:
        assert parcel in self.parcels, "grown, but never put here"
        self.events += events
        self.size_bytes += size_bytes
        return ()

    def report(self) -> StopReport:
        return StopReport(sent=self.left, left_over=self.left)

    def drain(self, timeout_s: float) -> None:
        self.drained_within_s.append(timeout_s)

    def stop(self, drain_timeout_s: float) -> StopReport:
        self.stopped += 1
        return self.report()

    def abort(self, timeout_s: float) -> None:
        self.aborted += 1


class Shop:
    """A link that hands out shelves."""

    def __init__(self, **left: int) -> None:
        self.left = left
        self.shelves: dict[Broker, Shelf] = {}

    def publisher(self, broker: Broker, *, patient: bool = False) -> Shelf:
        shelf = self.shelves[broker] = Shelf(self.left.get(broker.name, 0), broker)
        return shelf

    def subscriber(self, broker: Broker, name_lock: str | None = None) -> Subscriber:
        raise BrokerUnreachableError("a shop sells no subscribers")

    def probe(self, broker: Broker) -> None:
        pass

    def look(
        self, broker: Broker, *, exchange: str, marks: Sequence[str], timeout_s: float
    ) -> None:
        pass

    def letter_box(self, broker: Broker) -> AbstractContextManager[LetterBox]:
        raise BrokerUnreachableError("a shop has no letter box")

    def stop_looking(self) -> None:
        pass

    def close(self) -> None:
        pass

    def abandon(self) -> None:
        pass
