"""The name lock: who holds it, who is refused, and what is said of that."""

from __future__ import annotations

import pytest

from miros_mesh.embedded.memory import MemoryStore
from miros_mesh.errors import NodeNameTakenError
from miros_mesh.link.rabbitmq.name_lock import NameLock
from support.memory_connection import memory_connection

NAME = "miros_mesh.v1.name.test"


def test_one_connection_holds_it_and_another_is_told() -> None:
    store, lock, late = MemoryStore(), NameLock(NAME, "memory"), NameLock(NAME, "memory")
    with memory_connection(store) as holder, memory_connection(store) as other:
        lock.take(holder.channel())
        assert lock.held

        with pytest.raises(NodeNameTakenError, match=f"memory: another live process.*{NAME}"):
            late.take(other.channel())
        assert not late.held

        holder.release()
        late.take(other.channel())
        assert late.held


def test_a_name_that_is_not_given_back_is_asked_for_again_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, lock, thief = MemoryStore(), NameLock(NAME, "memory"), NameLock(NAME, "memory")
    with memory_connection(store) as old:
        lock.take(old.channel())
    with memory_connection(store) as other, memory_connection(store) as new:
        thief.take(other.channel())

        for _ in range(3):
            lock.take_back(new.channel(), 0)
            assert not lock.held
        assert caplog.text.count(f"node name lost: memory does not give us {NAME} again") == 1

        other.release()
        lock.take_back(new.channel(), 0)
        assert lock.held
