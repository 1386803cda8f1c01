"""What only the embedded broker promises: many processes, sudden deaths, a folder of one's own."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sqlite3
import stat
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest

from miros_mesh.embedded import database, doorbell, schema
from miros_mesh.embedded.transport import dial as embedded
from miros_mesh.errors import DiskFullError, EmbeddedStoreError, StoreUnavailableError
from support.actor import Actor
from support.kombu_peer import EXCHANGE, Peer, text
from support.waiting import wait_until

SCRIPT = Path(__file__).with_name("embedded_actor.py")
BURST = 5_000
SENDERS = ("left", "right")
ONE = {"x-single-active-consumer": True}
SHARED: dict[str, Any] = {}
TAKEN_OVER_S = 2.0

Record = Callable[[str, object], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that no broker has seen yet."""
    return tmp_path / "broker"


@pytest.fixture
def peer(folder: Path) -> Iterator[Peer]:
    """One connected peer in this process."""
    made = Peer(embedded(folder))
    yield made
    made.close()


def play(stack: ExitStack, role: str, *arguments: object) -> Actor:
    return stack.enter_context(Actor(SCRIPT, role, *arguments))


def gone(peer: Peer, queue: str) -> bool:
    try:
        peer.size(queue)
    except amqp.NotFound:
        return True
    return False


# Many processes


def test_a_burst_of_two_senders_reaches_two_queues_whole_once_and_in_order(
    folder: Path, record_property: Record
) -> None:
    with ExitStack() as stack:
        receivers = [
            play(stack, "receive", folder, queue, len(SENDERS) * BURST) for queue in ("a", "b")
        ]
        senders = [play(stack, "send", folder, name, BURST, 200) for name in SENDERS]
        for actor in receivers + senders:
            assert actor.heard() == {"ready": True}

        for sender in senders:
            sender.tell()

        sent = [sender.heard()["rate"] for sender in senders]
        results = [receiver.heard() for receiver in receivers]

    for result in results:
        for name in SENDERS:
            own = [body for body in result["bodies"] if body.startswith(name)]
            assert own == [f"{name} {number}" for number in range(BURST)]
    record_property("published_per_s", round(sum(sent)))
    record_property("received_per_s", round(results[0]["rate"]))


def test_an_idle_consumer_is_woken_by_a_message_and_waits_for_no_turn_of_its_own(
    folder: Path, record_property: Record
) -> None:
    count = 200
    with Actor(SCRIPT, "answer_times", folder, "queue", count) as receiver:
        receiver.heard()
        sender = Peer(embedded(folder))
        for answered in range(count):
            sender.publish(str(time.time()))
            while receiver.heard()["answered"] <= answered:
                pass
        delays = sorted(receiver.heard()["delays"])
        sender.close()

    median, late = statistics.median(delays), delays[int(0.99 * count)]
    record_property("median_ms", 1e3 * median)
    record_property("p99_ms", 1e3 * late)
    # A consumer looks by itself after a second. How soon it is woken is shown by the benchmarks.
    assert median < 0.5


def test_an_idle_consumer_takes_hardly_any_time_of_the_processor(
    folder: Path, record_property: Record
) -> None:
    with Actor(SCRIPT, "idle", folder, "queue", 1.0) as consumer:
        share = consumer.heard()["cpu_share"]

    record_property("cpu_share", share)
    assert share < 0.02


def test_eight_processes_that_bind_at_once_lose_no_binding(folder: Path) -> None:
    names, each = [f"process{number}" for number in range(8)], 10
    with ExitStack() as stack:
        binders = [play(stack, "bind", folder, name, each) for name in names]
        for binder in binders:
            binder.heard()
        for binder in binders:
            binder.tell()
        for binder in binders:
            assert binder.heard() == {"done": True}

    sender = Peer(embedded(folder))
    expected = [(f"{name}-{n}", EXCHANGE, f"{name}.{n}") for name in names for n in range(each)]
    assert sender.channel.list_bindings() == expected
    for name in names:
        sender.publish("found", f"{name}.{each - 1}")
        assert sender.size(f"{name}-{each - 1}") == 1
    sender.close()


# Sudden deaths


