"""A process that consumes a queue beside others, and writes down what it handles."""

from __future__ import annotations

import json
import queue
import sys
import time
from pathlib import Path

from miros_mesh.address import BrokerAddress
from miros_mesh.link.kombu_link import amqp_link, embedded_link
from miros_mesh.link.ports import Broker, Delivery, QueueSpec
from support.post_office import LIMIT_S, SETTINGS
from support.post_office import queue as spec_of


def spec(consumers: str) -> QueueSpec:
    """The queue of all of them."""
    return spec_of(
        "shared", prefetch=20, replicated=True, delete_on_stop=False, consumers=consumers
    )


def main(place: str, consumers: str, file: str) -> None:
    """Handle one delivery after the other, until killed."""
    if place.startswith("amqp"):
        address = BrokerAddress.parse(place)
        link, broker = amqp_link(SETTINGS), Broker("rabbitmq", (address,))
    else:
        link, broker = embedded_link(SETTINGS, Path(place)), Broker("embedded")
    subscriber = link.subscriber(broker)
    subscriber.start()
    subscriber.wait_ready(LIMIT_S)
    taken: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    subscriber.add(spec(consumers), taken.put, LIMIT_S)
    sys.stdout.write(json.dumps({"ready": True}) + "\n")
    sys.stdout.flush()
    with Path(file).open("w", buffering=1) as lines:
        while True:
            delivery = taken.get()
            line = [time.monotonic(), int(delivery.body), delivery.deliveries]
            lines.write(json.dumps(line) + "\n")
            delivery.ack()


if __name__ == "__main__":
    main(*sys.argv[1:])
