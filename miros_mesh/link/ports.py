"""What the rest of the library sees of a broker: opaque bytes out, opaque bytes in.

`Link` makes the two workers of a node: a `Publisher` for each peer, which takes parcels, and one
`Subscriber`, which hands out deliveries. All methods may be called from any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from miros_mesh.address import BrokerAddress
from miros_mesh.errors import LinkError
from miros_mesh.observer import Observer
from miros_mesh.report import StopReport


@dataclass(frozen=True)
class Broker:
    """A broker or a cluster: the addresses are tried in turn. An embedded broker has none."""

    name: str
    addresses: tuple[BrokerAddress, ...] = ()


class Parcel(Protocol):
    """Something to publish, shared by the outboxes of all peers.

    It may grow until it is closed or sealed, which the first publisher that takes it does. Equal
    only to itself.
    """

    @property
    def network(self) -> str:
        """The network under which it is counted."""

    @property
    def exchange(self) -> str:
        """The topic exchange to publish to."""

    @property
    def routing_key(self) -> str:
        """The topic that it is published under."""

    @property
    def expendable(self) -> bool:
        """Whether it is sent after, and dropped before, a parcel that is not."""

    @property
    def persistent(self) -> bool:
        """Whether a broker is to keep it over its own restart."""

    @property
    def events(self) -> int:
        """How many events it holds until now; 0 for a message of the library itself."""

    @property
    def size_bytes(self) -> int:
        """How many bytes they have until now, before sealing."""

    def close(self) -> None:
        """Take no more events: `events` and `size_bytes` are final from now on."""

    def seal(self) -> bytes:
        """Close, and return the bytes to send now: others when some time has passed."""

    def split(self) -> Sequence[Parcel]:
        """Close, and return its events as smaller parcels, in order; none when it holds but one."""

    def stored(self, broker: str, routed: bool) -> None:
        """Hear that a peer has confirmed it, and whether any queue there took it.

        Called under no lock, once for each peer.
        """

    def dropped(self, broker: str) -> None:
        """Hear that a peer will not get it for want of room in its outbox. As `stored`."""

    def refused(self, broker: str, error: LinkError) -> None:
        """Hear that a broker refuses it, whose outbox lets go of it next. As `stored`."""


@dataclass(frozen=True)
class Binding:
    """What a queue gets of a topic exchange: all that is published under topics that match."""

    exchange: str
    pattern: str
    durable: bool = True
    """Whether the exchange outlives a restart of the broker; all who declare it have to agree."""


@dataclass(frozen=True)
class Terms:
    """What all who consume a queue have to agree on, as long as one of them is there."""

    queue: str
    """A queue that gets nothing, declared by these terms; it goes with the last of them."""
    text: str


@dataclass(frozen=True)
class QueueSpec:
    """A queue, what it is bound to, and how much of it may be on its way at once."""

    name: str
    bindings: tuple[Binding, ...]
    """One at least. What several of them match comes once, where they are of one exchange."""
    prefetch: int
    expires_s: float
    replicated: bool = False
    max_length: int | None = None
    """How many messages may wait; the oldest go."""
    max_bytes: int | None = None
    """How many bytes those that wait may have in all; likewise."""
    delete_on_stop: bool = True
    chart: str = ""
    """The chart that hears by it; empty for a queue of the node itself."""
    consumers: Literal["one", "standby", "shared"] = "one"
    """Whether this node alone consumes it, or others wait to go on in order, or each gets some."""
    terms: Terms | None = None
    """Of a queue that others consume, too: without its terms it is refused with `TermsError`."""
    dead_letters: bool = False
    """Whether the node makes dead letters of what it refuses there, and their queue is needed."""


# Acknowledged by hand and one by one: what a crash leaves unacknowledged is delivered again.
class Delivery(Protocol):
    """One received message. `ack` and `reject` may be called once, from any thread."""

    @property
    def body(self) -> bytes:
        """The bytes as they were published."""

    @property
    def topic(self) -> str:
        """The routing key that the broker delivers it under."""

    @property
    def returned(self) -> bool:
        """Whether the broker says that it was handed out before, to this consumer or another.

        Its own word, and not that of who published it.
        """

    @property
    def redelivered(self) -> bool:
        """Whether it may have been seen before: it was `returned`, or published a second time.

        Who may publish at the broker may say the latter: it is a hint, and no proof.
        """

    @property
    def deliveries(self) -> int:
        """Which delivery of it this is, from 1 on; 2 where all that is known is `redelivered`."""

    def ack(self) -> None:
        """Let the broker forget it: it was handled. The broker hears of it within 10 ms."""

    def reject(self) -> None:
        """Let the broker forget it: it is unusable. It is never requeued."""


Handler = Callable[[Delivery], None]


class Publisher(Protocol):
    """One worker that carries parcels to one broker."""

    @property
    def broker(self) -> Broker:
        """The broker that it carries them to."""

    def start(self) -> None:
        """Begin to connect; returns at once."""

    def wait_ready(self, timeout_s: float) -> None:
        """Wait for the first connection. Raises the `LinkError` that prevents it."""

    def put(self, parcel: Parcel) -> Sequence[Parcel]:
        """Queue a parcel; returns what the outbox dropped to make room.

        Never waits, and calls no observer: it may be called under a lock.
        """

    def grown(self, parcel: Parcel, size_bytes: int, events: int = 1) -> Sequence[Parcel]:
        """Count events that a queued parcel took since; returns what was dropped for them.

        `size_bytes` is what all of them have together. As `put`, it may be called under a lock.
        """

    def report(self) -> StopReport:
        """Say what has become until now of the events put here."""

    def drain(self, timeout_s: float) -> None:
        """Wait until all is confirmed that was put here, `timeout_s` at most.

        Of parcels without an event, and of expendable ones, not longer than a broker takes them.
        """

    def stop(self, drain_timeout_s: float) -> StopReport:
        """Drain, end the worker, and say what became of the events put here.

        Whatever the broker does, it ends within half a second after the drain.
        """

    def abort(self, timeout_s: float) -> None:
        """End the worker without draining; waits for it for `timeout_s` at most."""


class Subscriber(Protocol):
    """One worker that consumes queues of one broker."""

    @property
    def connected_to(self) -> str:
        """The broker's address that answered, without credentials."""

    def start(self) -> None:
        """Begin to connect; returns at once."""

    def wait_ready(self, timeout_s: float) -> None:
        """Wait for the first connection. Raises the `LinkError` that prevents it."""

    def add(
        self,
        spec: QueueSpec,
        handler: Handler,
        timeout_s: float,
        lost: Callable[[], object] = lambda: None,
    ) -> bool:
        """Declare, bind and consume a queue; returns when messages can arrive.

        `lost` is called on the worker's thread each time the connection is lost, with which all
        goes back to the queue that is not settled.

        Returns whether a lasting queue existed before; False for one that is deleted on stop. The
        handler runs on the worker's thread and must not wait. Raises the `LinkError` that prevents
        it.
        """

    def refused(self) -> Sequence[tuple[QueueSpec, str]]:
        """Return the queues that the broker refuses now, each with the reason of a `LinkError`.

        They were given once; each is tried again until it is removed.
        """

    def remove(self, queue: str, wait_s: float = 0.0) -> None:
        """Consume no more from a queue; deletes it where its spec says so.

        Waits, `wait_s` at most, until the broker has the acknowledgements of before.
        """

    def step_aside(self, queue: str) -> None:
        """Let all who wait for a queue go before; what is not settled of it is theirs. Never waits.

        Brokers keep consumers in the order in which they came: one that steps aside is the last.
        """

    def stop(self, timeout_s: float) -> None:
        """Hand outstanding acknowledgements to the broker and end the worker.

        Waits for a broker that says nothing no longer than for a quarter of a second.
        """


