"""One network: an exchange, a codec, a publisher per peer, and its subscriptions."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Generic, TypeVar

from miros_mesh.errors import FrameError, MeshError
from miros_mesh.link.ports import Delivery, Publisher
from miros_mesh.networks.history import History
from miros_mesh.networks.packing import Frame
from miros_mesh.observer import Observer
from miros_mesh.wire import Codec, Origin

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=Origin)

# The version is in the name because an exchange cannot be redeclared with other arguments.
EXCHANGE_PREFIX = "miros_mesh.v1."
COMPLAIN_EVERY_S = 10.0


def exchange_of(network: str) -> str:
    """The exchange that carries a network."""
    return EXCHANGE_PREFIX + network


class Network(Generic[T]):
    """Numbers, packs and seals what is sent; opens what arrives. Thread-safe."""

    def __init__(
        self,
        name: str,
        codec: Codec[T],
        observer: Observer,
        *,
        frame_events: int,
        frame_bytes: int,
        expendable: bool = False,
        history: History[T] | None = None,
    ) -> None:
        self.name = name
        self.exchange = exchange_of(name)
        self._codec = codec
        self._observer = observer
        self._frame_events = frame_events
        self._frame_bytes = frame_bytes
        self._expendable = expendable
        self._history = history
        self._complaints = _Complaints(name)
        self._publishers: tuple[Publisher, ...] = ()
        self._tail: Frame | None = None
        self._sequences: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()

    def attach(self, publisher: Publisher) -> None:
        """Send to one more peer from now on."""
        with self._lock:
            self._publishers = (*self._publishers, publisher)
            self._tail = None

    def detach(self, publisher: Publisher) -> None:
        """Send to a peer no more."""
        with self._lock:
            self._publishers = tuple(p for p in self._publishers if p is not publisher)
            # The peer may not have sent it yet, and would not hear that it grows.
            self._tail = None

    def send(
        self, chart: str, routing_key: str, make: Callable[[int], T], *, counted: bool = True
    ) -> None:
        """Pack the message that `make` builds from the chart's next sequence number.

        What is not `counted` is the library's own and nobody's event. Raises `EventTooLargeError`
        or `PayloadError`, and then uses up no number.
        """
        with self._lock:
            sequence = self._sequences[chart] + 1
            message = make(sequence)
            encoded = self._codec.encode(message)
            self._sequences[chart] = sequence
            if self._history:
                self._history.add(message, len(encoded))
            self._pack(routing_key, encoded, counted)
        if counted:
            self._observer.transmitted(network=self.name, chart=chart)

    def sequence_of(self, chart: str) -> int:
        """The number of the chart's last message; 0 before the first."""
        return self._sequences.get(chart, 0)

    def open(self, delivery: Delivery) -> list[T]:
        """The messages of a delivery; one that is refused is rejected, counted, and gives none."""
        try:
            messages = self._codec.open(delivery.body)
        except FrameError as error:
            self._observer.dropped(network=self.name, reason=error.reason, events=1)
            self.complain(error.reason, error)
            delivery.reject()
            return []
        self._observer.received(
            network=self.name, events=len(messages), size_bytes=len(delivery.body)
        )
        return messages

    def complain(self, reason: str, error: MeshError) -> None:
        """Log once in a while why something received is refused."""
        self._complaints.tell(reason, error)

    def _pack(self, routing_key: str, encoded: bytes, counted: bool) -> None:
        if not self._publishers and counted:
            self._observer.dropped(network=self.name, reason="no_peer", events=1)
        tail = self._tail
        fits = counted and tail and tail.counted and tail.routing_key == routing_key
        if tail and fits and tail.add(encoded):
            for publisher in self._publishers:
                publisher.grown(tail, len(encoded))
            return
        self._tail = frame = Frame(
            self.name,
            self.exchange,
            routing_key,
            self._codec.seal,
            expendable=self._expendable,
            counted=counted,
            max_events=self._frame_events,
            max_bytes=self._frame_bytes,
        )
        frame.add(encoded)
        for publisher in self._publishers:
            publisher.put(frame)


class _Complaints:
    """Says once in a while what is refused; a stranger must not be able to fill our disk."""

    def __init__(self, network: str) -> None:
        self._network = network
        self._next: dict[str, float] = {}
        self._untold: Counter[str] = Counter()

    def tell(self, reason: str, error: MeshError) -> None:
        """Log the error, or count it until this reason may be logged again."""
        self._untold[reason] += 1
        now = time.monotonic()
        if now < self._next.get(reason, 0):
            return
        self._next[reason] = now + COMPLAIN_EVERY_S
        times = self._untold.pop(reason)
        logger.warning("refused on %s, %d time(s): %s", self._network, times, error)
