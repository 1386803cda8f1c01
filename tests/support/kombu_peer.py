"""One end of a Kombu conversation, used alike for every broker and in every process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import kombu

EXCHANGE = "test.exchange"
LIMIT_S = 10.0
QUIET_S = 0.15


def text(body: bytes | memoryview | str) -> str:
    """A body as text; py-amqp gives an empty one as a `str`."""
    return body if isinstance(body, str) else bytes(body).decode()


class Peer:
    """A connection, a channel, and the messages that came."""

    def __init__(self, connection: kombu.Connection) -> None:
        self.connection = connection
        connection.ensure_connection(max_retries=0, reraise_as_library_errors=False)
        self.channel = connection.channel()
        self.received: list[Any] = []
        kombu.Exchange(EXCHANGE, type="topic")(self.channel).declare()
        self._producer = kombu.Producer(self.channel, auto_declare=False)

    def declare(self, queue: str, pattern: str = "#", **options: Any) -> kombu.Queue:
        """A queue bound to the exchange; keyword arguments are kombu's."""
        exchange = kombu.Exchange(EXCHANGE, type="topic")
        declared = kombu.Queue(queue, exchange=exchange, routing_key=pattern, **options)
        declared(self.channel).declare()
        return declared

    def publish(self, body: bytes | str, routing_key: str = "key", **options: Any) -> None:
        """As the link publishes."""
        content = body.encode() if isinstance(body, str) else body
        self._producer.publish(
            content,
            **{"exchange": EXCHANGE, **options},
            routing_key=routing_key,
            delivery_mode=2,
            content_type="application/octet-stream",
            content_encoding="binary",
        )

    def consume(
        self,
        queue: str,
        pattern: str = "#",
        *,
        prefetch: int = 200,
        on_message: Callable[[Any], object] | None = None,
        **options: Any,
    ) -> kombu.Consumer:
        """Declare, bind and consume; messages go to `received` or to the callback."""
        consumer = kombu.Consumer(
            self.channel,
            [self.declare(queue, pattern, **options)],
            on_message=on_message or self.received.append,
            prefetch_count=prefetch,
            auto_declare=False,
        )
        consumer.consume()
        return consumer

    def drain(self, count: int) -> list[str]:
        """Wait until `count` messages have come, and return all bodies so far."""
        deadline = time.monotonic() + LIMIT_S
        while len(self.received) < count:
            assert time.monotonic() < deadline, f"only {len(self.received)} of {count} came"
            self.turn(QUIET_S)
        return self.bodies()

    def settle_down(self) -> list[str]:
        """Drain until nothing more comes, and return all bodies so far."""
        while self.turn(QUIET_S):
            pass
        return self.bodies()

    def turn(self, timeout_s: float) -> bool:
        """One drain; whether something came."""
        try:
            self.connection.drain_events(timeout=timeout_s)
        except TimeoutError:
            return False
        return True

    def bodies(self) -> list[str]:
        """What came, as text."""
        return [text(message.body) for message in self.received]

    def ack(self) -> None:
        """Acknowledge all that came, and forget it."""
        for message in self.received:
            message.ack()
        self.received.clear()

    def size(self, queue: str) -> int:
        """How many messages a queue reports."""
        count: int = self.channel.queue_declare(queue=queue, passive=True).message_count
        return count

    def close(self) -> None:
        """Leave in good order."""
        self.connection.release()