def test_a_killed_consumer_loses_nothing_but_what_it_acknowledged(folder: Path, peer: Peer) -> None:
    peer.declare("queue", expires=60)
    for number in range(10):
        peer.publish(str(number))
    with Actor(SCRIPT, "hold", folder, "queue", 60, 10, 4) as consumer:
        consumer.heard()
        assert consumer.heard()["bodies"] == [str(number) for number in range(10)]
        consumer.kill()

    peer.publish("10")
    peer.consume("queue", expires=60)

    assert peer.drain(7) == [str(number) for number in range(4, 11)]
    assert all(message.delivery_info["redelivered"] for message in peer.received[:6])


def test_a_consumer_killed_in_a_burst_is_succeeded_without_a_gap(folder: Path, peer: Peer) -> None:
    peer.declare("queue")
    total = 3_000
    with ExitStack() as stack:
        doomed = play(stack, "receive", folder, "queue", total + 1)
        doomed.heard()
        sender = play(stack, "send", folder, "left", total, 200)
        sender.heard()
        sender.tell()
        # Amid the burst: what was received is not all settled.
        wait_until(lambda: peer.size("queue") > 10)
        doomed.kill()
        left = peer.size("queue")
        peer.consume("queue", prefetch=0)
        sender.heard()
        peer.drain(left)
        bodies = [body.strip() for body in peer.settle_down()]

    assert bodies == [f"left {number}" for number in range(total - len(bodies), total)]


def test_a_killed_sender_leaves_whole_messages_only(folder: Path, peer: Peer) -> None:
    peer.consume("one", prefetch=0)
    peer.consume("two", prefetch=0)
    with Actor(SCRIPT, "send_forever", folder, "left") as sender:
        wait_until(lambda: sender.heard()["stored"] > 200)
        sender.kill()
        stored = [line["stored"] for line in sender.lines_until_end()]

    bodies = peer.settle_down()

    last = max([200, *stored])
    for queue_bodies in (bodies[0::2], bodies[1::2]):
        assert queue_bodies[: last + 1] == [f"left {number}" for number in range(last + 1)]
        assert len(queue_bodies) - last - 1 in (0, 1)


def test_the_queue_of_a_killed_consumer_expires_once_it_is_missed(folder: Path, peer: Peer) -> None:
    with Actor(SCRIPT, "hold", folder, "queue", 0.3, 1, 0) as consumer:
        consumer.heard()
        peer.publish("never handled")
        consumer.heard()
        assert not gone(peer, "queue")
        consumer.kill()

    wait_until(lambda: gone(peer, "queue"))
    assert peer.channel.list_bindings() == []


def test_an_expired_queue_goes_while_others_only_publish(folder: Path, peer: Peer) -> None:
    peer.declare("queue", expires=0.2)
    stored = peer.connection.connection.store._database

    def publish_and_count() -> bool:
        peer.publish("growing")
        return not stored.read("SELECT 1 FROM queues UNION SELECT 1 FROM messages")

    wait_until(publish_and_count)


