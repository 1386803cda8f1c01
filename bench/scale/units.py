"""The units in which figures are shown; all are measured in seconds, bytes, shares or numbers."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Unit:
    """What a value is shown in."""

    name: str
    factor: float
    """How many of it one of what is measured has."""
    digits: int

    def show(self, value: float) -> str:
        """The value with its unit."""
        return f"{value * self.factor:,.{self.digits}f} {self.name}".rstrip()


SECONDS = Unit("s", 1, 2)
MILLISECONDS = Unit("ms", 1_000, 2)
MICROSECONDS = Unit("us", 1_000_000, 0)
MEBIBYTES = Unit("MiB", 1 / MIB, 1)
PERCENT = Unit("%", 100, 2)
"""Of a core."""
NUMBER = Unit("", 1, 0)