class KeptMessage(Protocol):
    """A message that a queue keeps for people; it stays there unless it is taken."""

    @property
    def body(self) -> bytes:
        """The bytes as they were published."""

    def take(self) -> None:
        """Remove it from its queue."""


class LetterBox(Protocol):
    """One visit to what queues keep for people, on a connection of its own, for one thread.

    Every call is limited to `confirm_timeout_s`, and raises the `LinkError` that prevents it.
    """

    def kept(self, queue: str) -> Generator[KeptMessage, None, None]:
        """Hand out what waits in a queue now, the oldest first; what is not taken stays, in order.

        None when there is no such queue. Until the generator ends, others see less of the queue, or
        raise `LettersInUseError`.
        """

    def put(self, exchange: str, routing_key: str, body: bytes) -> None:
        """Publish to a topic exchange; return when the broker has stored it.

        Raises `UnroutableError` when no queue takes it.
        """

    def put_into(self, queue: str, seal: Callable[[str], bytes], *, exchange: str) -> None:
        """Publish to one queue alone, through a direct exchange; return when it is stored.

        `seal` returns the bytes to publish under a routing key, which begins as `topic_of_queue`
        says. Raises `UnroutableError` when there is no such queue.
        """


Credentials = Callable[[BrokerAddress], tuple[BrokerAddress, str]]
"""Returns an address with the user and password of this moment, and why they may be old, if so.

Called before each attempt to connect, from any thread; raises nothing.
"""


