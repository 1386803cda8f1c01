"""One network: an exchange, a codec, and a publisher for each peer."""

from __future__ import annotations

import math
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, Generic, Protocol, TypeVar
from weakref import WeakSet

from msgspec.structs import replace

from miros_mesh.address import Hearing, is_direct
from miros_mesh.errors import FrameError, LinkError, MeshError
from miros_mesh.link.ports import Broker, Delivery, Parcel, Publisher
from miros_mesh.networks.echoes import Echoes, Published
from miros_mesh.networks.frame import Frame, Settled
from miros_mesh.networks.history import History
from miros_mesh.networks.order.routes import Destinations
from miros_mesh.observer import Observer
from miros_mesh.text import logger_of
from miros_mesh.timing.throttle import Throttle
from miros_mesh.wire.codec import Arrived
from miros_mesh.wire.envelope import Origin
from miros_mesh.wire.freshness import Freshness, Limits

logger = logger_of(__name__)

T = TypeVar("T", bound=Origin)

# The version is in the name because an exchange cannot be redeclared with other arguments.
EXCHANGE_PREFIX = "miros_mesh.v1."
UNNUMBERED: Final = 0
"""The sequence number of a message that `Network.send` is to number; none travels with it."""
COMPLAIN_EVERY_S = 10.0
NOTES_KEPT_S: Final = 40 * 86_400.0
"""For how long a broker keeps what a node notes for its next process; a RabbitMQ knows no longer
time than 49 days."""
# What has to go here only stays in the history, until that has no room for it.
_MOST_REFUSED: Final = 10_000
# Of which a queue remembers whether it is for them.
_TOPICS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Refusal(Generic[T]):
    """Messages of one frame that a broker refused, as they were to be sent."""

    routing_key: str
    broker: str
    error: LinkError
    messages: Sequence[T]
    encoded: Sequence[bytes]
    """The messages' own bytes, in the same order."""
    counted: bool
    """Whether they are events of a program, and not records or words of the library."""


_Overflow = tuple[str, Sequence[Parcel]]
"""A peer, and what its outbox dropped."""


class Outlet(Protocol):
    """What gets every frame of a network: a publisher, or a `Held`."""

    @property
    def broker(self) -> Broker:
        """The broker that the frames are for."""

    def put(self, parcel: Parcel) -> Sequence[Parcel]:
        """Take a frame, as `Publisher.put`."""

    def grown(self, parcel: Parcel, size_bytes: int, events: int = 1) -> Sequence[Parcel]:
        """Count events that a frame took since, as `Publisher.grown`."""


class Held(Outlet, Protocol):
    """What keeps frames for publishers that come."""

    def parcels(self, network: str) -> Sequence[Parcel]:
        """Return the frames of a network, in the order in which they were sent."""


def exchange_of(network: str) -> str:
    """Return the name of the exchange that carries a network."""
    return EXCHANGE_PREFIX + network


DIRECT: Final = exchange_of("direct")
"""The exchange by which events reach one chart alone, under its `address.direct_topic`."""


class Sealing(Protocol[T]):
    """What turns messages into bytes and back: a `Codec` of frames, or one of another wire."""

    queues: WeakSet[Freshness]
    """By their `Freshness`, those of this process that may bring the same bytes."""

    @property
    def primary(self) -> str:
        """The fingerprint of the key that seals now."""

    def encode(self, message: T) -> bytes:
        """Encode one message, not sealed yet; raises the `MeshError` of one that cannot travel."""

    def decoded(self, encoded: Sequence[bytes]) -> list[T]:
        """Return the messages that `encode` has made these of."""

    def seal(self, encoded: Sequence[bytes], topic: str) -> bytes:
        """Seal encoded messages, to be published under a topic now."""

    def unseal(self, frame: bytes) -> list[bytes]:
        """Return what `seal` was given."""

    def open_again(self, frame: bytes) -> list[T]:
        """Return the messages of what was sealed or opened here before."""

    def receive(self, frame: bytes, topic: str, freshness: Freshness, *, again: bool) -> Arrived[T]:
        """Return the messages of what came under a topic; raises the `FrameError` that refuses."""


class Routed(Protocol[T]):
    """What says of a message where those before it went: `order.routes.Routes`."""

    last_to: dict[str, str]
    """Where each chart has sent last; of a message that goes there too nothing else is called."""

    def routed(self, event: T, destination: str) -> T:
        """Return a numbered message that says it."""

    def sent(self, event: T, destination: str) -> None:
        """Note where a message went."""

    def destinations(self, chart: str, last: int) -> Destinations:
        """Return where a chart has sent up to its last number."""

    def recent(self, chart: str, last: int, most: int) -> list[str]:
        """Return where a chart has sent last."""


