"""What is said once in a while, and how often it had happened by then."""

from __future__ import annotations

import threading

from miros_mesh.timing.throttle import Allowance, Throttle


class Clock:
    """Hands turned by the test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_is_told_at_once_and_what_follows_with_the_next_telling() -> None:
    clock = Clock()
    throttle = Throttle(10, clock=clock)
    assert [throttle.due("a"), throttle.due("a"), throttle.due("a", 5)] == [1, 0, 0]
    assert throttle.waiting == ("a",)
    clock.now += 10
    assert throttle.due("a") == 7
    assert not throttle.waiting


def test_each_key_is_told_for_itself() -> None:
    throttle = Throttle(10, clock=Clock())
    assert [throttle.due("a"), throttle.due("b", 2), throttle.due("b")] == [1, 2, 0]


def test_what_waits_can_be_asked_for_without_counting_anything() -> None:
    clock = Clock()
    throttle = Throttle(10, clock=clock)
    throttle.due("a")
    throttle.due("a", 3)
    assert throttle.due("b", 0) == 0
    assert throttle.waiting == ("a",)
    clock.now += 10
    assert throttle.due("a", 0) == 3
    # Asking in vain is no telling, after which the next one would have to wait
    assert (throttle.due("b", 0), throttle.due("b")) == (0, 1)


def test_keys_are_forgotten_when_their_time_is_over_and_what_waits_is_not() -> None:
    clock = Clock()
    throttle = Throttle(10, clock=clock)
    throttle.due("waits")
    throttle.due("waits", 3)
    for number in range(5_000):
        clock.now += 0.1
        throttle.due(f"chart-{number}")

    # Of ten seconds, and as many again before it looks
    assert len(throttle) < 600
    assert throttle.due("waits") == 4
    assert [throttle.due("chart-4999"), throttle.due("chart-0")] == [0, 1]


def test_nothing_is_counted_twice_or_forgotten_by_threads_at_once() -> None:
    throttle = Throttle(0.0)
    told: list[int] = []
    threads = [
        threading.Thread(target=lambda: told.extend(throttle.due("a") for _ in range(1_000)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(told) + throttle.due("a", 0) == 4_000


def test_an_allowance_gives_so_much_at_once_and_so_much_a_second() -> None:
    allowance = Allowance(100, 10, now=0.0)

    allowance.take(130)

    assert allowance.left(0.0) == -30
    assert allowance.left(4.0) == 10
    assert allowance.left(1_000.0) == 100
