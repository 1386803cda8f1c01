"""Double-entry book-keeping of the demo: what one chart sent and what the other one handled."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Ledger:
    """The books of one chart."""

    name: str
    open: bool = False
    """Whether the other chart listens, so that this one may send."""
    transmitted: int = 0
    """How many events were sent; they are numbered from 1."""
    handled: list[tuple[int, float]] = field(default_factory=list)
    """The numbers of the other chart's events, with the seconds that each was under way."""
    moved: int = 0
    """How many of them changed the state of this chart, as its trace shows."""

    def sent(self) -> dict[str, Any]:
        """Enter one more event as sent; return its payload."""
        self.transmitted += 1
        # The epoch and not the monotonic clock: the other process subtracts it.
        return {"from": self.name, "number": self.transmitted, "sent_at": time.time()}

    def received(self, payload: dict[str, Any], *, moves: bool) -> None:
        """Enter an event of the other chart as handled."""
        # A list and not a dictionary: an event that comes twice must be seen twice.
        self.handled.append((payload["number"], time.time() - payload["sent_at"]))
        self.moved += moves


@dataclass(frozen=True)
class Account:
    """One direction: what one chart transmitted, and what became of it at the other."""

    sender: str
    receiver: str
    transmitted: int
    received: int
    moved: int
    lost: int
    duplicates: int
    median_latency_s: float | None

    @classmethod
    def between(cls, sender: Ledger, receiver: Ledger) -> Account:
        """Compare the books of both."""
        expected = set(range(1, sender.transmitted + 1))
        numbers = [number for number, _ in receiver.handled]
        latencies = [seconds for _, seconds in receiver.handled]
        return cls(
            sender=sender.name,
            receiver=receiver.name,
            transmitted=len(expected),
            received=len(expected & set(numbers)),
            moved=receiver.moved,
            lost=len(expected - set(numbers)),
            duplicates=len(numbers) - len(set(numbers)),
            median_latency_s=statistics.median(latencies) if latencies else None,
        )


def table(accounts: list[Account]) -> str:
    """Write the accounts side by side, a column each."""
    columns = [
        ["", *(f"{a.sender} -> {a.receiver}" for a in accounts)],
        ["transmitted", *(str(a.transmitted) for a in accounts)],
        ["received", *(str(a.received) for a in accounts)],
        ["changed a state", *(str(a.moved) for a in accounts)],
        ["lost", *(str(a.lost) for a in accounts)],
        ["duplicates", *(str(a.duplicates) for a in accounts)],
        ["median latency", *(_milliseconds(a.median_latency_s) for a in accounts)],
    ]
    widths = [max(len(row[i]) for row in columns) for i in range(len(columns[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if not i else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in columns
    )


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.2f} ms"