def as_given(address: BrokerAddress) -> tuple[BrokerAddress, str]:
    """Return an address with the credentials that it has."""
    return address, ""


@dataclass(frozen=True, kw_only=True)
class LinkSettings:
    """What all connections of a node have in common.

    Most are settings of `MeshConfig`, which explains them and has their defaults.
    """

    node: str
    """The node's name, for the names of threads and connections."""
    exchanges: tuple[str, ...]
    """What a publisher declares, as topic exchanges, on each new connection.

    Without the first one a first connection fails; of the others a refusal is only logged.
    """
    observer: Observer
    attempts: int
    """`connection_attempts`: how often a first connection is tried."""
    connect_timeout_s: float
    heartbeat_interval_s: float
    confirm_timeout_s: float
    confirm_window: int
    outbox_events: int
    outbox_bytes: int
    credentials: Credentials = as_given
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    more_exchanges: Callable[[], tuple[str, ...]] = tuple
    """What is declared besides, also on a connection that is there when they become others."""
    transient_exchanges: tuple[str, ...] = ()
    """Of `exchanges` those that are not durable."""


class Link(Protocol):
    """A way to move bytes: RabbitMQ, the embedded broker, or memory."""

    def publisher(self, broker: Broker, *, patient: bool = False) -> Publisher:
        """Make a publisher for one broker; a patient one tries to connect until it is stopped."""

    def subscriber(self, broker: Broker, name_lock: str | None = None) -> Subscriber:
        """Make a subscriber at one broker.

        A name lock is a name that one live subscriber may have there: `wait_ready` of a second one
        raises `NodeNameTakenError`.
        """

    def probe(self, broker: Broker) -> None:
        """Connect once and leave; raises the `LinkError` that says what is wrong."""

    def look(
        self,
        broker: Broker,
        *,
        exchange: str,
        marks: Sequence[str],
        timeout_s: float,
        instead: Sequence[str] = (),
    ) -> None:
        """See whether our mesh is at a broker's first address, on a connection of its own.

        One of the exchanges `instead` does as well as `exchange` with one of the exchanges `marks`.
        Raises the `LinkError` that says what is there: `NoMeshError` without any of them,
        `OtherKeyError` without a mark. From several threads at once.
        """

    def letter_box(self, broker: Broker) -> AbstractContextManager[LetterBox]:
        """Connect for one visit to what queues keep for people; any thread, any number at once."""

    def stop_looking(self) -> None:
        """End every look at once with a `LinkError`, from any thread; no other begins."""

    def close(self) -> None:
        """Close every connection to a broker, also those in use."""

    def abandon(self) -> None:
        """In a forked child: let go of what belongs to the parent, which notices nothing.

        Nothing of this link may be used afterwards; `close` and the `stop` of its workers return.
        """
