"""The broker inside one process, shared by threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import amqp
import pytest

from miros_mesh.embedded.memory import MemoryStore, Publication
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


def test_a_connection_may_have_its_publications_altered_without_its_notice() -> None:
    store, asked = MemoryStore(), list[Publication]()

    def pass_on(publication: Publication) -> list[Publication]:
        asked.append(publication)
        return [publication] * int(publication.body.decode().split()[-1])

    reader, altered = Peer(store.dial()), Peer(store.dial(pass_on))
    reader.consume("queue")
    for number in (0, 1, 2):
        altered.publish(f"copies: {number}")
    came = ["copies: 1", "copies: 2", "copies: 2"]
    assert reader.drain(3) == came
    assert len(asked) == 3
    # What was taken out can be stored later, by any thread
    store.publish(asked[0])
    assert reader.drain(4) == [*came, "copies: 0"]
    reader.ack()
    reader.close()
    altered.close()


def test_a_store_counts_what_was_not_acknowledged() -> None:
    store = MemoryStore()
    reader = Peer(store.dial())
    reader.consume("queue")
    reader.publish("one")
    assert [each.messages for each in store.queues()] == [1]
    reader.drain(1)
    assert [each.messages for each in store.queues()] == [1]
    reader.ack()
    assert [(each.messages, each.consumers) for each in store.queues()] == [(0, 1)]
    assert [name for name, _, _ in store.bindings()] == ["queue"]
    reader.close()