def test_a_process_that_stopped_in_a_write_holds_nobody_for_ever(
    folder: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PATIENCE_S", 0.2)
    with Actor(SCRIPT, "lock", folder) as other:
        other.heard()
        other.signal(signal.SIGSTOP)

        with pytest.raises(StoreUnavailableError, match="stayed locked"):
            peer.publish("waits")

        other.kill()
    peer.publish("goes on")


def test_a_forked_child_cannot_use_nor_keep_alive_what_its_parent_opened(
    folder: Path, peer: Peer
) -> None:
    with Actor(SCRIPT, "fork", folder, "queue") as parent:
        facts = parent.heard()
        assert facts["reconnects"]
        assert "before this process forked" in parent.heard()["refused"]
        assert parent.heard() == {"done": True}
        assert peer.size("of-the-child") == 0
        with pytest.raises(amqp.ResourceLocked):
            peer.channel.basic_get("queue")

        parent.kill()

        peer.consume("queue")
        peer.publish("heard")
        assert peer.drain(1) == ["heard"]
        os.kill(facts["pid"], signal.SIGKILL)


# Several consumers of a queue


def test_who_fetches_single_messages_has_the_queue_alone(folder: Path, peer: Peer) -> None:
    """Else a letter that one operator looks at would be missing from another's list."""
    other = Peer(embedded(folder))
    peer.declare("queue")
    peer.publish("letter")
    message = peer.channel.basic_get("queue")

    with pytest.raises(amqp.ResourceLocked, match="has a consumer already"):
        other.consume("queue")
    with pytest.raises(amqp.ResourceLocked, match="has a consumer already"):
        other.channel.basic_get("queue")

    assert text(message.body) == "letter"
    peer.close()
    other.consume("queue")
    assert other.drain(1) == ["letter"]
    other.close()


def test_a_connection_consumes_a_queue_once(peer: Peer) -> None:
    peer.consume("queue")

    with pytest.raises(amqp.ResourceLocked, match="has a consumer already"):
        peer.consume("queue")


@pytest.mark.parametrize("while_published", [False, True], ids=["idle", "published to"])
@pytest.mark.parametrize("arguments", [ONE, SHARED], ids=["one", "shared"])
def test_what_a_killed_consumer_had_is_soon_with_the_next(
    folder: Path, peer: Peer, arguments: dict[str, Any], *, while_published: bool
) -> None:
    # Given a consumer that holds six of ten messages, and one that waits for them
    with Actor(SCRIPT, "hold", folder, "queue", 60, 10, 4, json.dumps(arguments)) as consumer:
        consumer.heard()
        for number in range(10):
            peer.publish(str(number))
        assert consumer.heard()["bodies"] == [str(number) for number in range(10)]
        peer.consume("queue", expires=60, queue_arguments=arguments)
        peer.publish("10")
        peer.settle_down()
        peer.ack()
        before = peer.size("queue")

        # When it is killed
        consumer.kill()
        killed_at = time.monotonic()

    # Then the next one has them in time, in order, each counted as given back once
    if while_published:
        peer.publish("11")
        limit_s = 0.5
    else:
        limit_s = TAKEN_OVER_S
    held = [str(number) for number in range(4, 10)]
    bodies = peer.drain(before + while_published)
    assert time.monotonic() - killed_at < limit_s
    assert [body for body in bodies if body in held] == held
    counts = [m.headers.get("x-delivery-count") for m in peer.received if text(m.body) in held]
    assert counts == [1] * 6
    if arguments is ONE:
        assert bodies[:7] == [*held, "10"]


def test_the_death_of_one_that_waits_changes_nothing(folder: Path, peer: Peer) -> None:
    peer.consume("queue", expires=60, queue_arguments=ONE)
    with Actor(SCRIPT, "hold", folder, "queue", 60, 0, 0, json.dumps(ONE)) as waiting:
        waiting.heard()
        waiting.heard()
        peer.publish("before")
        assert peer.drain(1) == ["before"]
        waiting.kill()
    store = peer.connection.connection.store

    store.keep_up(at_once=True)
    peer.publish("after")

    assert peer.drain(2) == ["before", "after"]
    assert not any("x-delivery-count" in message.headers for message in peer.received)
    assert peer.channel.queue_declare("queue", passive=True).consumer_count == 1


def test_one_that_was_taken_for_dead_claims_nothing(folder: Path, peer: Peer) -> None:
    """What would be claimed in its name would be in no one's hands."""
    other = Peer(embedded(folder))
    peer.consume("queue", queue_arguments=SHARED, on_message=lambda message: message.ack())
    store = peer.connection.connection.store
    other.connection.connection.store._upkeep.bury(store.doorbell.address)
    other.consume("queue", queue_arguments=SHARED)
    other.publish("heard")

    with pytest.raises(amqp.ConsumerCancelled):
        peer.turn(0)

    assert other.drain(1) == ["heard"]
    other.close()


def test_a_dropped_connection_frees_its_queue_at_once(folder: Path, peer: Peer) -> None:
    other = Peer(embedded(folder))
    other.consume("queue", queue_arguments=ONE)
    other.publish("unsettled")
    other.drain(1)

    other.connection.collect()
    peer.consume("queue", queue_arguments=ONE)

    assert peer.drain(1) == ["unsettled"]
    assert peer.received[0].delivery_info["redelivered"]


# The file descriptor


def test_the_file_descriptor_is_readable_just_while_there_is_work(peer: Peer) -> None:
    def readable() -> bool:
        return bool(select.select([peer.connection.connection.fileno()], (), (), 0)[0])

    peer.consume("queue", prefetch=2)
    peer.settle_down()
    assert not readable()

    for body in "abc":
        peer.publish(body)
    assert readable()
    peer.turn(0)
    assert readable(), "a second message is ready"
    peer.settle_down()
    assert not readable(), "the prefetch holds the third back"

    peer.received[0].ack()
    assert readable(), "the third may come now"
    assert peer.settle_down() == ["a", "b", "c"]


def test_acknowledgements_of_a_burst_are_stored_by_the_next_drain(folder: Path, peer: Peer) -> None:
    peer.consume("queue")
    for number in range(20):
        peer.publish(str(number))
    peer.drain(20)

    peer.ack()
    peer.turn(0)

    assert peer.size("queue") == 0


def test_a_drain_without_messages_ends_in_time(peer: Peer) -> None:
    peer.consume("queue")
    began = time.monotonic()

    with pytest.raises(TimeoutError):
        peer.connection.drain_events(timeout=0.1)

    assert 0.1 <= time.monotonic() - began < 10


def test_requeued_messages_go_back_to_their_places(peer: Peer) -> None:
    peer.consume("queue", prefetch=3)
    for body in "abcde":
        peer.publish(body)
    peer.settle_down()
    first, second, third = peer.received
    peer.received.clear()

    third.requeue()
    first.requeue()
    second.ack()

    assert peer.settle_down() == ["a", "c", "d"]
    assert [message.delivery_info["redelivered"] for message in peer.received] == [1, 1, 0]


def test_queues_of_one_connection_are_served_in_turn(peer: Peer) -> None:
    for queue in ("one", "two"):
        peer.consume(queue, queue)
        for number in range(3):
            peer.publish(f"{queue} {number}", queue)

    bodies = peer.drain(6)

    assert {body.split()[0] for body in bodies[:2]} == {"one", "two"}


# Refusals


def test_publishing_to_an_exchange_that_is_not_there_says_so(peer: Peer) -> None:
    with pytest.raises(amqp.NotFound, match="nowhere"):
        peer.publish("lost", exchange="nowhere")


def test_an_unknown_delivery_tag_is_refused(peer: Peer) -> None:
    with pytest.raises(amqp.PreconditionFailed, match="unknown delivery tag"):
        peer.channel.basic_ack(7)


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-expires": 0},
        {"x-expires": "soon"},
        {"x-max-length": -1},
        {"x-overflow": "reject-publish"},
        {"x-message-ttl": -1},
        {"x-max-length-bytes": "many"},
        {"x-dead-letter-exchange": 7},
        {"x-dead-letter-exchange": "grave", "x-max-length": 10},
        {"x-dead-letter-routing-key": "grave"},
    ],
)
def test_a_queue_argument_that_would_not_be_heeded_is_refused(
    peer: Peer, arguments: dict[str, object]
) -> None:
    with pytest.raises(amqp.PreconditionFailed):
        peer.declare("queue", queue_arguments=arguments)


