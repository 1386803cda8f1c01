"""Dead letters put where charts and brokers leave them, for tests of who looks at them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kombu

from miros_mesh import MeshConfig
from miros_mesh.config.key_rings import KeyRings
from miros_mesh.link.kombu_link import KombuLink
from miros_mesh.link.rabbitmq.queues import LETTERS, letters
from miros_mesh.networks.letters.letter import letter_codec
from miros_mesh.networks.letters.local import LocalLetters
from miros_mesh.node.link_settings import link_settings
from miros_mesh.node.node import home_broker, home_link
from miros_mesh.node.queues import chart_queue
from miros_mesh.observer import Observer
from miros_mesh.wire.envelope import DeadLetter, Envelope
from miros_mesh.wire.serializer import MsgpackSerializer

TOPIC = "miros.mesh"
MIB = 1024 * 1024


def refused(
    signal: str = "knock",
    payload: Any = None,
    *,
    node: str = "house",
    chart: str = "door",
    number: int = 1,
    **changes: Any,
) -> DeadLetter:
    """A letter of a chart that refused an event; `changes` are other fields of it."""
    data = MsgpackSerializer().dumps(payload)
    event = Envelope("street", "bell", "1ncarnation", number, signal, data, time.time())
    facts: dict[str, Any] = {
        "node": node,
        "chart": chart,
        "incarnation": "0urs",
        "sequence": number,
        "time": time.time(),
        "reason": "handler",
        "detail": "ZeroDivisionError",
        "exchange": "miros_mesh.v1.mesh",
        "routing_key": TOPIC,
        "queue": chart_queue(node, chart, TOPIC),
        "deliveries": 5,
        "size_bytes": len(data),
        "digest": hashlib.sha256(data).hexdigest(),
        "event": event,
    }
    return DeadLetter(**facts | changes)


def sealed(config: MeshConfig, letter: DeadLetter) -> bytes:
    """The letter under the key of a mesh."""
    codec = letter_codec(KeyRings(config)["mesh"], 64 * MIB)
    return codec.seal([codec.encode(letter)], letter.reason)


def keep(config: MeshConfig, *given: DeadLetter | bytes) -> None:
    """Put letters into the queue at the home broker, as charts do."""
    with connection(config) as made:
        channel = made.channel()
        letters()(channel).declare()
        producer = kombu.Producer(channel, auto_declare=False)
        for each in given:
            body = each if isinstance(each, bytes) else sealed(config, each)
            producer.publish(body, exchange=LETTERS, routing_key="any", content_encoding="binary")
        channel.close()


def keep_here(config: MeshConfig, *letters: DeadLetter) -> None:
    """Put letters into the local store, as nodes do."""
    local = LocalLetters(config.home_folder)
    local.add(*(sealed(config, each) for each in letters), node="house")


def waiting(config: MeshConfig) -> int:
    """How many letters the home broker has, when none is looked at."""
    with connection(config) as made, made.channel() as channel:
        return int(channel.queue_declare(queue=LETTERS, passive=True).message_count)


@contextmanager
def connection(config: MeshConfig) -> Iterator[kombu.Connection]:
    """A connection to the home broker, of whatever kind."""
    settings = link_settings(config, node="test", exchanges=(), observer=Observer())
    link = home_link(config, settings)
    assert isinstance(link, KombuLink)
    made = link._pools.open(home_broker(config))
    try:
        yield made
    finally:
        link._pools.give_back(made, broken=False)
        link.close()
