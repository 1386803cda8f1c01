"""A fork waits for those who are inside of SQLite or of an import, and for no others."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from miros_mesh import forks
from support.interrupts import broken_off
from support.waiting import wait_until


def test_a_fork_waits_for_who_is_inside() -> None:
    barrier = forks._ForkBarrier()
    fork = threading.Thread(target=barrier._close)
    with barrier:
        fork.start()
        wait_until(lambda: barrier._closing)
        assert fork.is_alive()
    fork.join(forks._PATIENCE_S)
    assert not fork.is_alive()


@pytest.mark.parametrize("call", ["__enter__", "__exit__"])
def test_who_was_interrupted_on_the_way_in_or_out_is_not_counted_for_ever(call: str) -> None:
    barrier = forks._ForkBarrier()

    def visit() -> None:
        with barrier:
            pass

    for number in count(1):
        if not broken_off(visit, getattr(forks._ForkBarrier, call).__code__, number):
            break
        visit()
        assert not barrier._inside
    assert number > 2
