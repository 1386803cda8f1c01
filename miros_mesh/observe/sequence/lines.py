"""Snoop records read from logs: our JSON lines, our printed trace, the logs of the ancestor."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from miros_mesh.errors import SnoopRecordError
from miros_mesh.observe.logs.ecs import DATASET, from_ecs
from miros_mesh.wire.envelope import SnoopRecord

# A line of the largest record is shorter; what is longer is no line of ours.
LONGEST_LINE = 64 * 1024
# The end of the year 9998, as in a record that came over the wire.
LATEST = 253_370_764_800

_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_TRACE = re.compile(r"\[(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,6})?)\] \[")
# The second form is that of the ancestor's consumer.
_SPY = re.compile(r"\[\+s\] \S|\[x\] Spy: ")


@dataclass
class Trace:
    """The records of a log; `unreadable` are the numbers of the lines without a whole record."""

    records: list[SnoopRecord] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)
    lines: int = 0


def read(lines: Iterable[bytes]) -> Trace:
    """Return every record of a log, whatever lies between them; raises nothing but for I/O.

    Printed lines carry neither node nor cause: their records have an empty `node` and
    `incarnation`, the number of their line as `sequence`, and a time of this machine's time zone.
    """
    trace = Trace()
    printed: set[tuple[str, float, str]] = set()
    for number, line in enumerate(lines, 1):
        trace.lines = number
        try:
            record = _record(line, number)
        except (ValueError, OverflowError):
            trace.unreadable.append(number)
            continue
        if record is None:
            continue
        if not record.incarnation:
            # A log of several terminals has each line several times, one for each process.
            key = record.chart, record.time, record.text
            if key in printed:
                continue
            printed.add(key)
        trace.records.append(record)
    return trace


def _record(line: bytes, number: int) -> SnoopRecord | None:
    """Return the record; None for a whole line that is no transition's.

    Raises `ValueError`, or `OverflowError` for a time, when the line cannot be read.
    """
    if len(line) > LONGEST_LINE:
        raise ValueError("too long")
    # Some editors begin a file with a byte-order mark.
    text = line.decode("utf-8-sig").strip()
    if text.startswith("{"):
        return _from_json(text)
    return _from_text(_COLOR.sub("", text), number) if text else None


def _from_json(text: str) -> SnoopRecord | None:
    try:
        fields = msgspec.json.decode(text, type=dict[str, object])
        # Other lines of JSON are whole too: the log of an application holds much else.
        return from_ecs(fields) if _dataset(fields) == DATASET else None
    except (msgspec.MsgspecError, SnoopRecordError, RecursionError) as error:
        raise ValueError("no snoop record") from error


def _dataset(fields: dict[str, object]) -> object:
    event = fields.get("event")
    return event.get("dataset") if isinstance(event, dict) else fields.get("event.dataset")


def _from_text(text: str, number: int) -> SnoopRecord | None:
    found = _TRACE.search(text)
    if found is None:
        if _SPY.match(text):
            return None
        raise ValueError("no trace")
    rest = text[found.end() :]
    chart, arrow, call = rest.partition("] e->")
    if not arrow:
        # A scribble, which is a note and no step.
        if "] # " in rest:
            return None
        raise ValueError("no transition")
    signal, called, states = call.partition("() ")
    # A torn line lacks an end: each part of the pattern must be there.
    before, went, after = states.partition("->")
    if not (chart and signal and called and before and went and after):
        raise ValueError("a torn line")
    # Written in the local time of the program that printed it, without a zone, and taken for ours.
    time = datetime.fromisoformat(found[1]).astimezone().timestamp()
    if not 0 <= time <= LATEST:
        raise ValueError("no time of a record")
    return SnoopRecord(
        node="",
        chart=chart,
        incarnation="",
        sequence=number,
        kind="trace",
        time=time,
        text=f"e->{call}",
        signal=signal,
        from_state=before,
        to_state=after,
    )
