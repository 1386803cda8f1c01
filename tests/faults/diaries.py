"""Reads what the processes of steady.py wrote down, and accounts for it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from faults.traffic import Account


class Entry(NamedTuple):
    """One event, sent or handled."""

    when: float
    stream: str
    number: int


class Reader:
    """Gives each line of a diary once."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.touch()
        self._at = 0

    def news(self) -> list[Entry]:
        """What was written since the last call."""
        with self.file.open("rb") as diary:
            diary.seek(self._at)
            whole, end, _ = diary.read().rpartition(b"\n")
        self._at += len(whole) + len(end)
        return [_entry(line) for line in whole.decode().splitlines()]


class Course:
    """What became of one stream at one receiver."""

    def __init__(self) -> None:
        self.handled: dict[int, float] = {}
        self.put_back: set[int] = set()
        """These were set aside, and come late: they have no order."""
        self.copies = 0
        self.out_of_order = 0
        self._last = -1

    def add(self, entry: Entry) -> None:
        """The next event that the receiver handled."""
        if entry.number in self.handled:
            self.copies += 1
            return
        self.handled[entry.number] = entry.when
        if entry.number not in self.put_back:
            self.out_of_order += entry.number < self._last
            self._last = entry.number

    def missing(self, numbers: range) -> int:
        """How many of these have not been handled."""
        return sum(number not in self.handled for number in numbers)

    def again(self, number: int, sent: float) -> float | None:
        """When the first event from this number on was handled, of those sent at that time."""
        first = None
        for handled, when in reversed(self.handled.items()):
            if when < sent:
                break
            if handled >= number:
                first = when
        return first

    def account(self, sent: range) -> Account:
        """The account of all that was sent."""
        return Account(len(sent), self.missing(sent), self.copies, self.out_of_order)


def _entry(line: str) -> Entry:
    when, stream, number = line.split()
    return Entry(float(when), stream, int(number))
