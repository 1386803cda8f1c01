"""What is wanted of the last events: which charts, which signals, which text, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from miros_mesh.observe.snoop.selection import signal_of
from miros_mesh.wire.envelope import SnoopRecord

LONGEST_S: Final = 3_600.0
MINUTE_S: Final = 60.0


@dataclass(frozen=True)
class Wanted:
    """A filter; what is empty takes all. `chart` and `signal` are names or shell patterns."""

    chart: str = ""
    signal: str = ""
    text: str = ""
    """Any part of the record's line, of its node or of its chart; case does not matter."""
    seconds: float = MINUTE_S
    """How old at most."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """Read it from what a browser asks; a number that is none counts as a minute."""
        try:
            seconds = float(query.get("seconds", MINUTE_S))
        except ValueError:
            seconds = MINUTE_S
        # NaN compares as false with everything.
        seconds = seconds if 0 < seconds <= LONGEST_S else MINUTE_S
        return cls(query.get("chart", ""), query.get("signal", ""), query.get("text", ""), seconds)

    def has(self, record: SnoopRecord) -> bool:
        """Tell whether a record is wanted."""
        return (
            _fits(record.chart, self.chart)
            and _fits(signal_of(record), self.signal)
            and (not self.text or self.text.lower() in _line(record))
        )


def _fits(name: str, pattern: str) -> bool:
    return not pattern or fnmatchcase(name, pattern)


def _line(record: SnoopRecord) -> str:
    return f"{record.node} {record.chart} {record.text}".lower()
