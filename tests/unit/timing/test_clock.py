"""The clock of a node: many timers, one thread, nothing left of what was cancelled."""

from __future__ import annotations

import gc
import logging
import random
import threading
import time
import weakref
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.timing.clock import Clock, SystemClock, Timers
from support.waiting import wait_until

LIMIT_S = 10.0
LONG_S = 3600.0
NAME = "mesh-test-timers"


@pytest.fixture
def clock() -> Iterator[SystemClock]:
    made = SystemClock(NAME)
    yield made
    assert made.stop(LIMIT_S)


def threads() -> int:
    return sum(each.name == NAME for each in threading.enumerate())


def test_the_time_is_that_of_the_machine(clock: SystemClock) -> None:
    assert isinstance(clock, Clock)
    assert time.monotonic() <= clock.monotonic() <= time.monotonic()
    assert abs(clock.wall() - time.time()) < 1


def test_timers_are_called_in_the_order_of_their_times_and_not_before(clock: SystemClock) -> None:
    called: list[tuple[float, float]] = []
    began = time.monotonic()

    def timer(delay_s: float) -> None:
        clock.timer(delay_s, lambda: called.append((delay_s, time.monotonic() - began)))

    for delay_s in (0.09, 0.03, 0.06, 0.0, -5.0):
        timer(delay_s)

    wait_until(lambda: len(called) == 5)
    assert [delay_s for delay_s, _ in called][2:] == [0.03, 0.06, 0.09]
    assert all(after_s >= delay_s for delay_s, after_s in called)


def test_ten_thousand_timers_have_one_thread_which_starts_with_the_first(
    clock: SystemClock,
) -> None:
    assert threads() == 0
    called: list[int] = []
    for number in range(10_000):
        clock.timer(random.Random(number).uniform(0, 0.2), lambda: called.append(1))
    assert threads() == 1
    wait_until(lambda: len(called) == 10_000)


def test_an_earlier_timer_wakes_the_thread_that_sleeps_for_a_later_one(clock: SystemClock) -> None:
    called = threading.Event()
    clock.timer(LONG_S, called.clear)
    clock.timer(0.01, called.set)
    assert called.wait(LIMIT_S)


def test_a_cancelled_timer_is_not_called(clock: SystemClock) -> None:
    called: list[str] = []
    timer = clock.timer(0.02, lambda: called.append("cancelled"))
    after = threading.Event()
    clock.timer(0.05, after.set)

    assert timer.cancel()
    assert not timer.cancel()

    assert after.wait(LIMIT_S)
    assert not called


def test_a_timer_that_was_called_cannot_be_cancelled(clock: SystemClock) -> None:
    called = threading.Event()
    timer = clock.timer(0, called.set)
    assert called.wait(LIMIT_S)
    assert not timer.cancel()


def test_a_call_that_raises_is_logged_and_harms_no_other(
    clock: SystemClock, caplog: pytest.LogCaptureFixture
) -> None:
    called = threading.Event()

    def wrong() -> None:
        raise ValueError("of the call")

    with caplog.at_level(logging.ERROR):
        clock.timer(0, wrong)
        clock.timer(0.01, called.set)
        assert called.wait(LIMIT_S)
    assert "the call of a timer raised" in caplog.text


def test_a_call_may_set_and_cancel_timers(clock: SystemClock) -> None:
    called: list[str] = []
    later = clock.timer(0.05, lambda: called.append("cancelled"))

    def first() -> None:
        later.cancel()
        clock.timer(0.05, lambda: called.append("second"))

    clock.timer(0, first)
    wait_until(lambda: called)
    assert called == ["second"]


def test_after_stop_nothing_is_called_and_no_thread_starts(clock: SystemClock) -> None:
    called: list[str] = []
    clock.timer(0.01, lambda: called.append("before"))
    assert clock.stop(LIMIT_S)
    clock.timer(0, lambda: called.append("after"))

    assert threads() == 0
    assert clock.stop(LIMIT_S)
    assert not clock._timers
    assert "after" not in called


def test_a_clock_that_was_never_used_stops_without_a_thread() -> None:
    clock = SystemClock(NAME)
    assert clock.stop(LIMIT_S)
    clock.timer(0, lambda: None)
    assert threads() == 0


def test_a_call_may_stop_the_clock(clock: SystemClock) -> None:
    ended: list[bool] = []
    clock.timer(0, lambda: ended.append(clock.stop(LIMIT_S)))
    wait_until(lambda: ended)
    assert ended == [False]
    wait_until(lambda: threads() == 0)


def test_what_a_cancelled_timer_would_have_called_is_let_go_at_once(clock: SystemClock) -> None:
    class Call:
        def __call__(self) -> None: ...

    call = Call()
    seen = weakref.ref(call)
    timer = clock.timer(LONG_S, call)
    timer.cancel()
    del call
    gc.collect()
    assert seen() is None


def test_cancelled_timers_take_no_place() -> None:
    """As many requests as anyone likes, each answered long before its limit."""
    timers = Timers()
    still_open = [timers.add(LONG_S, print)[0] for _ in range(100)]
    for _ in range(10_000):
        timers.add(LONG_S, print)[0].cancel()
        assert len(timers._heap) < 300
    assert len(timers) == 100
    for timer in still_open:
        timer.cancel()
    assert len(timers) == 0
    assert len(timers._heap) < 100


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=300))
def test_timers_are_a_sorted_list(asked: list[tuple[int, bool]]) -> None:
    """Against a list that is sorted by time, and by age where the times are equal."""
    timers, called = Timers(), []
    expected: list[tuple[int, int]] = []
    ever: list[tuple[int, int]] = []
    for number, (due, cancel) in enumerate(asked):
        timer, first = timers.add(due, lambda number=number: called.append(number))  # type: ignore[misc]
        if first:
            assert all((due, number) < each for each in expected)
        else:
            assert any(each < (due, number) for each in ever)
        ever.append((due, number))
        expected.append((due, number))
        if cancel:
            assert timer.cancel()
            expected.remove((due, number))
    assert len(timers) == len(expected)
    assert timers.next_due() == min((due for due, _ in expected), default=None)
    for now in range(10):
        while taken := timers.take(now):
            assert taken[0] <= now
            taken[1]()
        assert called == [number for due, number in sorted(expected) if due <= now]
