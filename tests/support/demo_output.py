"""What `miros-mesh demo` prints, taken apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TRACE = re.compile(r" \[\+t\] \[(?P<time>[^]]+)\] \[(?P<chart>\w+)\] e->(?P<signal>\w+)\(\)")


def demo_books(lines: Sequence[str]) -> dict[str, list[str]]:
    """The rows of its table; `` has who sends to whom."""
    return {line[:15].strip(): line[15:].split() for line in lines}


def demo_times(lines: Sequence[str]) -> list[str]:
    """The time of each line of the trace."""
    return [found["time"] for line in lines if (found := _TRACE.match(line))]


def moved_by_the_other(lines: Sequence[str]) -> list[str]:
    """How many lines of the trace the other chart has caused, for each column of the table."""
    steps = [found for line in lines if (found := _TRACE.match(line))]
    (header,) = [line.split() for line in lines if line.count(" -> ") == 2]
    moved = [step["chart"] for step in steps if step["signal"].startswith("other_")]
    return [str(moved.count(receiver)) for receiver in (header[2], header[5])]
