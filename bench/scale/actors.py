"""What charts and processes of all axes do: hear numbered events, and tell what that took."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miros import Event, signals

from chart import Send
from measure import MeasureError

HEARING_LIMIT_S = 60.0
# Longer than any limit inside a process, so that the process says what went wrong.
ANSWER_LIMIT_S = 2 * HEARING_LIMIT_S
START_LIMIT_S = 180.0
CONNECT_LIMIT_S = 30.0
_PAGE = resource.getpagesize()


@dataclass(frozen=True)
class Burst:
    """Events to send in a row, or one by one with a pause, or to hear."""

    events: int
    payload_bytes: int = 100
    every_s: float = 0.0

    def send(self, send: Send, sender: int = 0) -> int:
        """Send them; the moment of the first."""
        filler, pause = "x" * self.payload_bytes, threading.Event()
        first_ns = time.monotonic_ns()
        for number in range(1, self.events + 1):
            payload = [sender, number, time.monotonic_ns(), filler]
            send(Event(signal=signals.bench, payload=payload))
            if self.every_s:
                pause.wait(self.every_s)
        return first_ns


@dataclass(frozen=True)
class Rest:
    """Nothing to do for a while."""

    seconds: float

    def share(self) -> float:
        """Have nothing to do; what share of a core that took."""
        began, spent = time.monotonic(), time.process_time()
        threading.Event().wait(self.seconds)
        return (time.process_time() - spent) / (time.monotonic() - began)


@dataclass(frozen=True)
class Heard:
    """What was heard, by one process."""

    last_ns: int
    cpu_s: float
    ways_s: tuple[float, ...] = ()
    """From the call of `transmit` to the handler, of each event of a chart."""


class Book:
    """What one chart hears: of each sender the numbers from 1 on, each once and in order.

    It is the `tally` of a chart that counts.
    """

    def __init__(self, senders: int, events: int) -> None:
        self._numbers: dict[int, int] = {}
        self._expected = senders * events
        self._handled = 0
        self._wrong = ""
        self._complete = threading.Event()
        self.last_ns = 0
        self.ways_s: list[float] = []

    def count(self, payload: list[Any]) -> None:
        """Handle one event."""
        now = time.monotonic_ns()
        sender, number, sent_ns, _ = payload
        before = self._numbers.get(sender, 0)
        if number != before + 1:
            self._wrong = self._wrong or f"of {sender} came {number} after {before}"
        self._numbers[sender] = number
        self._handled += 1
        self.ways_s.append((now - sent_ns) / 1e9)
        if self._handled == self._expected:
            self.last_ns = now
            self._complete.set()

    def wait(self, deadline: float) -> None:
        """Return when all have come; raises `MeasureError` where one is missing or out of order."""
        self._complete.wait(max(deadline - time.monotonic(), 0))
        self.check()

    def check(self) -> None:
        """Raise `MeasureError` if not exactly what was expected has come."""
        if self._wrong:
            raise MeasureError(self._wrong)
        if self._handled != self._expected:
            raise MeasureError(f"{self._handled} of {self._expected} events were handled")


def hear(books: Mapping[str, Book], spent_s: float) -> Heard:
    """Wait until all charts have heard everything; `spent_s` was the process' CPU before."""
    deadline = time.monotonic() + HEARING_LIMIT_S
    for name, book in books.items():
        try:
            book.wait(deadline)
        except MeasureError as error:
            raise MeasureError(f"{name}: {error}") from None
    last_ns = max(book.last_ns for book in books.values())
    ways_s = next(iter(books.values())).ways_s
    return Heard(last_ns, time.process_time() - spent_s, tuple(ways_s))


def resident_bytes() -> int:
    """How much memory of this process is in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
