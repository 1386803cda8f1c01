"""What the rest of the library sees of a broker: opaque bytes out, opaque bytes in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from miros_mesh.address import BrokerAddress
from miros_mesh.observer import Observer
from miros_mesh.report import StopReport


@dataclass(frozen=True)
class Broker:
    """A broker or a cluster: the addresses are tried in turn. An embedded broker has none."""

    name: str
    addresses: tuple[BrokerAddress, ...] = ()


class Parcel(Protocol):
    """Something to publish. It may grow until it is sealed, which the first publisher does."""

    @property
    def network(self) -> str:
        """What it belongs to, for counting."""

    @property
    def exchange(self) -> str:
        """The topic exchange to publish to."""

    @property
    def routing_key(self) -> str:
        """The topic."""

    @property
    def expendable(self) -> bool:
        """Whether it waits for, and makes room for, what is not."""

    @property
    def events(self) -> int:
        """How many events it holds; none when it is the library's own word."""

    @property
    def size_bytes(self) -> int:
        """Their size before sealing."""

    def close(self) -> None:
        """Grow no more."""

    def seal(self) -> bytes:
        """Close, and give the bytes to send: the same at every call, whoever asks first."""


@dataclass(frozen=True)
class QueueSpec:
    """A queue, its one binding, and how much of it may be on its way at once."""

    name: str
    exchange: str
    routing_pattern: str
    prefetch: int
    expires_s: float
    replicated: bool = False
    max_length: int | None = None
    """How many messages may wait; the oldest go."""
    max_bytes: int | None = None
    """How large those that wait may be in all; likewise."""
    delete_on_stop: bool = True
    dead_letters: bool = False
    """Whether rejected messages are kept for people to look at; not for a queue with a limit."""

    def __post_init__(self) -> None:
        if self.dead_letters and not self.max_length is self.max_bytes is None:
            raise ValueError("the broker would keep what a queue of limited length drops, too")


class Delivery(Protocol):
    """One received message. `ack` and `reject` may be called once, from any thread."""

    @property
    def body(self) -> bytes:
        """The bytes as published."""

    @property
    def redelivered(self) -> bool:
        """The broker's hint that it may have been seen before."""

    def ack(self) -> None:
        """Handled: the broker forgets it."""

    def reject(self) -> None:
        """Unusable: the broker forgets it, or dead-letters it; it is never requeued."""


Handler = Callable[[Delivery], None]


class Publisher(Protocol):
    """One worker that carries parcels to one broker."""

    @property
    def broker(self) -> Broker:
        """Where it carries them."""

    def start(self) -> None:
        """Begin to connect; returns at once."""

    def wait_ready(self, timeout_s: float) -> None:
        """Wait for the first connection. Raises the `LinkError` that prevents it."""

    def put(self, parcel: Parcel) -> Sequence[Parcel]:
        """Queue a parcel; never waits, and tells nobody. Returns what had to go for it."""

    def grown(self, parcel: Parcel, size_bytes: int, events: int = 1) -> Sequence[Parcel]:
        """A queued parcel took more events of that size in all; returns what had to go."""

    def report(self) -> StopReport:
        """What has become until now of the events put here."""

    def stop(self, drain_timeout_s: float) -> StopReport:
        """Drain, end the worker, and say what became of the events put here."""

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

    def add(self, spec: QueueSpec, handler: Handler, timeout_s: float) -> None:
        """Declare, bind and consume a queue; returns when messages can arrive.

        The handler runs on the worker's thread and must not wait.
        """

    def remove(self, queue: str) -> None:
        """Consume no more from a queue; deletes it where its spec says so."""

    def stop(self, timeout_s: float) -> None:
        """Hand outstanding acknowledgements to the broker and end the worker."""


@dataclass(frozen=True, kw_only=True)
class LinkSettings:
    """What every connection of a node has in common; seconds where nothing else is said."""

    node: str
    exchanges: tuple[str, ...]
    observer: Observer
    attempts: int = 3
    connect_timeout_s: float = 5.0
    heartbeat_interval_s: float = 5.0
    confirm_timeout_s: float = 10.0
    confirm_window: int = 100
    outbox_events: int = 100_000
    outbox_bytes: int = 64 * 1024 * 1024


class Link(Protocol):
    """A way to move bytes: RabbitMQ, the embedded broker, or memory."""

    def publisher(self, broker: Broker, *, patient: bool = False) -> Publisher:
        """A new publisher for one broker; a patient one never ends for want of a connection."""

    def subscriber(self, broker: Broker, name_lock: str | None = None) -> Subscriber:
        """A new subscriber at one broker.

        A name lock is a name that one live subscriber may have there: `wait_ready` of a second one
        raises `NodeNameTakenError`.
        """

    def probe(self, broker: Broker) -> None:
        """Connect once and leave; raises the `LinkError` that says what is wrong."""

    def look(
        self, broker: Broker, *, exchange: str, marks: Sequence[str], timeout_s: float
    ) -> None:
        """See whether our mesh is at a broker's first address, on a connection of its own.

        Raises the `LinkError` that says what is there instead: `NoMeshError` without the exchange,
        `OtherKeyError` without any of the exchanges `marks`. From several threads at once.
        """

    def stop_looking(self) -> None:
        """End every look at once with a `LinkError`, from any thread; no other begins."""

    def close(self) -> None:
        """Close every pooled connection."""

    def abandon(self) -> None:
        """In a forked child: let go of what belongs to the parent, which notices nothing.

        Nothing of this link may be used afterwards; `close` and the `stop` of its workers return.
        """