def exchange_for(destination: str) -> str | None:
    """Return the exchange by which one chart is reached; None for a topic."""
    return DIRECT if is_direct(destination) else None


class Network(Generic[T]):
    """Numbers, packs and seals what is sent; opens what arrives. Thread-safe.

    An observer's hook may transmit, so none is called while a lock is held. Of the locks, that of
    the network comes first, then that of a frame or an outbox, or that of the history.
    """

    def __init__(
        self,
        name: str,
        codec: Sealing[T],
        observer: Observer,
        *,
        frame_events: int,
        frame_bytes: int,
        expendable: bool = False,
        history: History | None = None,
        limits: Limits | None = None,
        routes: Routed[T] | None = None,
    ) -> None:
        self.name = name
        self.exchange = exchange_of(name)
        self._codec = codec
        self._observer = observer
        self._frame_events = frame_events
        self._frame_bytes = frame_bytes
        self.expendable = expendable
        """Whether events go first, and its messages are dropped first."""
        self.set_aside: Callable[[Refusal[T]], None] = lambda _: None
        """Called with what a broker refused, on its publisher's thread."""
        self.unheard: Callable[[Sequence[T]], None] = lambda _: None
        """Called with what found no queue at any broker, on a publisher's thread.

        Among it are events to one chart, and those that want a reply."""
        self._history = history
        self._limits = limits
        # A stranger must not be able to fill our disk, nor a broker that stays away.
        self._complaints = Throttle(COMPLAIN_EVERY_S)
        # A node without the key of a snoop network may be meant to have none: said once.
        self._refusals = Throttle(math.inf) if expendable else self._complaints
        self._publishers: tuple[Publisher, ...] = ()
        self._hold: Held | None = None
        # The two above: whatever gets all frames.
        self._outlets: tuple[Outlet, ...] = ()
        self._tail: Frame | None = None
        """The frame that every outlet has, and that may still grow."""
        self._sequences: defaultdict[str, int] = defaultdict(int)
        self._routes = routes
        self._last_to = routes.last_to if routes else {}
        # Frames of which is awaited whether any broker has a queue for them.
        self._asking: dict[Frame, None] = {}
        # Guards the eight above. Held from the number to the outboxes, so that the events of a
        # chart stand in frames in the order of their numbers.
        self._lock = threading.Lock()
        self._echoes = Echoes()
        self._published = Published()
        self._refused_by: OrderedDict[tuple[str, int], frozenset[str]] = OrderedDict()
        """By chart and number: the brokers that refused it, while others have not. Behind the same
        lock."""

    def attach(self, publisher: Publisher) -> Callable[[], None]:
        """Send to one more peer from now on, first what is held back.

        Returns what tells of that for which the peer has no room: it calls hooks, so call it with
        no lock held.
        """
        with self._lock:
            held = self._hold.parcels(self.name) if self._hold else ()
            # Before anything newer, which waits for the lock.
            among_held = self._asking.keys() & set(held)
            for frame in among_held:
                frame.awaits(publisher.broker.name)
            overflow = _put(held, (publisher,))
            self._lead_to((*self._publishers, publisher), self._hold)
        return partial(self._report, overflow)

    def detach(self, publisher: Publisher, *, gone: bool = False) -> None:
        """Send to a peer no more; one that is gone does not get what waits for it either.

        It calls hooks then, so call it with no lock held.
        """
        with self._lock:
            self._lead_to(tuple(p for p in self._publishers if p is not publisher), self._hold)
            asking = list(self._asking) if gone else []
        for frame in asking:
            frame.answered(publisher.broker.name, routed=False)

    def hold_back(self, hold: Held | None) -> Callable[[], None]:
        """Keep what is sent from now on for peers that come too; with None no longer.

        Returns what tells of events that none has a queue for: it calls hooks, so call it with no
        lock held.
        """
        with self._lock:
            before = self._hold
            self._lead_to(self._publishers, hold)
            asking = list(self._asking) if before and not hold else []

        def tell() -> None:
            for frame in asking:
                frame.answered(before.broker.name if before else "", routed=False)

        return tell

    def send(
        self,
        routing_key: str,
        message: T,
        *,
        counted: bool = True,
        persistent: bool = True,
        after: int | None = None,
        settled: Callable[[Settled], object] | None = None,
        asked: Callable[[str], object] | None = None,
    ) -> int:
        """Give an `UNNUMBERED` message its chart's next number and pack it; return the number.

        One that is not `counted` is the library's own word: no event, and alone in its frame. With
        `after` it is sent only if that is still the chart's last number; 0 is returned otherwise.
        `settled` is called with what became of it at each peer; for one that is not `counted`. With
        `asked` it is a request: that is called with its id, under the lock and before it can be
        answered, and `unheard` is told when no broker has a queue for it. One that is not
        `persistent` may be lost by a broker that restarts.

        Raises `EventTooLargeError` or `PayloadError`, and then uses up no number.
        """
        chart = message.chart
        with self._lock:
            last = self._sequences[chart]
            if after is not None and after != last:
                return 0
            message = replace(message, sequence=last + 1)
            # Nearly always it goes where the one before it went, and then has nothing to say.
            routes = self._routes if self._last_to.get(chart) != routing_key else None
            if routes:
                message = routes.routed(message, routing_key)
            # It may refuse the message. No number is used up before: one that is never sent would
            # be missed by every receiver.
            encoded = self._codec.encode(message)
            if self._history:
                # Before the outboxes: a receiver may ask for it as soon as one of them has sent it.
                # And before its number counts: what has a number and is not kept is told as gone.
                self._history.add(chart, last + 1, encoded, routing_key)
            self._sequences[chart] = last + 1
            if routes:
                routes.sent(message, routing_key)
            if asked:
                asked(message.id)
            alone = not self._publishers
            overflow = self._pack(
                routing_key,
                (encoded,),
                counted=counted,
                persistent=persistent,
                settled=settled,
                asks=asked is not None,
            )
        if counted:
            self._observer.transmitted(network=self.name, chart=chart)
            if alone:
                self._observer.dropped(network=self.name, reason="no_peer", events=1)
        self._report(overflow)
        return last + 1

    def send_all(self, routing_key: str, messages: Iterable[T]) -> list[tuple[T, MeshError]]:
        """Pack messages that bring their numbers; return those that cannot travel, and why.

        None of them enters the history, so none can be asked for again.
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
            # In the order of their numbers, because one thread alone calls this, the recorder's.
            overflow = self._pack(routing_key, encoded, counted=True)
        if alone:
            self._observer.dropped(network=self.name, reason="no_peer", events=len(encoded))
        self._report(overflow)
        return refused

    def encode(self, message: T) -> bytes:
        """Encode a message that brings its number, for `file`; raises what `send` does."""
        return self._codec.encode(message)

    def decoded(self, encoded: Sequence[bytes]) -> list[T]:
        """Return the messages that were sent here as these."""
        return self._codec.decoded(encoded)

    def file(
        self, routing_key: str, encoded: Sequence[bytes], settled: Callable[[Settled], object]
    ) -> int:
        """Pack encoded messages into one frame that needs a queue; return how many fit.

        They are no events to be counted, nor kept for repair. `settled` is called once with what
        became of the frame at each peer. 0 is returned, and nothing called, without a peer.
        """
        with self._lock:
            if not self._publishers:
                return 0
            frame = self._frame(routing_key, counted=False, persistent=True, settled=settled)
            frame.needs_queue = True
            overflow: list[_Overflow] = []
            taken = self._begin(frame, encoded, overflow)
        self._report(overflow)
        return taken

    def sequence_of(self, chart: str) -> int:
        """Return the number of the chart's last message; 0 before the first."""
        # Without the lock: `send` compares `after` under it. Not by `[]`, which would add the
        # chart.
        return self._sequences.get(chart, 0)

    def destinations(self, chart: str) -> Destinations:
        """Return where a chart has sent."""
        with self._lock:
            last = self._sequences.get(chart, 0)
            if self._routes is None:
                return Destinations(forgotten=last)
            return self._routes.destinations(chart, last)

    def recent(self, chart: str, most: int) -> list[str]:
        """Return where a chart has sent last, `most` destinations at most."""
        with self._lock:
            last = self._sequences.get(chart, 0)
            return self._routes.recent(chart, last, most) if self._routes else []

    def is_echo(self, delivery: Delivery) -> bool:
        """Whether it is one of the frames that this node sealed last; once for each of them."""
        if events := self._echoes.take(delivery.body):
            size_bytes = len(delivery.body)
            self._observer.received(network=self.name, events=events, size_bytes=size_bytes)
        return events > 0

    def freshness(self, kept_s: float = 0.0, *topics: str) -> Freshness:
        """Return what says, for one queue of these topics or of all, which frames it can hold."""
        # A queue gets frames of the same few topics again and again.
        is_for = lru_cache(_TOPICS)(Hearing(topics or ("#",)))
        freshness = Freshness(self._limits, kept_s=kept_s, is_for=is_for)
        self._codec.queues.add(freshness)
        return freshness

    def open(
        self,
        delivery: Delivery,
        freshness: Freshness,
        refuse: Callable[[FrameError], object] | None = None,
    ) -> Arrived[T]:
        """Return the messages of a delivery, surely new or not; count one that is refused.

        Such a one is handed to `refuse`, which settles it; without that it is rejected. Then there
        are no messages.
        """
        try:
            arrived = self._codec.receive(
                delivery.body, delivery.topic, freshness, again=delivery.returned
            )
        except FrameError as error:
            # As one event, since its content cannot be read.
            self._observer.dropped(network=self.name, reason=error.reason, events=1)
            self.complain(error.reason, error)
            refuse(error) if refuse else delivery.reject()
            return Arrived([], sure=True)
        self._observer.received(
            network=self.name, events=len(arrived.messages), size_bytes=len(delivery.body)
        )
        return arrived

    def open_again(self, body: bytes) -> list[T]:
        """Return the messages of a frame that was opened or sealed here before; count nothing."""
        try:
            return self._codec.open_again(body)
        except FrameError:
            # Many keys were removed since.
            return []

    @property
    def numbered(self) -> int:
        """How many messages have got a number, of all charts together."""
        with self._lock:
            return sum(self._sequences.values())

    @property
    def key(self) -> str:
        """The fingerprint of the key that seals now."""
        return self._codec.primary

    def seal(self, encoded: Sequence[bytes], topic: str) -> bytes:
        """Seal encoded messages into the bytes of a frame, to be published under a topic now."""
        sealed = self._codec.seal(encoded, topic)
        if self.expendable:
            # It comes back to a node that watches, and opening it would tell nothing new.
            self._echoes.expect(sealed, len(encoded))
        return sealed

    def publishing(self, sealed: bytes) -> None:
        """Hear that a frame is about to be published."""
        self._published.note(sealed)

    def ages(self, marks: Iterable[int]) -> dict[int, float]:
        """Return how many seconds ago frames of this node were published, by those marks."""
        return self._published.ages(marks)

    def unseal(self, sealed: bytes) -> list[bytes]:
        """Return the encoded messages of a frame that this network sealed."""
        return self._codec.unseal(sealed)

    def decided(self, frame: Frame, *, heard: bool) -> None:
        """Hear whether any broker had a queue for a frame of events that ask for one."""
        with self._lock:
            self._asking.pop(frame, None)
        if not heard:
            self.unheard(self.decoded(frame.messages()))

    def refused(self, frame: Frame, broker: str, error: LinkError) -> None:
        """Hear that a broker refused a frame: count its messages, log it, and set them aside."""
        encoded = frame.messages()
        messages = self.decoded(encoded)
        self.forget(broker, messages)
        counted = frame.counted and not self.expendable
        refusal = Refusal(frame.routing_key, broker, error, messages, encoded, counted=counted)
        self.set_aside(refusal)
        if counted:
            self._observer.publication_refused(
                peer=broker, network=self.name, reason=error.reason, events=len(messages)
            )
        else:
            self._lose(len(messages), broker, error)

    def forget(self, broker: str, messages: Iterable[T]) -> None:
        """Keep messages for repair no longer, once every broker of the network has refused them.

        Then a receiver that misses one is told at once that it does not come, and no answer of
        repair goes around the refusal. Until then others may still ask for it.
        """
        if not self._history:
            return
        for message in messages:
            if self._refused_by_all(broker, (message.chart, message.sequence)):
                self._history.forget(message.chart, message.sequence)

    def _lose(self, messages: int, broker: str, error: LinkError) -> None:
        """Count messages that a broker refused and that are kept nowhere, and log that."""
        self._observer.dropped(network=self.name, reason=error.reason, events=messages)
        if times := self._complaints.due(f"{broker} {error.reason}", messages):
            logger.warning("%d message(s) on %s are lost: %s", times, self.name, error)

    def complain(self, reason: str, error: MeshError | str) -> None:
        """Log once in a while why something received is refused; of an expendable one, once."""
        if times := self._refusals.due(reason):
            logger.warning("refused on %s, %d time(s): %s", self.name, times, error)

    def _lead_to(self, publishers: tuple[Publisher, ...], hold: Held | None) -> None:
        self._publishers, self._hold = publishers, hold
        self._outlets = (*publishers, hold) if hold else publishers
        # One that came does not have that frame. One that went may not have sent it yet, and would
        # not hear that it grows.
        self._tail = None

    def _refused_by_all(self, broker: str, message: tuple[str, int]) -> bool:
        with self._lock:
            refused = self._refused_by.pop(message, frozenset()) | {broker}
            if refused >= {outlet.broker.name for outlet in self._outlets}:
                return True
            self._refused_by[message] = refused
            if len(self._refused_by) > _MOST_REFUSED:
                self._refused_by.popitem(last=False)
            return False

    def _pack(
        self,
        routing_key: str,
        encoded: Sequence[bytes],
        *,
        counted: bool,
        persistent: bool = True,
        settled: Callable[[Settled], object] | None = None,
        asks: bool = False,
    ) -> list[_Overflow]:
        """Put messages into frames, in order; return what the outboxes dropped for them."""
        overflow: list[_Overflow] = []
        while encoded:
            taken = 0
            if counted and self._fits_tail(routing_key, persistent=persistent):
                taken = self._grow(encoded, overflow, asks=asks)
            if not taken:
                frame = self._frame(
                    routing_key, counted=counted, persistent=persistent, settled=settled
                )
                taken = self._begin(frame, encoded, overflow, asks=asks)
            encoded = encoded[taken:]
        return overflow

    def _fits_tail(self, routing_key: str, *, persistent: bool) -> bool:
        tail = self._tail
        return (
            tail is not None and tail.routing_key == routing_key and tail.persistent == persistent
        )

    def _grow(self, encoded: Sequence[bytes], overflow: list[_Overflow], *, asks: bool) -> int:
        """Add to the frame that every outlet has; return how many messages it took."""
        tail = self._tail
        if tail is None:
            return 0
        before = tail.size_bytes
        awaited = self._awaited(tail, asks=asks)
        if taken := tail.add_all(encoded, awaited):
            if awaited:
                self._asking[tail] = None
            # A publisher may have sealed and even confirmed it by now: its outbox counts on.
            size_bytes = tail.size_bytes - before
            overflow += [
                (each.broker.name, dropped)
                for each in self._outlets
                if (dropped := each.grown(tail, size_bytes, taken))
            ]
        return taken

    def _awaited(self, frame: Frame, *, asks: bool) -> Collection[str]:
        """Return the brokers whose answer is awaited, before any outbox has what asks for it."""
        if not (asks or is_direct(frame.routing_key)):
            return ()
        return {each.broker.name for each in self._outlets}

    def _begin(
        self,
        frame: Frame,
        encoded: Sequence[bytes],
        overflow: list[_Overflow],
        *,
        asks: bool = False,
    ) -> int:
        """Put a new frame into every outbox; return how many messages it took."""
        awaited = self._awaited(frame, asks=asks) if frame.counted else ()
        taken = frame.add_all(encoded, awaited)
        if awaited:
            self._asking[frame] = None
        # A word of the library's own closes the tail as well: an event that follows it must not get
        # into a frame in front of it. Nor into one that not every outlet has, should the handler of
        # a signal break this off.
        self._tail = None
        overflow += _put((frame,), self._outlets)
        self._tail = frame if frame.counted else None
        return taken

    def _frame(
        self,
        routing_key: str,
        *,
        counted: bool,
        persistent: bool,
        settled: Callable[[Settled], object] | None,
    ) -> Frame:
        return Frame(
            self,
            routing_key,
            exchange=exchange_for(routing_key) or self.exchange,
            counted=counted,
            persistent=persistent,
            settled=settled,
            # What is held back goes to each peer that comes.
            shared=self._hold is not None or len(self._outlets) > 1,
            max_events=self._frame_events,
            max_bytes=self._frame_bytes,
        )

    def _report(self, overflow: Iterable[_Overflow]) -> None:
        for peer, parcels in overflow:
            lost: Counter[str] = Counter()
            for parcel in parcels:
                lost[parcel.network] += parcel.events
                parcel.dropped(peer)
            # `+` leaves out the networks that lost only the library's own words.
            for network, events in (+lost).items():
                self._observer.dropped(network=network, reason="outbox_overflow", events=events)
                self._observer.overflowed(peer=peer, network=network, events=events)
                self._complain_of_overflow(peer, network, events)

    def _complain_of_overflow(self, peer: str, network: str, events: int) -> None:
        if lost := self._complaints.due(f"{peer} {network}", events):
            logger.warning(
                "the outbox for %s is full: its %d oldest events of %s are lost; is it connected, "
                "and are outbox_events and outbox_bytes enough?",
                peer,
                lost,
                network,
            )


def _put(parcels: Iterable[Parcel], outlets: Iterable[Outlet]) -> list[_Overflow]:
    """Put parcels into every outlet; return what was dropped for them."""
    return [
        (each.broker.name, dropped)
        for parcel in parcels
        for each in outlets
        if (dropped := each.put(parcel))
    ]
