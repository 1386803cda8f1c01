"""Numbered events from one chart to another, and the account of what became of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol, Self

from miros import Event

from miros_mesh import NetworkedActiveObject
from support.charts_at_work import event
from support.tables import HEAD
from support.waiting import wait_until

SIGNAL = "number"
RECOVERY_GOAL_S = 5.0
ARRIVAL_LIMIT_S = 20.0
EVERY_S = 0.002
WARM = 50


@dataclass
class Handled:
    """What a chart ran to completion: for each sender's number, when. A handler of a chart."""

    pause_s: float = 0.0
    numbers: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    _never: threading.Event = field(default_factory=threading.Event)

    def __call__(self, _: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name != SIGNAL:
            return
        if self.pause_s:
            self._never.wait(self.pause_s)
        self.times.append(time.monotonic())
        self.numbers.append(received.payload)

    def since(self, number: int) -> float | None:
        """When the first event from this number on was handled."""
        for handled, when in zip(list(self.numbers), list(self.times), strict=False):
            if handled >= number:
                return when
        return None


@dataclass(frozen=True)
class Account:
    """What became of the events that were sent."""

    sent: int
    lost: int
    duplicated: int
    out_of_order: int

    @classmethod
    def of(cls, sent: Sequence[int], handled: Sequence[int]) -> Self:
        copies = Counter(handled)
        firsts = list(dict.fromkeys(handled))
        return cls(
            len(sent),
            sum(number not in copies for number in sent),
            sum(count - 1 for count in copies.values()),
            sum(later < earlier for earlier, later in pairwise(firsts)),
        )

    @property
    def perfect(self) -> bool:
        return not (self.lost or self.duplicated or self.out_of_order)


@dataclass
class Row:
    """One line of the table that a run ends with."""

    fault: str
    account: Account
    seconds: float | None

    def __str__(self) -> str:
        a = self.account
        took = "-" if self.seconds is None else f"{self.seconds:.2f}"
        figures = f"{a.sent:>7} {a.lost:>5} {a.duplicated:>5} {a.out_of_order:>5} {took:>8}"
        late = " late" if self.seconds is not None and self.seconds > RECOVERY_GOAL_S else ""
        return f"{self.fault:<44} {figures}{late}"


TABLE: list[Row] = []


class Stream:
    """Transmits the next number at short intervals until it is told to end."""

    def __init__(
        self, chart: NetworkedActiveObject, first: int = 0, every_s: float = EVERY_S
    ) -> None:
        self._chart = chart
        self._every_s = every_s
        self._first = self.next = first
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream")

    @property
    def sent(self) -> range:
        return range(self._first, self.next)

    def end(self) -> range:
        """Send no more; what was sent."""
        self._ending.set()
        self._thread.join()
        return self.sent

    def _run(self) -> None:
        while not self._ending.wait(self._every_s):
            self._chart.transmit(event(SIGNAL, self.next))
            self.next += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()


@contextmanager
def events_through(
    fault: str,
    sender: NetworkedActiveObject,
    handled: Handled,
) -> Iterator[Stream]:
    """Send while the body does harm and mends it: all arrive, once, in order.

    The time to recover runs from the end of the body until an event that was sent after it has been
    handled.
    """
    with Stream(sender) as stream:
        wait_until(lambda: len(handled.numbers) >= WARM)
        yield stream
        mended, first_after = time.monotonic(), stream.next
        again = wait_until(
            lambda: handled.since(first_after),
            ARRIVAL_LIMIT_S,
            message=f"an event that was sent after: {fault}",
        )
        seconds = again - mended
        sent = stream.end()
    account = accounted(fault, sent, handled, seconds)
    assert account.perfect, account


class Handler(Protocol):
    """Whoever keeps the numbers that a chart has handled."""

    @property
    def numbers(self) -> list[int]:
        """In the order of their handling."""


def accounted(
    fault: str,
    sent: Sequence[int],
    handled: Handler,
    seconds: float | None = None,
) -> Account:
    """Wait while what was sent is being handled, and put the account into the table."""
    expected, seen, pause = set(sent), -1, threading.Event()
    while not expected <= set(numbers := list(handled.numbers)):
        if len(numbers) != seen:
            seen, latest = len(numbers), time.monotonic()
        elif time.monotonic() > latest + ARRIVAL_LIMIT_S:
            print(f"not everything arrived: {fault}")
            break
        pause.wait(0.05)
    account = Account.of(sent, [number for number in handled.numbers if number in expected])
    record(fault, account, seconds)
    return account


def record(fault: str, account: Account, seconds: float | None = None) -> None:
    """Put a line into the table, and print it."""
    row = Row(fault, account, seconds)
    TABLE.append(row)
    print(f"{HEAD}\n{row}")
