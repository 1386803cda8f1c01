"""One network: an exchange, a codec, a publisher per peer, and its subscriptions."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from miros_mesh.errors import FrameError, MeshError
from miros_mesh.link.ports import Delivery, Parcel, Publisher
from miros_mesh.networks.frame import Frame
from miros_mesh.networks.history import History
from miros_mesh.observer import Observer
from miros_mesh.throttle import Throttle
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import Origin

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=Origin)

# The version is in the name because an exchange cannot be redeclared with other arguments.
EXCHANGE_PREFIX = "miros_mesh.v1."
COMPLAIN_EVERY_S = 10.0
# The end of a sealed frame is its signature.
_MARK_BYTES = 32
_REMEMBERED_FRAMES = 10_000


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
        # A stranger must not be able to fill our disk, nor a broker that stays away.
        self._complaints = Throttle(COMPLAIN_EVERY_S)
        # Whoever may not read a trace is told so once: it can be meant.
        self._refusals = Throttle(math.inf) if expendable else self._complaints
        self._sealed: dict[bytes, int] = {}
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
    ) -> int:
        """Pack the message that `make` builds from the chart's next sequence number.

        What is not `counted` is the library's own and nobody's event: it travels alone.

        Raises `EventTooLargeError` or `PayloadError`, and then uses up no number.
        """
        with self._lock:
            sequence = self._sequences[chart] + 1
            message = make(sequence)
            encoded = self._codec.encode(message)
            self._sequences[chart] = sequence
            if self._history:
                self._history.add(message, len(encoded))
            alone = not self._publishers
            overflow = self._pack(routing_key, (encoded,), counted=counted)
        # A hook may transmit, so nobody is told anything under the lock.
        if counted:
            self._observer.transmitted(network=self.name, chart=chart)
        if counted and alone:
            self._observer.dropped(network=self.name, reason="no_peer", events=1)
        for peer, parcels in overflow:
            self._tell_overflow(peer, parcels)
        return sequence

    def send_all(self, routing_key: str, messages: Iterable[T]) -> list[tuple[T, MeshError]]:
        """Pack messages that bring their numbers along; which of them cannot travel, and why.

        Of these the repairs keep no copy.
        """
        encoded, refused = list[bytes](), list[tuple[T, MeshError]]()
        for message in messages:
            try:
                encoded.append(self._codec.encode(message))
            except MeshError as error:
                refused.append((message, error))
                continue
            self._observer.transmitted(network=self.name, chart=message.chart)
        with self._lock:
            alone = not self._publishers
            overflow = self._pack(routing_key, encoded, counted=True)
        if alone:
            self._observer.dropped(network=self.name, reason="no_peer", events=len(encoded))
        for peer, parcels in overflow:
            self._tell_overflow(peer, parcels)
        return refused

    def comes_back(self, delivery: Delivery) -> bool:
        """Whether it is a frame that we have sealed ourselves, as far as we remember."""
        events = self._sealed.pop(delivery.body[-_MARK_BYTES:], 0)
        if events:
            size_bytes = len(delivery.body)
            self._observer.received(network=self.name, events=events, size_bytes=size_bytes)
        return events > 0

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
        """Log once in a while why something received is refused; of an expendable one, once."""
        if times := self._refusals.due(reason):
            logger.warning("refused on %s, %d time(s): %s", self.name, times, error)

    def _pack(
        self, routing_key: str, encoded: Sequence[bytes], *, counted: bool
    ) -> list[tuple[str, Sequence[Parcel]]]:
        """Hand the messages to every publisher; which peer's outbox had to drop what for them."""
        gone: list[tuple[str, Sequence[Parcel]]] = []
        while encoded:
            tail = self._tail
            fits = counted and tail and tail.counted and tail.routing_key == routing_key
            if tail and fits and (taken := tail.add_all(encoded)):
                size = sum(map(len, encoded[:taken]))
                gone += [(p.broker.name, p.grown(tail, size, taken)) for p in self._publishers]
            else:
                self._tail = frame = self._frame(routing_key, counted)
                taken = frame.add_all(encoded)
                gone += [(p.broker.name, p.put(frame)) for p in self._publishers]
            encoded = encoded[taken:]
        return [(peer, parcels) for peer, parcels in gone if parcels]

    def _seal(self, messages: Sequence[bytes]) -> bytes:
        sealed = self._codec.seal(messages)
        if self._expendable:
            # It comes back to whoever watches; opening it would tell nothing new.
            self._sealed[sealed[-_MARK_BYTES:]] = len(messages)
            if len(self._sealed) > _REMEMBERED_FRAMES:
                self._sealed.pop(next(iter(self._sealed)), None)
        return sealed

    def _frame(self, routing_key: str, counted: bool) -> Frame:
        return Frame(
            self.name,
            self.exchange,
            routing_key,
            self._seal,
            expendable=self._expendable,
            counted=counted,
            max_events=self._frame_events,
            max_bytes=self._frame_bytes,
        )

    def _tell_overflow(self, peer: str, parcels: Sequence[Parcel]) -> None:
        lost: Counter[str] = Counter()
        for parcel in parcels:
            lost[parcel.network] += parcel.events
        for network, events in (+lost).items():
            self._observer.dropped(network=network, reason="outbox_overflow", events=events)
            self._observer.overflowed(peer=peer, network=network, events=events)
            if untold := self._complaints.due(f"{peer} {network}", events):
                logger.warning(
                    "the outbox for %s is full: its %d oldest events of %s are lost",
                    peer,
                    untold,
                    network,
                )
