"""What is stored on a thread that is to wait for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import kombu
import pytest

from miros_mesh.embedded import transport
from miros_mesh.embedded.schema import open_file
from miros_mesh.embedded.store import Store
from support.kombu_peer import Peer

EXCHANGE = "amq.topic"
IN_A_ROW = 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the broker is."""
    return tmp_path / "broker"


@pytest.fixture
def connection(folder: Path) -> Iterator[kombu.Connection]:
    """A connection that publishes."""
    with transport.dial(folder) as made:
        made.connect()
        yield made


def stored_at_once(store: Store) -> int | None:
    return store.publish_at_once(EXCHANGE, "key", b"", b"body")


def checkpoints(store: Store) -> int:
    ((pages,),) = store._database.read("PRAGMA wal_autocheckpoint")
    return int(pages)


def test_a_store_that_another_process_writes_to_is_left_alone(
    folder: Path, connection: kombu.Connection
) -> None:
    store: Store = connection.connection.store
    with closing(open_file(folder)) as other, other.write():
        assert stored_at_once(store) is None
    assert stored_at_once(store) == 0


def test_now_and_then_one_is_left_to_who_may_wait_for_the_disk(
    connection: kombu.Connection,
) -> None:
    store: Store = connection.connection.store
    pages = checkpoints(store)

    assert [stored_at_once(store) for _ in range(IN_A_ROW)] == [0] * IN_A_ROW
    assert checkpoints(store) == 0
    assert stored_at_once(store) is None
    store.publish(EXCHANGE, "key", b"", b"body")

    assert checkpoints(store) == pages
    assert stored_at_once(store) == 0


def test_what_is_stored_at_once_is_delivered(folder: Path, connection: kombu.Connection) -> None:
    peer = Peer(transport.dial(folder))
    peer.consume("heard", "key")
    channel = connection.channel()

    message = channel.prepare_message("body", content_type="text/plain", content_encoding="utf-8")
    assert channel.publish_at_once(message, "test.exchange", "key")

    assert peer.drain(1) == ["body"]
    peer.close()


def test_a_dead_consumer_is_left_to_the_upkeep(folder: Path, connection: kombu.Connection) -> None:
    dead, next_in_line = Peer(transport.dial(folder)), Peer(transport.dial(folder))
    for each in (dead, next_in_line):
        each.consume("heard", "key", queue_arguments={"x-single-active-consumer": True})
        each.settle_down()
    dead.connection.connection.store.abandon()
    channel = connection.channel()

    message = channel.prepare_message("body", content_type="text/plain", content_encoding="utf-8")
    assert channel.publish_at_once(message, "test.exchange", "key")

    assert next_in_line.drain(1) == ["body"]
    next_in_line.close()
