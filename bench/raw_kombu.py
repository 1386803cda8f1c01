"""Requests over Kombu alone, as fast as that can be told to be: RabbitMQ's direct reply-to.

Nothing is confirmed, acknowledged, kept on disk, encrypted or decoded, and one thread does it all.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import kombu
from kombu.transport.pyamqp import Channel

from asking import Asked, Requests, summary
from chart import FILLER
from miros_mesh.address import BrokerAddress

# A queue that is none: what is published to it goes straight to the channel that asked.
REPLY_TO = "amq.rabbitmq.reply-to"
_PLAIN = {
    "exchange": "",
    "delivery_mode": 1,
    "content_type": "application/octet-stream",
    "content_encoding": "binary",
    "retry": False,
}


def answer(connection: Connection, address: BrokerAddress, queue: str) -> None:
    """Answer each request with what it brought, until the parent ends."""
    with _connected(address) as broker:
        channel = broker.channel()
        producer = kombu.Producer(channel, auto_declare=False)

        def on_message(message: Any) -> None:
            properties = message.properties
            producer.publish(
                message.body,
                routing_key=properties["reply_to"],
                correlation_id=properties["correlation_id"],
                **_PLAIN,
            )

        own = kombu.Queue(queue, durable=False, auto_delete=True)(channel)
        own.declare()
        _consume(channel, own, on_message)
        threading.Thread(target=_hang_up, args=(connection, broker), daemon=True).start()
        connection.send("ready")
        with suppress(OSError):
            while True:
                broker.drain_events()


def ask(connection: Connection, address: BrokerAddress, queue: str) -> None:
    """Send requests when told to."""
    with _connected(address) as broker:
        client = _Client(broker, queue)
        connection.send("ready")
        while requests := connection.recv():
            connection.send(client.run(requests))


class _Client:
    def __init__(self, broker: kombu.Connection, queue: str) -> None:
        self._broker = broker
        self._queue = queue
        channel = broker.channel()
        self._producer = kombu.Producer(channel, auto_declare=False)
        self._body = FILLER.encode()
        self._sent = 0
        self._answered: Callable[[str], None] = lambda _: None
        _consume(channel, kombu.Queue(REPLY_TO, no_declare=True)(channel), self._on_message)

    def run(self, requests: Requests) -> Asked:
        took_s = [self._alone() for _ in range(requests.alone)]
        began = time.perf_counter()
        self._many(requests.sustained, requests.in_flight)
        return summary(took_s, requests.sustained, time.perf_counter() - began)

    def _alone(self) -> float:
        answers: list[str] = []
        self._answered = answers.append
        began = time.perf_counter()
        wanted = self._send()
        while wanted not in answers:
            self._broker.drain_events()
        return time.perf_counter() - began

    def _many(self, sustained: int, in_flight: int) -> None:
        waiting: set[str] = set()
        last = self._sent + sustained

        def answered(number: str) -> None:
            waiting.remove(number)
            if self._sent < last:
                waiting.add(self._send())

        self._answered = answered
        while len(waiting) < min(in_flight, sustained):
            waiting.add(self._send())
        while waiting:
            self._broker.drain_events()

    def _send(self) -> str:
        self._sent += 1
        number = str(self._sent)
        self._producer.publish(
            self._body,
            routing_key=self._queue,
            reply_to=REPLY_TO,
            correlation_id=number,
            **_PLAIN,
        )
        return number

    def _on_message(self, message: Any) -> None:
        self._answered(message.properties["correlation_id"])


def _hang_up(connection: Connection, broker: kombu.Connection) -> None:
    """End the wait for requests when the parent says so: a time-out would cost each of them."""
    with suppress(EOFError):
        connection.recv()
    broker.connection.sock.shutdown(socket.SHUT_RDWR)


def _connected(address: BrokerAddress) -> kombu.Connection:
    connection = kombu.Connection(
        hostname=address.host,
        port=address.port,
        userid=address.user,
        password=address.password,
        virtual_host=address.virtual_host,
    )
    connection.connect()
    return connection


def _consume(channel: Channel, queue: kombu.Queue, on_message: Callable[[Any], None]) -> None:
    consumer = kombu.Consumer(
        channel, [queue], on_message=on_message, no_ack=True, auto_declare=False
    )
    consumer.consume()
