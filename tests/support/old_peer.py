"""What a node of miros-rabbitmq does at its broker, for tests without the real one."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kombu
from cryptography.fernet import Fernet
from miros import Event

from support.charts_at_work import KEY
from support.waiting import wait_until

MESH, TRACE, SPY = (
    "miros.mesh.exchange",
    "miros.snoop.trace.exchange",
    "miros.snoop.spy.exchange",
)
ADDRESS = "192.168.1.75"
TOPIC = "heya.man"


class OldPeer:
    """Publishes and consumes at the ancestor's exchanges, as its pika does."""

    def __init__(self, connection: kombu.Connection, key: bytes = KEY) -> None:
        self._fernet = Fernet(key)
        self._channel = connection.channel()
        self._producer = kombu.Producer(self._channel, auto_declare=False)
        for exchange in (MESH, TRACE, SPY):
            self._channel.exchange_declare(exchange, "topic", durable=False, auto_delete=False)
        self._queues = {exchange: self._declared(exchange) for exchange in (MESH, TRACE, SPY)}

    def _declared(self, exchange: str) -> str:
        queue = str(
            self._channel.queue_declare(
                "", exclusive=True, arguments={"x-message-ttl": 50_000}
            ).queue
        )
        self._channel.queue_bind(queue, exchange, "#")
        return queue

    def transmit(
        self, signal: str, payload: Any = None, *, address: str = ADDRESS, topic: str = TOPIC
    ) -> bytes:
        """Send an event; return its body."""
        text = Event.dumps(Event(signal=signal, payload=payload))
        body = self._fernet.encrypt(pickle.dumps((address, text), 3))
        self.publish(body, MESH, topic)
        return body

    def scout(self) -> None:
        """Knock, as its scout does."""
        self.publish(self._fernet.encrypt(pickle.dumps("4D1F09A3C2E7")), MESH, TOPIC)

    def trace(self, line: str) -> None:
        self.publish(self._fernet.encrypt(pickle.dumps(line, 3)), TRACE, "snoop.trace")

    def spy(self, line: str) -> None:
        self.publish(self._fernet.encrypt(pickle.dumps(line, 3)), SPY, "snoop.spy")

    def publish(self, body: bytes, exchange: str, topic: str) -> None:
        self._producer.publish(
            body,
            exchange=exchange,
            routing_key=topic,
            content_type="application/json",
            content_encoding="binary",
            delivery_mode=1,
            app_id="miros-rabbitmq-publisher",
        )

    def bodies(self, exchange: str) -> list[Any]:
        """What has come since the last call, unpickled as it does; from whomever."""
        found = []
        while message := self._channel.basic_get(self._queues[exchange], no_ack=True):
            found.append(pickle.loads(self._fernet.decrypt(bytes(message.body))))
        return found

    def heard(self, amount: int) -> list[tuple[str, str, Any]]:
        """Address, signal and payload of the next events of others, once there are so many."""
        events: list[tuple[str, str, Any]] = []

        def enough() -> bool:
            for address, text in self.bodies(MESH):
                event = Event.loads(text)
                if address != ADDRESS:
                    events.append((address, event.signal_name, event.payload))
            return len(events) >= amount

        wait_until(enough)
        return events


@contextmanager
def old_peer(url: str) -> Iterator[OldPeer]:
    """A peer at a broker."""
    with kombu.Connection(url) as connection:
        yield OldPeer(connection)
