"""A line of tasks: their order, and who is woken for what."""

from __future__ import annotations

import math
import threading
import time

from miros_mesh.timing.task_line import TaskLine


class Thread:
    """What does the tasks: it counts its wakes, and does what is there when told."""

    def __init__(self) -> None:
        self.wakes = 0
        self.line: TaskLine[list[int]] = TaskLine(self._wake)
        self.done: list[int] = []

    def _wake(self) -> None:
        self.wakes += 1

    def post(self, *numbers: int) -> None:
        for number in numbers:
            self.line.post(lambda done, number=number: done.append(number))

    def post_soon(self, *numbers: int, at_most: int = 3) -> None:
        for number in numbers:
            self.line.post_soon(lambda done, number=number: done.append(number), at_most)

    def turn(self) -> None:
        for task in self.line.take():
            task(self.done)


def test_what_is_posted_wakes_the_thread_and_is_done_in_order() -> None:
    thread = Thread()

    thread.post(1, 2)

    assert thread.line.urgent
    thread.turn()
    assert (thread.done, thread.wakes) == ([1, 2], 2)
    assert not thread.line
    assert not thread.line.urgent


def test_what_may_wait_wakes_nothing_while_the_thread_looks_soon() -> None:
    thread, before = Thread(), time.monotonic()

    thread.line.expect()
    thread.post_soon(1, 2)

    assert before < thread.line.due_at <= time.monotonic() + 0.010
    assert (len(thread.line), thread.line.urgent, thread.wakes) == (2, False, 0)
    thread.turn()
    assert thread.done == [1, 2]


def test_the_thread_looks_soon_after_the_first_that_was_expected() -> None:
    thread = Thread()
    thread.line.expect()
    due_at = thread.line.due_at

    thread.line.expect()

    assert thread.line.due_at == due_at


def test_what_may_wait_does_not_when_the_thread_will_not_look() -> None:
    thread = Thread()

    thread.post_soon(1)
    thread.line.expect()
    thread.turn()
    # That was the look which had been expected
    assert thread.line.due_at == math.inf
    thread.post_soon(2)

    assert thread.line.urgent
    assert (thread.done, thread.wakes) == ([1], 2)


def test_of_what_may_wait_only_so_much_does() -> None:
    thread = Thread()
    thread.line.expect()

    thread.post_soon(1, 2)
    assert not thread.line.urgent
    thread.post_soon(3)

    assert thread.line.urgent
    assert thread.wakes == 1


def test_what_does_not_wait_takes_with_it_what_came_before_and_nothing_that_comes_later() -> None:
    thread = Thread()
    thread.line.expect()

    thread.post_soon(1)
    thread.post(2)
    thread.post_soon(3)
    for task in thread.line.take():
        task(thread.done)
        thread.post_soon(4, at_most=99)

    assert thread.done == [1, 2, 3]
    assert len(thread.line) == 3


def test_nothing_that_threads_post_is_left_lying() -> None:
    thread, woken = Thread(), threading.Event()
    thread.line = TaskLine(woken.set)
    count, posters = 2_000, 3

    def poster() -> None:
        thread.post_soon(*range(count), at_most=16)

    threads = [threading.Thread(target=poster) for _ in range(posters)]
    for each in threads:
        each.start()
    until = time.monotonic() + 10
    # As a worker does: it waits for a wake, or until something is due
    while len(thread.done) < count * posters and time.monotonic() < until:
        left = thread.line.due_at - time.monotonic()
        if woken.wait(min(max(left, 0), 1)):
            woken.clear()
        if thread.line.urgent or time.monotonic() >= thread.line.due_at:
            thread.turn()
            thread.line.expect()
    for each in threads:
        each.join()

    assert len(thread.done) == count * posters
