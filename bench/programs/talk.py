"""What every program here speaks: a line of JSON for each thing to do, and one for each answer.

The settings come first, and no password in them is in a list of processes. A sender is then told to
send so many events of so many bytes, a receiver to expect them. Nothing here is of the library or
of any that it is compared with, so each Python has it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

HANDLING_LIMIT_S = 60.0
BATCH = 100
_HEAD = 34


@dataclass(frozen=True)
class Task:
    """Events to send or to expect: so many bytes each, with a pause after each of them or none."""

    events: int
    size: int
    pause_s: float = 0.0


class Tally:
    """Counts what comes, on whatever thread, and tells whether all came: once each, in order."""

    def __init__(self, expected: int, *, in_order: bool = True) -> None:
        self.handled = 0
        self._expected = expected
        self._in_order = in_order
        self._seen = bytearray(expected + 1)
        self._latencies_ns: list[int] = []
        self._wrong: str | None = None
        self._last_ns = 0
        self._complete = threading.Event()
        self._lock = threading.Lock()

    def count(self, number: int, sent_ns: int) -> None:
        """Handle one event."""
        now = time.monotonic_ns()
        with self._lock:
            self.handled += 1
            self._latencies_ns.append(now - sent_ns)
            self._check(number)
            if self.handled >= self._expected:
                self._last_ns = now
                self._complete.set()

    def _check(self, number: int) -> None:
        if not 0 < number <= self._expected:
            self._wrong = self._wrong or f"event {number} was never sent"
        elif self._seen[number]:
            self._wrong = self._wrong or f"event {number} came twice"
        elif self._in_order and number != self.handled:
            self._wrong = self._wrong or f"event {number} came in place of {self.handled}"
        else:
            self._seen[number] = 1

    def result(
        self, limit_s: float = HANDLING_LIMIT_S, *, with_latencies: bool = True
    ) -> dict[str, Any]:
        """Wait for all; the figures, or `wrong` with what it was."""
        if not self._complete.wait(limit_s):
            text = f"only {self.handled} of {self._expected} events were handled in {limit_s:g} s"
            return {"wrong": text}
        if self._wrong:
            return {"wrong": self._wrong}
        return {
            "last_ns": self._last_ns,
            "latencies_ns": self._latencies_ns if with_latencies else [],
        }


def read_line() -> str:
    """Return what is said next, or nothing at the end; a program may put its own way in place."""
    return sys.stdin.readline()


def settings() -> dict[str, Any]:
    """Return the first line of the input."""
    return dict(json.loads(read_line()))


def say(**words: Any) -> None:
    """Answer."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def tasks() -> Iterator[Task]:
    """Yield what there is to do, until the input ends."""
    say(ready=True)
    while line := read_line():
        yield Task(**json.loads(line))


def filler(size: int) -> str:
    """What makes an event of that size."""
    return "x" * max(0, size - _HEAD)


def body(number: int, filled: str) -> bytes:
    """One event as bytes: its number, the time, and what fills it."""
    return f"{number:012d} {time.monotonic_ns():020d} {filled}".encode()


def opened(content: bytes) -> tuple[int, int]:
    """Take an event apart: its number, and when it was sent."""
    return int(content[:12]), int(content[13:33])


def receive(listen: Callable[[Sequence[Tally]], None], *, in_order: bool, charts: int = 1) -> None:
    """Expect events as told; `listen` hands over who counts what comes from now on."""
    for task in tasks():
        tallies = [Tally(task.events, in_order=in_order) for _ in range(charts)]
        listen(tallies)
        say(listening=True)
        results = [tally.result(with_latencies=task.pause_s > 0) for tally in tallies]
        wrong = [result for result in results if "wrong" in result]
        # Of several charts the last to be done counts.
        say(**(wrong or [max(results, key=lambda each: each["last_ns"])])[0])


def send(publish: Callable[[int, str], object], flush: Callable[[], object] = lambda: None) -> None:
    """Send events as told, one call each; `flush` waits for what is still on its way."""
    pause = threading.Event()
    for task in tasks():
        filled = filler(task.size)
        first_ns = time.monotonic_ns()
        for number in range(1, task.events + 1):
            publish(number, filled)
            if task.pause_s:
                pause.wait(task.pause_s)
        flush()
        say(first_ns=first_ns)


def batches(task: Task) -> Iterator[list[bytes]]:
    """Yield the events of a task by 100; those with pauses between them one by one."""
    filled = filler(task.size)
    by = 1 if task.pause_s else BATCH
    for start in range(1, task.events + 1, by):
        numbers = range(start, min(start + by, task.events + 1))
        yield [body(number, filled) for number in numbers]


def send_batches(publish: Callable[[list[bytes]], object]) -> None:
    """Send events as told, by 100."""
    pause = threading.Event()
    for task in tasks():
        first_ns = time.monotonic_ns()
        for each in batches(task):
            publish(each)
            if task.pause_s:
                pause.wait(task.pause_s)
        say(first_ns=first_ns)


async def send_batches_async(publish: Callable[[list[bytes]], Awaitable[object]]) -> None:
    """Do the same in an event loop."""
    loop = asyncio.get_running_loop()
    told = tasks()
    while task := await loop.run_in_executor(None, next, told, None):
        first_ns = time.monotonic_ns()
        for each in batches(task):
            await publish(each)
            if task.pause_s:
                await asyncio.sleep(task.pause_s)
        say(first_ns=first_ns)


class Counter:
    """Counts what comes for one chart or handler: the tally of the task that runs."""

    def __init__(self) -> None:
        self._tally: Tally | None = None

    def listen(self, tallies: Sequence[Tally]) -> None:
        """Take the tally of the next task."""
        (self._tally,) = tallies

    def count(self, content: bytes) -> None:
        """Handle one event."""
        if self._tally is not None:
            self._tally.count(*opened(content))
