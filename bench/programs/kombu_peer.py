"""Plain Kombu: with a confirm for each message, stored and acknowledged, or with none of it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any

import kombu

import talk

PREFETCH = 100


def main() -> None:
    """Play a role until the input ends."""
    settings = talk.settings()
    confirmed = settings["confirmed"]
    options = {"confirm_publish": confirmed}
    with (
        suppress(OSError),
        kombu.Connection(settings["url"], transport_options=options) as connection,
    ):
        channel = connection.channel()
        queue = kombu.Queue(settings["topic"], durable=confirmed, auto_delete=not confirmed)
        queue = queue(channel)
        queue.declare()
        if settings["role"] == "receiver":
            _receive(connection, channel, queue, confirmed=confirmed)
        else:
            producer = kombu.Producer(channel, auto_declare=False)
            plain: dict[str, Any] = {
                "routing_key": settings["topic"],
                "delivery_mode": 2 if confirmed else 1,
                "content_type": "application/octet-stream",
                "content_encoding": "binary",
                "retry": False,
            }
            talk.send(lambda number, filled: producer.publish(talk.body(number, filled), **plain))


def _receive(connection: Any, channel: Any, queue: Any, *, confirmed: bool) -> None:
    counter = talk.Counter()

    def on_message(message: Any) -> None:
        counter.count(message.body)
        if confirmed:
            message.ack()

    def drain() -> None:
        # Until the socket is shut down: a time-out would cost each message.
        with suppress(OSError):
            while True:
                connection.drain_events()

    if confirmed:
        channel.basic_qos(0, PREFETCH, a_global=False)
    consumer = kombu.Consumer(
        channel, [queue], on_message=on_message, no_ack=not confirmed, auto_declare=False
    )
    consumer.consume()
    drainer = threading.Thread(target=drain)
    drainer.start()
    talk.receive(counter.listen, in_order=True)
    connection.connection.sock.shutdown(socket.SHUT_RDWR)
    drainer.join()


if __name__ == "__main__":
    main()
