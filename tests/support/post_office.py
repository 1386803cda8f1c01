"""Letters, mailboxes and the office that carries them: the Link port as a test uses it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import kombu

from miros_mesh.errors import LinkError
from miros_mesh.link.connections import ConnectionPools
from miros_mesh.link.kombu_link import KombuLink
from miros_mesh.link.ports import Binding, Broker, Delivery, LinkSettings, QueueSpec
from miros_mesh.link.publisher import BrokerPublisher
from miros_mesh.link.subscriber import BrokerSubscriber
from miros_mesh.observer import Observer

EXCHANGE = "miros_mesh.v1.test"
LIMIT_S = 10.0

SETTINGS = LinkSettings(
    node="test",
    exchanges=(EXCHANGE,),
    observer=Observer(),
    attempts=3,
    connect_timeout_s=2.0,
    heartbeat_interval_s=5.0,
    confirm_timeout_s=10.0,
    confirm_window=100,
    outbox_events=100_000,
    outbox_bytes=64 * 1024 * 1024,
)
"""What a test changes with `replace`, or through the office."""

MakeLink = Callable[[LinkSettings], KombuLink]


@dataclass(eq=False)
class Letter:
    """The smallest parcel: it is sealed from the beginning and never grows."""

    body: bytes
    routing_key: str = "key"
    events: int = 1
    network: str = "test"
    exchange: str = EXCHANGE
    expendable: bool = False
    persistent: bool = True
    closed: bool = False
    refusals: list[tuple[str, LinkError]] = field(default_factory=list)
    stores: int = 0
    routed: int = 0
    drops: int = 0

    @property
    def size_bytes(self) -> int:
        return len(self.body)

    def close(self) -> None:
        self.closed = True

    def seal(self) -> bytes:
        self.closed = True
        return self.body

    def split(self) -> Sequence[Letter]:
        """Two letters of half the text each, when it has two events or more."""
        self.closed = True
        if self.events < 2:
            return ()
        half, events = len(self.body) // 2, self.events // 2
        return (
            replace(self, body=self.body[:half], events=events),
            replace(self, body=self.body[half:], events=self.events - events),
        )

    def refused(self, broker: str, error: LinkError) -> None:
        self.refusals.append((broker, error))

    def stored(self, broker: str, routed: bool) -> None:
        self.stores += 1
        self.routed += routed

    def dropped(self, broker: str) -> None:
        self.drops += 1


def letter(text: str, routing_key: str = "key") -> Letter:
    return Letter(text.encode(), routing_key)


def queue(name: str = "queue", pattern: str = "#", **changes: Any) -> QueueSpec:
    """A private queue, unless `delete_on_stop=False` makes it a lasting one."""
    spec = QueueSpec(
        name=f"miros_mesh.v1.{name}",
        bindings=(Binding(EXCHANGE, pattern),),
        prefetch=200,
        expires_s=60.0,
    )
    return replace(spec, **changes)


class Mailbox:
    """A handler that keeps what comes, and acknowledges it unless told not to."""

    def __init__(self, settle: Callable[[Delivery], object] = lambda delivery: delivery.ack()):
        self.deliveries: list[Delivery] = []
        self._settle = settle
        self._arrived = threading.Condition()

    def __call__(self, delivery: Delivery) -> None:
        with self._arrived:
            self.deliveries.append(delivery)
            self._arrived.notify_all()
        self._settle(delivery)

    @property
    def texts(self) -> list[str]:
        return [delivery.body.decode(errors="replace") for delivery in self.deliveries]

    def expect(self, count: int, timeout_s: float = LIMIT_S) -> list[str]:
        """Wait until so many have come, and return all that came."""
        with self._arrived:
            enough = self._arrived.wait_for(lambda: len(self.deliveries) >= count, timeout_s)
        assert enough, f"only {len(self.deliveries)} of {count} came"
        return self.texts

    def expect_until(self, last: str, timeout_s: float = LIMIT_S) -> list[str]:
        """Wait for this letter, and return all that came before it."""
        with self._arrived:
            came = self._arrived.wait_for(
                lambda: self.deliveries and self.deliveries[-1].body == last.encode(), timeout_s
            )
        assert came, f"{last!r} did not come after {len(self.deliveries)} others"
        return self.texts[:-1]


def keeping(_: Delivery) -> None:
    """What a mailbox does that acknowledges nothing."""


class Notebook(Observer):
    """Notes what a link tells its observer."""

    def __init__(self) -> None:
        self.published_events = 0
        self.drops: Counter[str] = Counter()
        self.ups = 0
        self.downs: list[str] = []
        self.subscriptions = 0

    def published(
        self, *, network: str, peer: str, events: int, size_bytes: int, seconds: float
    ) -> None:
        self.published_events += events

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self.drops[reason] += events

    def peer_up(self, *, peer: str) -> None:
        self.ups += 1

    def peer_down(self, *, peer: str, reason: str) -> None:
        self.downs.append(reason)

    def subscribed(self, *, broker: str) -> None:
        self.subscriptions += 1


class PostOffice:
    """Publishers and subscribers at one broker, each with a link of its own, all ended at last."""

    def __init__(self, make_link: MakeLink, broker: Broker) -> None:
        self.broker = broker
        self._make_link = make_link
        self._ends = ExitStack()

    def link(self, **settings: Any) -> KombuLink:
        made = self._make_link(replace(SETTINGS, **settings))
        self._ends.callback(made.close)
        return made

    def publisher(self, **settings: Any) -> BrokerPublisher:
        """A publisher that is connected."""
        made = self.link(**settings).publisher(self.broker)
        self._ends.callback(made.stop, 1.0)
        made.start()
        made.wait_ready(LIMIT_S)
        return made

    def subscriber(self, name_lock: str | None = None, **settings: Any) -> BrokerSubscriber:
        """A subscriber that is connected."""
        made = self.link(**settings).subscriber(self.broker, name_lock)
        self._ends.callback(made.stop, LIMIT_S)
        made.start()
        made.wait_ready(LIMIT_S)
        return made

    def listen(
        self, spec: QueueSpec, settle: Callable[[Delivery], object] | None = None
    ) -> tuple[BrokerSubscriber, Mailbox]:
        """A new subscriber with one queue, and what comes of it."""
        subscriber, mailbox = self.subscriber(), Mailbox(settle) if settle else Mailbox()
        subscriber.add(spec, mailbox, LIMIT_S)
        return subscriber, mailbox

    @contextmanager
    def connection(self) -> Iterator[kombu.Connection]:
        """A connection of nobody's."""
        pools = ConnectionPools(self.link()._pools._dial)
        made = pools.open(self.broker)
        try:
            yield made
        finally:
            pools.give_back(made, broken=False)

    def size(self, queue: str) -> int:
        """How many messages a queue reports."""
        with self.connection() as connection:
            state = connection.channel().queue_declare(queue=queue, passive=True)
            return int(state.message_count)

    def close(self) -> None:
        self._ends.close()
