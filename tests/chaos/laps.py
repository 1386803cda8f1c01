"""What each fault did, and the table of it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

HEAD = (
    "fault",
    "times",
    "sent",
    "set aside",
    "delivered",
    "lost",
    "duplicated",
    "out of order",
    "seconds to recover: median",
    "worst",
)


@dataclass
class Lap:
    """A fault, and the events that were sent from the calm before it until all was well again."""

    fault: str
    sent: int
    delivered: int
    lost: int
    duplicated: int
    out_of_order: int
    recoveries: Sequence[float]
    """In seconds; empty when the events never came again."""
    excused: int = 0
    """Of the duplicates those of a receiver that ended: it had begun a frame."""
    times: int = 1
    aside: int = 0
    """Events that were refused, and of which each was found among the dead letters."""

    @property
    def harmed(self) -> bool:
        """Whether a promise was broken."""
        broken = self.lost or self.out_of_order or self.duplicated > self.excused
        return bool(broken or not self.recoveries)

    def __str__(self) -> str:
        took = f"{max(self.recoveries):.2f} s" if self.recoveries else "never"
        return (
            f"{self.fault}: sent {self.sent:,}, set aside {self.aside}, "
            f"delivered {self.delivered:,}, lost {self.lost}, duplicated {self.duplicated}, "
            f"out of order {self.out_of_order}, "
            f"recovered after {took}"
        )


def table(laps: Iterable[Lap]) -> str:
    """One row a fault, in Markdown that can be read as it is."""
    laps = sorted(laps, key=lambda lap: lap.fault)
    merged = [_merged(list(same)) for _, same in groupby(laps, lambda lap: lap.fault)]
    everything = _cells(_merged(laps, "all of them"))
    # Half of all recoveries are those of one kind.
    rows = [HEAD, *map(_cells, merged), (*everything[:-2], "", everything[-1])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join(_lines(rows, widths))


def _merged(laps: Sequence[Lap], name: str = "") -> Lap:
    return Lap(
        name or laps[0].fault,
        sum(lap.sent for lap in laps),
        sum(lap.delivered for lap in laps),
        sum(lap.lost for lap in laps),
        sum(lap.duplicated for lap in laps),
        sum(lap.out_of_order for lap in laps),
        [seconds for lap in laps for seconds in lap.recoveries],
        sum(lap.excused for lap in laps),
        sum(lap.times for lap in laps),
        sum(lap.aside for lap in laps),
    )


def _cells(lap: Lap) -> tuple[str, ...]:
    median, worst = "never", "never"
    if lap.recoveries:
        median = f"{statistics.median(lap.recoveries):.2f}"
        worst = f"{max(lap.recoveries):.2f}"
    events = (lap.sent, lap.aside, lap.delivered, lap.lost, lap.duplicated, lap.out_of_order)
    return (lap.fault, *(f"{count:,}" for count in (lap.times, *events)), median, worst)


def _lines(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield _line([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
        if number == 0:
            yield _line(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
