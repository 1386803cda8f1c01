"""The log that `miros-mesh sequence` draws: read, with a word about the lines that hold nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from miros_mesh.errors import TraceError
from miros_mesh.observe.sequence.lines import read
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord

STANDARD_INPUT = "-"
# Of torn lines: one that lists hundreds of places helps no reader.
_RANGES = 10


def read_log(file: str | None, say: Callable[[str], None]) -> list[SnoopRecord]:
    """Return the records of a log; None or `-` is standard input.

    Lines without a whole record are skipped, and named to `say` once. Raises `TraceError` for a
    file that cannot be read, is empty, or holds no record.
    """
    name = "standard input" if file in (None, STANDARD_INPUT) else printable(str(file))
    try:
        trace = read(_lines(file))
    except OSError as error:
        raise TraceError(f"{name} cannot be read: {error.strerror}") from None
    if not trace.lines:
        raise TraceError(f"{name} is empty; it should hold the trace of a mesh")
    if trace.unreadable:
        say(
            f"skipped {len(trace.unreadable)} of {trace.lines} lines of {name}, which hold no "
            f"whole snoop record: {ranges(trace.unreadable)}"
        )
    if not trace.records:
        raise TraceError(
            f"{name} holds no snoop record; it should be the log of a snoop stream: JSON lines, "
            "or lines such as [+t] [2026-01-31 12:00:00.000000] [chart] e->signal() here->there"
        )
    return trace.records


def _lines(file: str | None) -> Iterator[bytes]:
    if file is None or file == STANDARD_INPUT:
        # Bytes, as of a file: `read` skips what is no UTF-8 where a text stream would raise.
        yield from sys.stdin.buffer
        return
    with Path(file).open("rb") as log:
        yield from log


def ranges(numbers: Sequence[int]) -> str:
    """Write 1, 2, 3, 7 as `1-3, 7`, and say how many places there are beyond the first ten."""
    # The places at which a run of numbers begins; each ends where the next one begins.
    starts = [0, *(place for place, (a, b) in enumerate(pairwise(numbers), 1) if b > a + 1)]
    ends = [*starts[1:], len(numbers)]
    runs = [
        f"{numbers[start]}-{numbers[end - 1]}" if end - start > 1 else f"{numbers[start]}"
        for start, end in zip(starts, ends, strict=True)
    ]
    more = len(runs) - _RANGES
    return ", ".join(runs[:_RANGES]) + (f" and {more} more places" if more > 0 else "")
