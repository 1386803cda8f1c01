"""The link over Kombu: to RabbitMQ, and to the embedded broker."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kombu

from miros_mesh.address import BrokerAddress
from miros_mesh.errors import AddressError
from miros_mesh.forks import importing
from miros_mesh.link.connections import ConnectionPools, Dial
from miros_mesh.link.letter_box import KombuLetterBox
from miros_mesh.link.looks import Looks
from miros_mesh.link.outbox import Outbox
from miros_mesh.link.ports import Broker, LinkSettings
from miros_mesh.link.publisher import BrokerPublisher
from miros_mesh.link.rabbitmq.deadline import StepLimit
from miros_mesh.link.rabbitmq.tls_failures import TlsFiles
from miros_mesh.link.subscriber import BrokerSubscriber
from miros_mesh.link.worker import Worker
from miros_mesh.systems import tcp_user_timeout

if TYPE_CHECKING:
    from miros_mesh.embedded.schema import Durability

# py-amqp's own, one second, is shorter than many an interruption that a network recovers from.
TCP_USER_TIMEOUT_MS = 15_000


class KombuLink:
    """The `Link` port over Kombu; `dial` makes an unconnected connection."""

    def __init__(self, settings: LinkSettings, dial: Dial) -> None:
        self._settings = settings
        self._pools = ConnectionPools(dial, settings.credentials)
        self._looks = Looks(dial, settings.credentials)
        # For `abandon`. Weak, since discovery makes publishers for as long as the node lives.
        self._workers: weakref.WeakSet[Worker] = weakref.WeakSet()

    def publisher(self, broker: Broker, *, patient: bool = False) -> BrokerPublisher:
        """Make a publisher for one broker; a patient one tries to connect until it is stopped."""
        settings = self._settings
        publisher = BrokerPublisher(
            name=f"mesh-{settings.node}-publisher-{broker.name}",
            broker=broker,
            pools=self._pools,
            attempts=None if patient else settings.attempts,
            exchanges=settings.exchanges,
            more_exchanges=settings.more_exchanges,
            transient_exchanges=settings.transient_exchanges,
            # Each peer has an outbox of its own: one that is away must not hold up the others.
            outbox=Outbox(max_events=settings.outbox_events, max_bytes=settings.outbox_bytes),
            window=settings.confirm_window,
            confirm_timeout_s=settings.confirm_timeout_s,
            observer=settings.observer,
        )
        self._workers.add(publisher)
        return publisher

    def subscriber(self, broker: Broker, name_lock: str | None = None) -> BrokerSubscriber:
        """Make a subscriber at one broker; it holds the name `name_lock` there while it runs."""
        subscriber = BrokerSubscriber(
            name=f"mesh-{self._settings.node}-subscriber",
            broker=broker,
            pools=self._pools,
            attempts=self._settings.attempts,
            observer=self._settings.observer,
            name_lock=name_lock,
        )
        self._workers.add(subscriber)
        return subscriber

    def probe(self, broker: Broker) -> None:
        """Connect once and leave; raises the `LinkError` that says what is wrong."""
        # From a pool, as a worker would: all addresses are tried, and the same errors come of it.
        self._pools.give_back(self._pools.open(broker), broken=False)

    def look(
        self,
        broker: Broker,
        *,
        exchange: str,
        marks: Sequence[str],
        timeout_s: float,
        instead: Sequence[str] = (),
    ) -> None:
        """See whether our mesh is at a broker's first address; `Looks.look` says how."""
        self._looks.look(
            broker, exchange=exchange, marks=marks, timeout_s=timeout_s, instead=instead
        )

    @contextmanager
    def letter_box(self, broker: Broker) -> Iterator[KombuLetterBox]:
        """Connect for one visit to what queues keep for people; any thread, any number at once."""
        connection = self._pools.open(broker)
        limit = StepLimit(self._settings.confirm_timeout_s, f"mesh-deadline-{broker.name}")
        box = KombuLetterBox(connection, broker.name, limit)
        try:
            with limit:
                yield box
        finally:
            # An orderly close has the broker read what was acknowledged before.
            self._pools.give_back(connection, broken=box.broken)

    def stop_looking(self) -> None:
        """End every look at once, from any thread; no other begins."""
        self._looks.stop()

    def close(self) -> None:
        """Close every connection to a broker, also those in use."""
        self._pools.close()

    def abandon(self) -> None:
        """In a forked child: let go of what belongs to the parent, which notices nothing."""
        # Their socket pairs are shared: a wake from here would wake the parent's threads.
        for worker in list(self._workers):
            worker.abandon()
        self._looks.abandon()
        self._pools.abandon()


def amqp_link(settings: LinkSettings) -> KombuLink:
    """Make a link to RabbitMQ brokers."""
    with importing():
        from miros_mesh.link.rabbitmq.transport import RabbitTransport  # noqa: PLC0415 - one of two

    def dial(address: BrokerAddress | None) -> kombu.Connection:
        if address is None:
            raise AddressError("a RabbitMQ broker needs an address")
        return kombu.Connection(
            transport=RabbitTransport,
            hostname=address.host,
            port=address.port,
            userid=address.user,
            password=address.password,
            login_method="PLAIN" if address.user else "EXTERNAL",
            virtual_host=address.virtual_host,
            # What `CautiousConnection` hands on to `SSLContext.wrap_socket`.
            ssl=_tls_options(address.host) if address.scheme == "amqps" else False,
            connect_timeout=settings.connect_timeout_s,
            heartbeat=settings.heartbeat_interval_s,
            transport_options=_amqp_options(settings),
        )

    return KombuLink(settings, dial)


def embedded_link(
    settings: LinkSettings, folder: Path, durability: Durability = "process"
) -> KombuLink:
    """Make a link between processes of one machine, through a folder of their user's alone."""
    with importing():
        from miros_mesh.embedded import transport as embedded  # noqa: PLC0415 - one of two

    # The address is None: an embedded broker has a folder, and `Broker.addresses` is empty.
    return KombuLink(settings, lambda _: embedded.dial(folder, durability))


def _tls_options(host: str) -> dict[str, Any]:
    # py-amqp shakes hands itself, with a limit to waiting.
    return {"server_hostname": host, "do_handshake_on_connect": False}


def _amqp_options(settings: LinkSettings) -> dict[str, Any]:
    return {
        # RabbitMQ shows it in its list of connections, so that an operator finds the node.
        "client_properties": {"connection_name": f"miros_mesh {settings.node}"},
        "tls": TlsFiles(settings.ca_file, settings.cert_file, settings.key_file),
        "socket_settings": tcp_user_timeout(TCP_USER_TIMEOUT_MS),
    }
