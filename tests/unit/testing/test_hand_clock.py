"""A clock that a test turns: time stands still, and what is due is called on the test's thread."""

from __future__ import annotations

import threading
import time

import pytest

from miros_mesh.config.settings import MeshConfig
from miros_mesh.testing import HandClock
from miros_mesh.timing.clock import Clock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_time_passes_when_it_is_told_to(clock: HandClock) -> None:
    assert isinstance(clock, Clock)
    assert clock.monotonic() == 0
    wall = clock.wall()
    assert abs(wall - time.time()) < 5
    clock.advance(2.5)
    assert (clock.monotonic(), clock.wall()) == (2.5, wall + 2.5)


def test_two_hosts_may_disagree_on_the_time_of_day() -> None:
    early, late = HandClock(wall=1000.0), HandClock(wall=1060.5)
    assert late.wall() - early.wall() == 60.5


def test_what_is_due_is_called_in_order_each_at_its_own_time(clock: HandClock) -> None:
    called: list[tuple[str, float, threading.Thread]] = []

    def timer(delay_s: float, name: str) -> None:
        def call() -> None:
            called.append((name, clock.monotonic(), threading.current_thread()))

        clock.timer(delay_s, call)

    timer(3, "c")
    timer(1, "a")
    timer(2, "b")
    timer(2, "also b")
    timer(4, "later")

    assert clock.advance(3) == 4

    own = threading.current_thread()
    expected = [("a", 1, own), ("b", 2, own), ("also b", 2, own), ("c", 3, own)]
    assert called == expected
    assert clock.timers == 1


def test_nothing_is_called_on_its_own(clock: HandClock) -> None:
    called: list[int] = []
    clock.timer(0, lambda: called.append(1))
    assert not called
    assert clock.advance(0) == 1
    assert called == [1]


def test_ten_tenths_of_a_second_are_a_second(clock: HandClock) -> None:
    called: list[int] = []
    clock.timer(1, lambda: called.append(1))
    for _ in range(9):
        clock.advance(0.1)
    assert not called
    clock.advance(0.1)
    assert called == [1]


def test_a_call_may_set_timers_that_are_due_in_the_same_turn(clock: HandClock) -> None:
    at: list[float] = []

    def again() -> None:
        at.append(clock.monotonic())
        clock.timer(2, again)

    clock.timer(2, again)
    assert clock.advance(7) == 3
    assert at == [2, 4, 6]
    assert clock.monotonic() == 7


def test_a_cancelled_timer_is_not_called(clock: HandClock) -> None:
    timer = clock.timer(1, pytest.fail)
    assert timer.cancel()
    assert clock.timers == 0
    assert clock.advance(2) == 0


def test_what_never_comes_is_never_due(clock: HandClock) -> None:
    clock.timer(float("inf"), pytest.fail)
    assert clock.advance(10**8) == 0


def test_what_a_call_raises_is_raised_when_all_were_called(clock: HandClock) -> None:
    called: list[int] = []

    def wrong() -> None:
        raise LookupError("of the call")

    clock.timer(1, wrong)
    clock.timer(2, lambda: called.append(1))
    with pytest.raises(LookupError, match="of the call"):
        clock.advance(5)
    assert called == [1]
    assert clock.monotonic() == 5


def test_it_goes_forwards_only(clock: HandClock) -> None:
    with pytest.raises(ValueError, match="forwards only"):
        clock.advance(-1)


def test_it_is_a_setting_of_a_node(clock: HandClock) -> None:
    assert MeshConfig(clock=clock) == MeshConfig(clock=clock)
    assert MeshConfig(clock=clock) != MeshConfig(clock=HandClock())
