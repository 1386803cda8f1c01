"""Snoop records read from a file that holds one ECS object a line."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from miros_mesh.errors import SnoopLogError, SnoopRecordError
from miros_mesh.observe.logs.ecs import from_ecs
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord

GAP_DATASET = "miros_mesh.snoop_gap"
"""The `event.dataset` of a gap, which `snoop --json` writes too; it is made anew when read."""


@dataclass(frozen=True)
class SnoopLog:
    """The snoop records that a file holds."""

    records: list[tuple[str, SnoopRecord]]
    """Each with the network that it came by, in the file's order."""
    torn: int
    """How many lines are no snoop records."""


def read_snoop_log(path: Path) -> SnoopLog:
    """Read what `miros-mesh snoop --json` wrote; a torn line is counted and skipped.

    Raises `SnoopLogError` for a file that cannot be read.
    """
    records, torn = list[SnoopRecord](), 0
    try:
        # As bytes: a line that is no UTF-8 is one torn line, and ends nothing.
        with path.open("rb") as lines:
            for line in lines:
                try:
                    fields = json.loads(line)
                    if _is_gap(fields):
                        continue
                    records.append(from_ecs(fields))
                # Also JSON that is no object, or nested deeper than Python can follow. A torn line
                # is usual: the program was killed, or the disk full.
                except (
                    ValueError,
                    SnoopRecordError,
                    AttributeError,
                    TypeError,
                    RecursionError,
                ):
                    torn += 1
    except OSError as error:
        name = printable(str(path))
        raise SnoopLogError(f"{name} cannot be read: {error.strerror}") from None
    return SnoopLog(_with_networks(records), torn)


def _is_gap(fields: object) -> bool:
    event = fields.get("event") if isinstance(fields, dict) else None
    return isinstance(event, dict) and event.get("dataset") == GAP_DATASET


def _with_networks(records: list[SnoopRecord]) -> list[tuple[str, SnoopRecord]]:
    """Name each record's network: a scribble goes by trace, or by spy if its chart has no trace."""
    # An ECS object does not name its network, and both networks number a chart's records from 1:
    # put on the wrong one, a record would be a duplicate of another.
    kinds: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for record in records:
        kinds[record.incarnation, record.chart].add(record.kind)
    only_spy = {sender for sender, seen in kinds.items() if "spy" in seen and "trace" not in seen}

    def network_of(record: SnoopRecord) -> str:
        scribbled_to_spy = (
            record.kind == "scribble" and (record.incarnation, record.chart) in only_spy
        )
        return "snoop_spy" if record.kind == "spy" or scribbled_to_spy else "snoop_trace"

    return [(network_of(record), record) for record in records]
