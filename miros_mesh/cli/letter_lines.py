"""The lines of `miros-mesh dead-letters`: a table, the facts of one letter, or JSON."""

from __future__ import annotations

import json
import pprint
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from miros_mesh.dead_letters.in_json import as_json
from miros_mesh.dead_letters.letter import Letter
from miros_mesh.text import printable

# In the order of what an operator needs first: a narrow terminal gets fewer of them.
_HEADER: Final = (
    *("id", "set aside", "reason", "signal", "chart", "sender"),
    *("node", "topic", "bytes", "place", "peer"),
)
_FEWEST: Final = 4
_GAP: Final = "  "
_PAYLOAD_WIDTH: Final = 96


def write_table(letters: Sequence[Letter]) -> None:
    """Write a row for each letter; a terminal gets the columns and characters it has room for."""
    rows = [_HEADER, *map(_row, letters)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if room:
        while len(widths) > _FEWEST and sum(widths) + len(_GAP) * (len(widths) - 1) > room:
            widths.pop()
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        line = _GAP.join(cells).rstrip()
        sys.stdout.write((_cut(line, room) if room else line) + "\n")


def write_facts(letter: Letter) -> None:
    """Write all that is known of a letter, a line each."""
    for name, value in as_json(letter).items():
        if value not in ("", None):
            sys.stdout.write(f"{name.replace('_', ' '):13} {printable(str(value))}\n")


def write_payload(payload: object) -> None:
    """Write a payload as Python writes it, so that no character of it commands a terminal."""
    sys.stdout.write("\n")
    for line in pprint.pformat(payload, width=_PAYLOAD_WIDTH).splitlines():
        sys.stdout.write(printable(line) + "\n")


def write_json(objects: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    for each in objects:
        sys.stdout.write(json.dumps(each, default=str) + "\n")


def summary(letter: Letter) -> str:
    """Return in a few words what a letter is about."""
    if letter.content == "sealed":
        return f"a sealed letter of {letter.size_bytes:,} bytes"
    what = letter.signal or f"a {letter.content}"
    return printable(f"{what} of {letter.chart} ({letter.reason})")


def _row(letter: Letter) -> tuple[str, ...]:
    when = datetime.fromtimestamp(letter.time).astimezone() if letter.time is not None else None
    cells = (
        letter.id,
        f"{when:%Y-%m-%d %H:%M:%S}" if when else "",
        letter.reason or letter.content,
        letter.signal or f"({letter.content})",
        letter.chart,
        letter.sender_chart,
        letter.node,
        letter.topic,
        f"{letter.size_bytes:,}",
        letter.place,
        letter.peer,
    )
    return tuple(map(printable, cells))


def _cut(line: str, room: int) -> str:
    return line if len(line) <= room else line[: room - 1] + "…"
