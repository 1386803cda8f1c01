"""Double-entry book-keeping of the demo: what one chart sent and what the other one handled."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Ledger:
    """The books of one chart. Times are seconds since the epoch, of one machine's clock."""

    name: str
    sent_at: dict[int, float] = field(default_factory=dict)
    """When each event was sent, by its number."""
    handled: list[tuple[int, float]] = field(default_factory=list)
    """The numbers of the other chart's events, with the seconds that each was under way."""

    def sent(self) -> dict[str, Any]:
        """Enter one more event as sent; return its payload."""
        # The epoch and not the monotonic clock: the other process subtracts it.
        number, now = len(self.sent_at) + 1, time.time()
        self.sent_at[number] = now
        return {"from": self.name, "number": number, "sent_at": now}

    def received(self, payload: dict[str, Any]) -> None:
        """Enter an event of the other chart as handled."""
        # A list and not a dictionary: an event that comes twice must be seen twice.
        self.handled.append((payload["number"], time.time() - payload["sent_at"]))


@dataclass(frozen=True)
class Account:
    """One direction: what was transmitted while the other chart listened, and what became of it."""

    sender: str
    receiver: str
    transmitted: int
    received: int
    lost: int
    duplicates: int
    median_latency_s: float | None

    @classmethod
    def between(cls, sender: Ledger, receiver: Ledger, begin: float, end: float) -> Account:
        """Compare the books for the time in which both charts listened."""
        # What came outside of that time may be received too, but need not be.
        expected = {number for number, at in sender.sent_at.items() if begin <= at <= end}
        numbers = [number for number, _ in receiver.handled]
        latencies = [seconds for number, seconds in receiver.handled if number in expected]
        return cls(
            sender=sender.name,
            receiver=receiver.name,
            transmitted=len(expected),
            received=len(expected & set(numbers)),
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
