"""A feed: one thread at a time moves what waits, and none waits for its turn."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from itertools import count

import pytest

from miros_mesh.networks.feed import Feed
from support.interrupts import broken_off
from support.post_office import LIMIT_S
from support.waiting import wait_until


class Line:
    """What waits, and what was moved; the mover can be held up."""

    def __init__(self) -> None:
        self.waiting: deque[int] = deque()
        self.moved: list[int] = []
        self.movers = 0
        self.open = True
        self.go_on = threading.Event()
        self.go_on.set()
        self.feed = Feed(self._ready, self._move)

    def put(self, *items: int) -> None:
        self.waiting.extend(items)
        self.feed.run()

    def _ready(self) -> bool:
        return self.open and bool(self.waiting)

    def _move(self) -> None:
        self.movers += 1
        assert self.movers == 1
        while self._ready():
            self.moved.append(self.waiting.popleft())
            assert self.go_on.wait(LIMIT_S)
        self.movers -= 1


def test_what_waits_is_moved_in_order_once_it_can_be() -> None:
    line = Line()
    line.open = False
    line.put(1, 2)
    assert line.moved == []

    line.open = True
    line.put(3)

    assert line.moved == [1, 2, 3]


def test_a_signal_that_interrupts_it_anywhere_holds_up_nothing_that_comes_later() -> None:
    # As the one of a program that takes its events on the main thread.
    line, item = Line(), 0
    for number in count(1):
        interrupted = broken_off(partial(line.put, item), Feed.run.__code__, number)
        line.put(item + 1)
        item += 2
        assert line.moved == list(range(item))
        if not interrupted:
            break
    assert number > 4


def test_who_comes_while_another_thread_moves_does_not_wait_and_leaves_its_item_to_it() -> None:
    line = Line()
    line.go_on.clear()
    slow = threading.Thread(target=line.put, args=(1,))
    slow.start()
    wait_until(lambda: line.moved)

    line.put(2)
    assert line.moved == [1]

    line.go_on.set()
    slow.join(LIMIT_S)
    assert line.moved == [1, 2]


def test_what_came_after_the_last_look_of_the_mover_is_moved_too() -> None:
    """The mover has looked, and not yet released the lock, when something comes."""
    late, moved, waiting = [1, 2], list[int](), deque[int]()

    def move() -> None:
        while waiting:
            moved.append(waiting.popleft())
        if late:
            waiting.append(late.pop(0))
            other = threading.Thread(target=feed.run)
            other.start()
            other.join(LIMIT_S)

    feed = Feed(lambda: bool(waiting), move)
    waiting.append(0)
    feed.run()

    assert moved == [0, 1, 2]


def test_moving_may_lead_to_another_run() -> None:
    moved, waiting = list[int](), deque([3])

    def move() -> None:
        moved.append(number := waiting.popleft())
        if number:
            waiting.append(number - 1)
            feed.run()

    feed = Feed(lambda: bool(waiting), move)
    feed.run()

    assert moved == [3, 2, 1, 0]


def test_an_error_on_the_way_gives_the_turn_back() -> None:
    waiting = deque(["bad", "good"])

    def move() -> None:
        if waiting.popleft() == "bad":
            raise ValueError

    feed = Feed(lambda: bool(waiting), move)
    with pytest.raises(ValueError):  # noqa: PT011 - its own
        feed.run()
    feed.run()

    assert not waiting


def test_of_many_threads_one_moves_at_a_time_and_nothing_is_left_behind() -> None:
    for _ in range(20):
        line, begin = Line(), threading.Barrier(4)

        def put(start: int, line: Line = line, begin: threading.Barrier = begin) -> None:
            begin.wait()
            for number in range(start, start + 100):
                line.put(number)

        threads = [threading.Thread(target=put, args=(start,)) for start in (0, 100, 200, 300)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)

        assert not line.waiting
        assert sorted(line.moved) == list(range(400))
        for start in (0, 100, 200, 300):
            own = [number for number in line.moved if start <= number < start + 100]
            assert own == sorted(own)
