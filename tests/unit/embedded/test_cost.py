"""What the embedded broker asks of its database does not grow with the queues that have no news."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from miros_mesh.embedded.memory import MemoryStore
from miros_mesh.embedded.transport import dial
from support.kombu_peer import Peer

FEW, MANY = 2, 60
# As charts have it.
ONE = {"x-single-active-consumer": True}
# The upkeep of once a second may fall into some of them.
TIMES = 5
LARGE_BYTES = 256 * 1024


@pytest.fixture(params=[FEW, MANY])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    """A consumer of a few queues, or of many."""
    made = Peer(MemoryStore().dial())
    for number in range(request.param):
        made.consume(f"queue {number}", f"key.{number}", queue_arguments=ONE)
    made.settle_down()
    yield made
    made.close()


@contextmanager
def counting(peer: Peer) -> Iterator[list[str]]:
    """Collect the statements that the database runs meanwhile."""
    database = peer.connection.connection.store._database._connection
    statements: list[str] = []
    database.set_trace_callback(statements.append)
    yield statements
    database.set_trace_callback(None)


def fewest(peer: Peer, work: Callable[[int], object]) -> int:
    counts = []
    for number in range(TIMES):
        with counting(peer) as statements:
            work(number)
        counts.append(len(statements))
    return min(counts)


def test_an_event_costs_the_same_among_many_idle_queues(peer: Peer) -> None:
    def event(_: int) -> None:
        peer.publish("heard", "key.1")
        assert peer.turn(0)
        peer.ack()
        assert not peer.turn(0)

    assert fewest(peer, event) <= 17


def test_an_event_of_a_shared_queue_costs_one_transaction_more(peer: Peer) -> None:
    peer.consume("shared", "shared.key")
    peer.settle_down()

    def event(_: int) -> None:
        peer.publish("heard", "shared.key")
        assert peer.turn(0)
        peer.ack()
        assert not peer.turn(0)

    assert fewest(peer, event) <= 24


def test_a_declaration_costs_the_same_beside_many_queues(peer: Peer) -> None:
    def declare(number: int) -> None:
        peer.consume(f"another {number}", f"another.{number}")
        assert not peer.turn(0)

    assert fewest(peer, declare) <= 30


def test_a_wake_without_news_reads_no_queue(peer: Peer) -> None:
    def wake(_: int) -> None:
        peer.connection.connection.store.doorbell.ring()
        assert not peer.turn(0)

    assert fewest(peer, wake) == 1


def test_without_a_wake_nothing_is_read(peer: Peer) -> None:
    def turn(_: int) -> None:
        assert not peer.turn(0)

    assert fewest(peer, turn) == 0


def test_to_remove_a_large_message_does_not_write_it_once_more(tmp_path: Path) -> None:
    home = tmp_path / "of_its_own"
    home.mkdir(mode=0o700)
    with dial(home) as connection, connection.channel() as channel:
        channel.queue_declare("q")
        prepared = channel.prepare_message("x" * LARGE_BYTES)
        channel.basic_publish(prepared, "", "q")
        message = channel.basic_get("q")
        assert message is not None
        # The log only grows, until it is copied back, which takes more than this.
        log = home / "broker.db-wal"
        before = log.stat().st_size

        message.ack()

        connection.connection.acknowledgements.flush()
        written = log.stat().st_size - before
        assert channel.queue_declare("q", passive=True).message_count == 0
    assert written < LARGE_BYTES / 2
