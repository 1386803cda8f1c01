"""`miros-mesh snoop`: what every chart of the mesh does, line by line, until interrupted."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from miros_mesh.cli.moment import moment
from miros_mesh.cli.options import LONGEST_RUN_S, Commands, add_broker, seconds_up_to, wants_color
from miros_mesh.cli.snoop_lines import Printer
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import LinkError, SelectionError
from miros_mesh.observe.logs.snoop_log import read_snoop_log
from miros_mesh.observe.snoop.monitor import SnoopMonitor
from miros_mesh.observe.snoop.networks import SNOOP_NETWORKS
from miros_mesh.observe.snoop.overview import Overview
from miros_mesh.observe.snoop.selection import Selection
from miros_mesh.observe.snoop.views import NO_NODES, NodeView
from miros_mesh.observe.snoop.watch import SnoopGap, Watch
from miros_mesh.service.sigterm import stop_on_sigterm
from miros_mesh.text import printable

# Longer than the second after which each node sends its status again, and shorter than a reader at
# a terminal waits before wondering.
_EXPLAIN_AFTER_S = 3.0
_NAMED = 10

_HELP = """\
Print what every chart does that has a snoop stream enabled, until Ctrl-C. A line that begins with
[--] is a gap: records that were told and are not shown, and why.

A broker keeps no records of the past. For --since, keep your own: miros-mesh snoop --json >> FILE.
Then --history FILE --since 10m (or 90s, 2h, 1d, 2026-11-21T03:08) shows that part first and goes on
with what comes; what both have is shown once, what neither has is a gap.

A PATTERN is a name, or a shell pattern such as 'pump*'. An option that is given several times shows
what any of its patterns fits; different options must all fit.
"""

_FILTERS = {
    "node": "nodes with this name",
    "chart": "charts with this name",
    "kind": "trace, spy or scribble",
    "signal": "this signal",
    "state": "steps from, to or within this state",
}


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "snoop",
        help="what every chart of the mesh does, line by line",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_broker(parser, "the mesh at this broker")
    option = parser.add_argument
    option("--trace", action="store_true", help="transitions and notes; default: these and --spy")
    option("--spy", action="store_true", help="every step of the event processors")
    for name, what in _FILTERS.items():
        option(f"--{name}", action="append", default=[], metavar="PATTERN", help=f"only {what}")
    option("--json", action="store_true", help="one ECS object a line")
    option("--history", type=Path, metavar="FILE", help="first what --json wrote into this file")
    option("--since", type=moment, metavar="WHEN", help="of the history: what is younger than that")
    option(
        "--seconds",
        type=seconds_up_to(LONGEST_RUN_S),
        metavar="N",
        help="end after so long; default: never",
    )
    option("--no-color", action="store_true", help="print without colours")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    parser: argparse.ArgumentParser = options.parser
    if options.since is not None and options.history is None:
        parser.error("--since needs --history FILE: a broker keeps no records of the past")
    config = MeshConfig.from_env(os.environ, broker_url=options.broker)
    try:
        monitor = _monitor(config, options)
    except SelectionError as error:
        # A pattern that fits nothing is wrong usage, with exit code 2.
        parser.error(str(error))
    printer = Printer(as_json=options.json, color=wants_color(options))
    # Before the node starts, so that a SIGTERM leaves the mesh as Ctrl-C does.
    stop_on_sigterm()
    if options.history:
        _replay(monitor, printer, options.history, options.since or 0.0)
    # For a person, who may read the lines through a filter.
    explains = sys.stderr.isatty() and not options.json
    return snoop(config, monitor, printer, seconds=options.seconds, explains=explains)


def _monitor(config: MeshConfig, options: argparse.Namespace) -> SnoopMonitor:
    asked = {"snoop_trace": options.trace, "snoop_spy": options.spy}
    return SnoopMonitor(
        config,
        networks=[network for network in SNOOP_NETWORKS if asked[network]] or SNOOP_NETWORKS,
        nodes=options.node,
        charts=options.chart,
        kinds=options.kind,
        signals=options.signal,
        states=options.state,
    )


def snoop(
    config: MeshConfig,
    monitor: SnoopMonitor,
    printer: Printer,
    *,
    seconds: float | None,
    explains: bool,
) -> int:
    """Print what the monitor shows for so long, or until interrupted; return 0.

    With `explains` the reason why nothing is shown is said on standard error, after some seconds.
    """
    # Before the start: what comes first may be the gap behind the history.
    watch = monitor.watch()
    try:
        with monitor:
            if seconds:
                watch.limit(seconds)
            if explains:
                _say(f"watching {' and '.join(monitor.networks)}; Ctrl-C ends")
                _explain_silence(monitor, watch, printer, config)
            # Without a limit to its waiting: SIGINT and SIGTERM end it by an exception in this
            # thread.
            printer.follow(watch)
    finally:
        # Also after Ctrl-C, which is how this command mostly ends.
        _conclude(monitor.refused)
    return 0


def _replay(monitor: SnoopMonitor, printer: Printer, history: Path, since: float) -> None:
    """Show what a file has, before what comes: the monitor sees what is missing in between."""
    log = read_snoop_log(history)
    if log.torn:
        sys.stderr.write(f"{log.torn} lines of {printable(str(history))} are no snoop records\n")
    items = monitor.replay(log.records)
    # The monitor took all of the file, also what is too old to be shown: so it knows each number.
    printer.show(item for item in items if isinstance(item, SnoopGap) or item.time >= since)


def _explain_silence(
    monitor: SnoopMonitor, watch: Watch, printer: Printer, config: MeshConfig
) -> None:
    """Show what comes first, or say why nothing does."""
    try:
        # A second node, for some seconds: a monitor does not hear node status.
        with Overview(config) as overview:
            if first := watch.get(_EXPLAIN_AFTER_S):
                printer.show((first,))
            # Of frames under another key the log has said so already.
            elif not (watch.ended or monitor.refused or overview.refused):
                _say(_silence(monitor.selection, overview.nodes))
    except LinkError:
        # The monitor has a connection of its own and goes on, without an explanation.
        return


def _silence(selection: Selection, nodes: Sequence[NodeView]) -> str:
    charts = [(node.name, chart.name) for node in nodes for chart in node.charts]
    if not charts:
        return NO_NODES
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


def _conclude(refused: Mapping[str, int]) -> None:
    for reason, frames in refused.items():
        sys.stderr.write(f"{frames} frames were not shown: {reason}\n")