def test_a_prefetch_of_a_whole_channel_is_refused(peer: Peer) -> None:
    with pytest.raises(amqp.AMQPNotImplementedError):
        peer.channel.basic_qos(0, 10, True)


def test_a_headers_exchange_is_refused(peer: Peer) -> None:
    with pytest.raises(amqp.PreconditionFailed):
        peer.channel.exchange_declare(exchange="other", type="headers")


def test_a_consumer_tag_can_be_used_once(peer: Peer) -> None:
    peer.declare("one")
    peer.declare("two")
    peer.channel.basic_consume("one", no_ack=False, callback=print, consumer_tag="tag")

    with pytest.raises(amqp.NotAllowed):
        peer.channel.basic_consume("two", no_ack=False, callback=print, consumer_tag="tag")


def test_a_closed_connection_says_so(peer: Peer) -> None:
    peer.consume("queue")
    peer.publish("unsettled")
    peer.drain(1)
    peer.close()

    with pytest.raises(amqp.RecoverableConnectionError):
        peer.channel.basic_ack(1)
    with pytest.raises(amqp.RecoverableConnectionError):
        peer.publish("lost")


# The folder


def test_only_the_owner_can_read_what_the_broker_writes(folder: Path, peer: Peer) -> None:
    peer.consume("queue")
    peer.publish("secret")

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert len(modes) >= 4
    assert set(modes.values()) == {0o600}


