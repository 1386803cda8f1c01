"""The lines of `miros-mesh snoop`: a record or a gap each, for a terminal or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime

from miros_mesh.networks.snoop.records import render
from miros_mesh.observe.logs.ecs import ECS_VERSION, MODULE, to_ecs
from miros_mesh.observe.logs.snoop_log import GAP_DATASET
from miros_mesh.observe.snoop.watch import SnoopGap, Watch
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord

# So many lines are written by one call when more wait: a write and a flush for each cost more than
# the lines themselves.
_AT_ONCE = 500
_GAP, _RESET = "\033[93m", "\033[0m"


class Printer:
    """Writes items to standard output; for one thread."""

    def __init__(self, *, as_json: bool, color: bool) -> None:
        self._as_json = as_json
        self._color = color

    def follow(self, watch: Watch) -> None:
        """Print all that comes, until the watch ends."""
        # `get` may give None before the end, at a limit that has just been reached.
        while not watch.ended:
            if item := watch.get(None):
                self.show((item, *watch.waiting(_AT_ONCE)))

    def show(self, items: Iterable[SnoopRecord | SnoopGap]) -> None:
        """Print items, a line each, and flush."""
        line = _as_json if self._as_json else self._as_text
        sys.stdout.write("".join(f"{line(item)}\n" for item in items))
        sys.stdout.flush()

    def _as_text(self, item: SnoopRecord | SnoopGap) -> str:
        if isinstance(item, SnoopRecord):
            return render(item, color=self._color)
        records = "1 record" if item.missing == 1 else f"{item.missing:,} records"
        chart, node = printable(item.chart), printable(item.node)
        why = "missing" if item.reason == "lost" else "this reader is too slow"
        line = f" [--] {records} of {chart} not shown: {why} ({item.network}, {node})"
        return f"{_GAP}{line}{_RESET}" if self._color else line


def _as_json(item: SnoopRecord | SnoopGap) -> str:
    return json.dumps(to_ecs(item) if isinstance(item, SnoopRecord) else _gap_as_ecs(item))


def _gap_as_ecs(gap: SnoopGap) -> dict[str, object]:
    facts = asdict(gap)
    node = facts.pop("node")
    return {
        # When it was seen: when the missing records were made is not known.
        "@timestamp": datetime.now(UTC).isoformat(timespec="microseconds"),
        "ecs": {"version": ECS_VERSION},
        "message": f"{gap.missing} records are missing",
        "event": {"kind": "event", "module": MODULE, "dataset": GAP_DATASET},
        "log": {"level": "warning", "logger": GAP_DATASET},
        "service": {"node": {"name": node}},
        "miros_mesh": facts,
    }
