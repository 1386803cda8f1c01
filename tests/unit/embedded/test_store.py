"""The broker inside one process, shared by threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import amqp
import pytest

from miros_mesh.embedded.memory import MemoryStore
from support.kombu_peer import Peer

EACH = 1_000
SENDERS = ("left", "right")
LIMIT_S = 20.0


def send(store: MemoryStore, name: str) -> None:
    peer = Peer(store.dial())
    for number in range(EACH):
        peer.publish(f"{name} {number}")
    peer.close()


def receive(store: MemoryStore, queue: str, ready: threading.Barrier) -> list[str]:
    peer = Peer(store.dial())
    peer.consume(queue, prefetch=0)
    ready.wait(LIMIT_S)
    bodies = peer.drain(len(SENDERS) * EACH)
    peer.ack()
    peer.close()
    return bodies


def test_threads_that_share_a_store_lose_nothing_and_keep_each_senders_order() -> None:
    store, ready = MemoryStore(), threading.Barrier(3)
    with ThreadPoolExecutor() as pool:
        receivers = [pool.submit(receive, store, queue, ready) for queue in ("a", "b")]
        ready.wait(LIMIT_S)
        senders = [pool.submit(send, store, name) for name in SENDERS]

    assert all(sender.result() is None for sender in senders)
    for receiver, name in product(receivers, SENDERS):
        own = [body for body in receiver.result() if body.startswith(name)]
        assert own == [f"{name} {number}" for number in range(EACH)]


def test_two_stores_know_nothing_of_each_other() -> None:
    one, other = MemoryStore(), MemoryStore()
    listener, sender = Peer(one.dial()), Peer(other.dial())
    listener.consume("queue")

    sender.publish("elsewhere")

    assert listener.settle_down() == []
    listener.close()
    sender.close()


def test_a_forgotten_connection_frees_its_queue() -> None:
    store = MemoryStore()
    forgotten, heir = Peer(store.dial()), Peer(store.dial())
    forgotten.consume("queue")
    with pytest.raises(amqp.ResourceLocked):
        heir.channel.basic_get("queue")

    forgotten.connection.collect()

    assert heir.channel.basic_get("queue") is None
    heir.close()