def test_a_folder_open_to_others_is_refused_and_left_as_it_is(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)

    with pytest.raises(EmbeddedStoreError, match="chmod 700"):
        embedded(folder).connect()

    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_trouble_with_the_folder_is_told_at_once_and_unwrapped(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    began = time.monotonic()

    with pytest.raises(EmbeddedStoreError, match="cannot be made"):
        embedded(blocked / "broker").default_channel  # noqa: B018

    assert time.monotonic() - began < 5


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 99])
def test_a_file_that_is_no_database_is_named_and_left_alone(folder: Path, content: bytes) -> None:
    file = _plant(folder, content)

    with pytest.raises(EmbeddedStoreError, match=r"broker\.db.*remove it"):
        embedded(folder).connect()

    assert file.read_bytes() == content


def test_a_database_that_is_damaged_later_is_named(folder: Path) -> None:
    sender = Peer(embedded(folder))
    sender.declare("queue")
    sender.close()
    file = folder / schema.DATABASE_FILE
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))

    with (
        embedded(folder) as connection,
        pytest.raises(EmbeddedStoreError, match=r"broker\.db.*remove it") as caught,
    ):
        Peer(connection).publish("lost")
    # While the error is held, and with it what would else be closed when it is forgotten.
    assert caught.value.__traceback__
    assert file not in {each.resolve() for each in Path("/proc/self/fd").iterdir()}


def test_the_database_of_another_program_is_refused_and_left_alone(folder: Path) -> None:
    file = _plant(folder, b"")
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE precious (thing)")
    other.close()
    content = file.read_bytes()

    with pytest.raises(EmbeddedStoreError, match="another program"):
        embedded(folder).connect()

    assert file.read_bytes() == content


def test_a_database_of_a_newer_version_is_refused(folder: Path) -> None:
    Peer(embedded(folder)).close()
    with sqlite3.connect(folder / schema.DATABASE_FILE) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()

    with pytest.raises(EmbeddedStoreError, match="version 99") as caught:
        embedded(folder).connect()
    assert "MIROS_MESH_HOME" in str(caught.value)


def test_a_store_that_was_removed_under_its_users_is_noticed(folder: Path, peer: Peer) -> None:
    (folder / schema.DATABASE_FILE).unlink()

    with pytest.raises(amqp.RecoverableConnectionError, match="removed or replaced"):
        wait_until(lambda: peer.publish("to nobody"), timeout_s=5)


def test_a_full_disk_is_passing_trouble(peer: Peer) -> None:
    peer.declare("queue")
    store = peer.connection.connection.store._database
    ((pages,),) = store.read("PRAGMA page_count")
    store.read(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(DiskFullError, match="its disk is full"):
        peer.publish("x" * 1_000_000)

    store.read("PRAGMA max_page_count = 1000000")
    peer.publish("fits again")
    assert peer.size("queue") == 1


def test_a_folder_deeper_than_socket_names_reach_works_as_well(tmp_path: Path) -> None:
    deep = tmp_path / "/".join(["deep" * 20] * 3) / "broker"
    listener, sender = Peer(embedded(deep)), Peer(embedded(deep))
    listener.consume("queue")
    listener.settle_down()

    sender.publish("heard")

    assert select.select([listener.connection.connection.fileno()], (), (), 5)[0]
    assert listener.drain(1) == ["heard"]
    listener.close()
    sender.close()


def test_a_deep_folder_on_a_system_without_descriptors_as_paths_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbell, "_DESCRIPTORS", tmp_path / "not there")
    deep = tmp_path / "/".join(["deep" * 20] * 3) / "broker"
    listener = Peer(embedded(deep))

    with pytest.raises(EmbeddedStoreError, match="longer than"):
        listener.consume("queue")

    listener.close()


def test_the_sockets_of_killed_processes_are_swept_away(folder: Path, peer: Peer) -> None:
    stale = folder / "bell-0-dead"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(stale))
    os.utime(stale, (0, 0))

    peer.consume("queue")

    assert not stale.exists()


def test_closing_leaves_only_the_database(folder: Path, peer: Peer) -> None:
    peer.consume("queue")
    peer.close()

    assert [path.name for path in folder.iterdir()] == [schema.DATABASE_FILE]


def test_a_connection_can_be_reopened_and_shown(folder: Path) -> None:
    connection = embedded(folder)
    connection.connect()
    connection.release()
    assert "Connection" in repr(connection)

    again = kombu.Connection(**connection.info())
    again.connect()

    assert again.connected
    again.release()
    connection.release()


def _plant(folder: Path, content: bytes) -> Path:
    folder.mkdir(mode=0o700)
    file = folder / schema.DATABASE_FILE
    file.touch(mode=0o600)
    file.write_bytes(content)
    return file
