"""A node as its parts make it: what it owns ends with it."""

from __future__ import annotations

import threading

from miros_mesh.node.node import Node
from miros_mesh.testing import HandClock, MemoryMesh

LIMIT_S = 10.0


def timer_threads() -> int:
    return sum(each.name == "mesh-timed-timers" for each in threading.enumerate())


def test_a_node_has_the_time_of_its_machine_and_stops_its_clock() -> None:
    node = Node(MemoryMesh().config(node_name="timed"))
    node.start()
    called = threading.Event()
    node.clock.timer(0.001, called.set)
    assert called.wait(LIMIT_S)
    assert timer_threads() == 1
    node.stop()
    assert timer_threads() == 0


def test_a_clock_that_was_given_belongs_to_who_gave_it() -> None:
    clock = HandClock()
    called: list[int] = []
    node = Node(MemoryMesh().config(node_name="timed", clock=clock))
    node.start()
    node.clock.timer(1, lambda: called.append(1))
    assert timer_threads() == 0
    node.stop()
    clock.advance(1)
    assert called == [1]
