"""What is said once in a while, and how often it had happened by then."""

from __future__ import annotations

import threading

from miros_mesh.throttle import Throttle


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
    assert throttle.holds
    clock.now += 10
    assert throttle.due("a") == 7
    assert not throttle.holds


def test_each_key_is_told_for_itself() -> None:
    throttle = Throttle(10, clock=Clock())
    assert [throttle.due("a"), throttle.due("b", 2), throttle.due("b")] == [1, 2, 0]


def test_what_is_left_can_be_taken_early_and_is_then_told() -> None:
    throttle = Throttle(10, clock=Clock())
    throttle.due("a")
    throttle.due("a", 3)
    assert [throttle.rest("a"), throttle.rest("a"), throttle.rest("unknown")] == [3, 0, 0]


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
    assert sum(told) + throttle.rest("a") == 4_000
