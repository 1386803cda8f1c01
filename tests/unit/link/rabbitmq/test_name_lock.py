"""The name lock: who holds it, who is refused, and what is said of that."""

from __future__ import annotations

import kombu
import pytest

from miros_mesh.embedded.memory import MemoryStore
from miros_mesh.errors import NodeNameTakenError
from miros_mesh.link.rabbitmq.name_lock import NameLock
from support.memory_connection import memory_connection

NAME = "miros_mesh.v1.name.test"


def test_one_connection_holds_it_and_another_is_told() -> None:
    store, lock, late = MemoryStore(), NameLock(NAME, "memory"), NameLock(NAME, "memory")
    with memory_connection(store) as holder, memory_connection(store) as other:
        lock.take(holder)
        assert lock.held

        with pytest.raises(NodeNameTakenError, match=f"memory: another live process.*{NAME}"):
            late.take(other)
        assert not late.held

        holder.release()
        late.take(other)
        assert late.held


def test_a_name_that_is_not_given_back_is_asked_for_again_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, lock, thief = MemoryStore(), NameLock(NAME, "memory"), NameLock(NAME, "memory")
    with memory_connection(store) as old:
        lock.take(old)
    with memory_connection(store) as other, memory_connection(store) as new:
        thief.take(other)

        for _ in range(3):
            lock.take_back(new)
            assert not lock.held
        assert caplog.text.count(f"node name lost: memory does not give us {NAME} again") == 1

        other.release()
        lock.take_back(new)
        assert lock.held


def test_a_connection_without_a_free_channel_costs_the_name_and_not_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lock = NameLock(NAME, "memory")
    # Kombu's own transport, since ours has no limit; it raises the error of py-amqp.
    with kombu.Connection("memory://") as connection:
        connection.connect()
        transport = connection.transport
        transport.channel_max = len(transport._used_channel_ids)
        channel = connection.channel()

        lock.take_back(connection)
        assert not lock.held
        assert (
            f"memory does not give us {NAME} again (Channel.open: (506) No free channel"
            in caplog.text
        )

        channel.close()
        lock.take_back(connection)
        assert lock.held
