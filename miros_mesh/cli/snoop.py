"""`miros-mesh snoop`: what every chart of the mesh does, line by line, until somebody ends it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from miros_mesh.cli.top import NOBODY
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import LinkError
from miros_mesh.networks.snoop.records import render
from miros_mesh.observe.logs.ecs import ECS_VERSION, to_ecs
from miros_mesh.observe.logs.snoop_log import GAP_DATASET, read_snoop_log
from miros_mesh.observe.snoop.monitor import SNOOP_NETWORKS, SnoopMonitor, SnoopNetwork
from miros_mesh.observe.snoop.overview import NodeView, Overview
from miros_mesh.observe.snoop.selection import Selection
from miros_mesh.observe.snoop.watch import SnoopGap, Watch
from miros_mesh.sigterm import stop_on_sigterm
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord

# A node tells of itself once a second, and is silent after three.
_SILENT_S = 3.0
_NAMED = 10
# Lines that are written at once when many wait.
_AT_ONCE = 500
_GAP, _RESET = "\033[93m", "\033[0m"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to show of it; patterns as `SnoopMonitor` takes them."""

    trace: bool
    spy: bool
    nodes: Sequence[str]
    charts: Sequence[str]
    kinds: Sequence[str]
    signals: Sequence[str]
    states: Sequence[str]

    @property
    def networks(self) -> Sequence[SnoopNetwork]:
        """Those that were asked for; with neither, both."""
        asked = {"snoop_trace": self.trace, "snoop_spy": self.spy}
        return [n for n in SNOOP_NETWORKS if asked[n]] or SNOOP_NETWORKS


def snoop(
    environ: Mapping[str, str],
    wanted: Wanted,
    *,
    broker_url: str | None,
    history: Path | None,
    since: float | None,
    seconds: float | None,
    as_json: bool,
    color: bool,
) -> int:
    """Follow the charts; 0 at the end, however it comes."""
    config = MeshConfig.from_env(environ, broker_url=broker_url)
    monitor = SnoopMonitor(
        config,
        networks=wanted.networks,
        nodes=wanted.nodes,
        charts=wanted.charts,
        kinds=wanted.kinds,
        signals=wanted.signals,
        states=wanted.states,
    )
    printer = _Printer(as_json=as_json, color=color)
    stop_on_sigterm()
    if history:
        _replay(monitor, printer, history, since or 0.0)
    # Before the start: what comes first may be the gap behind the history.
    watch = monitor.watch()
    try:
        with monitor:
            if seconds:
                watch.limit(seconds)
            if sys.stderr.isatty() and sys.stdout.isatty() and not as_json:
                _say(f"watching {' and '.join(monitor.networks)}; Ctrl-C ends")
                _explain_silence(monitor, watch, printer, config)
            printer.follow(watch)
    finally:
        _conclude(monitor)
    return 0


def _replay(monitor: SnoopMonitor, printer: _Printer, history: Path, since: float) -> None:
    """What a file has, before what comes: the monitor sees what is missing in between."""
    read = read_snoop_log(history)
    if read.torn:
        sys.stderr.write(f"{read.torn} lines of {printable(str(history))} are no snoop records\n")
    told = monitor.replay(read.records)
    printer.show(item for item in told if isinstance(item, SnoopGap) or item.time >= since)


def _explain_silence(
    monitor: SnoopMonitor, watch: Watch, printer: _Printer, config: MeshConfig
) -> None:
    """Show what comes first, or say why nothing does."""
    try:
        with Overview(config) as overview:
            if first := watch.get(_SILENT_S):
                printer.show((first,))
            # A frame under another key has been told in the log.
            elif not (watch.ended or monitor.refused or overview.refused):
                _say(_silence(monitor.selection, overview.nodes))
    except LinkError:
        # It goes on without an explanation.
        return


def _silence(selection: Selection, nodes: Sequence[NodeView]) -> str:
    charts = [(node.name, chart.name) for node in nodes for chart in node.charts]
    if not charts:
        return NOBODY
    wanted = [chart for chart in charts if selection.has_sender(*chart)]
    if wanted:
        return f"Nothing of what was asked for has come yet from {_names(wanted)}"
    return f"The patterns fit none of the charts that take part: {_names(charts)}"


def _names(charts: Sequence[tuple[str, str]]) -> str:
    named = ", ".join(f"{chart} of node {node}" for node, chart in charts[:_NAMED])
    more = len(charts) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


def _say(words: str) -> None:
    sys.stderr.write(f"miros-mesh snoop: {printable(words)}\n")
    sys.stderr.flush()


def _conclude(monitor: SnoopMonitor) -> None:
    for reason, frames in monitor.refused.items():
        sys.stderr.write(f"{frames} frames were not shown: {reason}\n")


class _Printer:
    def __init__(self, *, as_json: bool, color: bool) -> None:
        self._as_json = as_json
        self._color = color

    def follow(self, watch: Watch) -> None:
        """Print all that comes; many lines at once when much does."""
        while not watch.ended:
            if item := watch.get(None):
                self.show((item, *watch.waiting(_AT_ONCE)))

    def show(self, items: Iterable[SnoopRecord | SnoopGap]) -> None:
        """Print items, a line each."""
        line = _as_json if self._as_json else self._line
        sys.stdout.write("".join(f"{line(item)}\n" for item in items))
        sys.stdout.flush()

    def _line(self, item: SnoopRecord | SnoopGap) -> str:
        if isinstance(item, SnoopRecord):
            return render(item, color=self._color)
        records = "1 record" if item.missing == 1 else f"{item.missing:,} records"
        chart, node = printable(item.chart), printable(item.node)
        why = "missing" if item.reason == "lost" else "this reader is too slow"
        mark = f" [--] {records} of {chart} not shown: {why} ({item.network}, {node})"
        return f"{_GAP}{mark}{_RESET}" if self._color else mark


def _as_json(item: SnoopRecord | SnoopGap) -> str:
    return json.dumps(to_ecs(item) if isinstance(item, SnoopRecord) else _gap_as_ecs(item))


def _gap_as_ecs(gap: SnoopGap) -> dict[str, object]:
    facts = asdict(gap)
    node = facts.pop("node")
    return {
        "@timestamp": datetime.now(UTC).isoformat(timespec="microseconds"),
        "ecs": {"version": ECS_VERSION},
        "message": f"{gap.missing} records are missing",
        "event": {"kind": "event", "module": "miros_mesh", "dataset": GAP_DATASET},
        "log": {"level": "warning", "logger": GAP_DATASET},
        "service": {"node": {"name": node}},
        "miros_mesh": facts,
    }
