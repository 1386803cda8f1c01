"""`miros-mesh sequence`: a sequence diagram of a log, or of what the mesh does now."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from miros_mesh.cli.options import (
    LONGEST_RUN_S,
    BrokerOption,
    Commands,
    add_broker,
    seconds_up_to,
)
from miros_mesh.cli.trace_log import read_log
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import TraceError
from miros_mesh.observe.sequence.diagram import diagram
from miros_mesh.observe.sequence.forms import FORMATS
from miros_mesh.observe.snoop.monitor import SnoopMonitor
from miros_mesh.observe.snoop.selection import Selection
from miros_mesh.observe.snoop.watch import Watch
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord

# Bounds the memory of a long watch; a diagram of so many transitions has no reader.
MAX_RECORDS = 100_000
_SUFFIXES = {form.suffix: name for name, form in FORMATS.items()} | {"": "text", ".htm": "html"}

_HELP = """\
Draw the transitions of all charts, numbered in the order of cause and effect.

FILE holds JSON lines of snoop records (ECS), the printed trace of any version, or both; without
FILE, or with -, it is read from standard input. With --seconds the mesh is watched for so long,
with the settings of the environment; Ctrl-C ends it early and draws what there is. Lines that hold
no snoop record are skipped, and named on standard error.

  text      each chart's states side by side, as the ancestor drew them, and a list
  mermaid   arrows between charts, for Markdown pages
  plantuml  the same for PlantUML
  svg       a picture
  html      a page with the picture and a table

Arrows between charts need the cause, which JSON lines carry and printed lines do not. Where the
cause is an event that a chart handled without a transition, only the spy stream tells of it.
"""


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "sequence",
        help="a sequence diagram, with numbers, of a log or of the mesh at work",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="a log; - or none: standard input")
    parser.add_argument(
        "--format", choices=FORMATS, help="default: as --output ends (.svg, .mmd, ...), else text"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
    parser.add_argument(
        "--seconds",
        type=seconds_up_to(LONGEST_RUN_S),
        help="watch the mesh instead of reading a log",
    )
    add_broker(parser, "with --seconds: the mesh at this broker")
    parser.add_argument(
        "--chart",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only transitions of charts of this name (* and ? stand for anything); repeatable",
    )
    parser.add_argument(
        "--node", action="append", default=[], metavar="PATTERN", help="likewise the nodes"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    form = _form(options)
    if options.seconds:
        records = _heard(options.seconds, options.broker)
    else:
        # All of them, and selected in the diagram: the causes of a chart's transitions are
        # elsewhere.
        records = read_log(options.file, _say)
    drawing = diagram(records, Selection(charts=tuple(options.chart), nodes=tuple(options.node)))
    drawn = FORMATS[form].draw(drawing)
    if options.output is None:
        # A page says that it is UTF-8, whatever the terminal's encoding.
        sys.stdout.buffer.write(drawn.encode())
        sys.stdout.flush()
    else:
        _write(options.output, drawn)
        _say(f"{drawing.title}: {options.output}")
    return 0


def _form(options: argparse.Namespace) -> str:
    """Return the form to draw; exit with the usage for options that do not go together."""
    parser: argparse.ArgumentParser = options.parser
    if options.seconds and options.file:
        parser.error("give a FILE or --seconds, not both")
    if options.broker and not options.seconds:
        parser.error("--broker or --broker-file names the mesh to watch and needs --seconds")
    # A user who forgot the file would wait for a program that waits for the user.
    if not (options.seconds or options.file) and sys.stdin.isatty():
        parser.error("nothing to read: name a FILE, pipe a log in, or watch with --seconds 20")
    suffix = options.output.suffix.lower() if options.output else ""
    if not (options.format or suffix in _SUFFIXES):
        known = ", ".join(filter(None, _SUFFIXES))
        parser.error(
            f"--output ends in {printable(suffix)}, which is no known form: "
            f"take one of {known}, or say --format"
        )
    return options.format or _SUFFIXES[suffix]


def _heard(seconds: float, broker: BrokerOption) -> list[SnoopRecord]:
    """Return the records of the next `seconds`; Ctrl-C ends it early.

    Raises `TraceError` when no transition was among them.
    """
    records: list[SnoopRecord] = []
    config = MeshConfig.from_env(os.environ, broker_url=broker)
    # Both networks: the spy has the causes that made no transition.
    monitor = SnoopMonitor(config)
    # Before the start, or the first records would come while nothing reads them.
    watch = monitor.watch()
    with monitor:
        watch.limit(seconds)
        try:
            # Inside too: a user may be quick with Ctrl-C.
            _say(f"watching the mesh for {seconds:g} s")
            records.extend(_until(time.monotonic() + seconds, watch))
        # Inside the `with`: what came so far is drawn.
        except KeyboardInterrupt:
            _say("interrupted")
        for reason, frames in monitor.refused.items():
            _say(f"{frames} frames could not be read: {reason}")
    if not any(record.kind == "trace" for record in records):
        raise TraceError(
            "no transition was told meanwhile; "
            "charts take part after enable_snoop_trace, with the same broker and keys"
        )
    if len(records) == MAX_RECORDS:
        _say(f"stopped after {MAX_RECORDS} records")
    return records


def _until(end: float, watch: Watch) -> Iterator[SnoopRecord]:
    for record in islice(_needed(watch), MAX_RECORDS):
        yield record
        # The watch ends at its limit only when nothing waits; charts that never pause would go on.
        if time.monotonic() > end:
            return


def _needed(watch: Watch) -> Iterator[SnoopRecord]:
    """Leave out what no diagram needs: of the spy all but one record an event that has a cause."""
    # A chart makes several lines of spy for one event, all with the same cause.
    handled: set[tuple[str, str, str | None]] = set()
    for item in watch:
        if isinstance(item, SnoopRecord):
            key = item.incarnation, item.chart, item.event_id
            if item.kind != "spy":
                yield item
            elif item.cause and key not in handled:
                handled.add(key)
                yield item


def _write(path: Path, drawn: str) -> None:
    try:
        path.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise TraceError(f"{printable(str(path))} cannot be written: {error.strerror}") from None


def _say(words: str) -> None:
    sys.stderr.write(f"miros-mesh sequence: {printable(words)}\n")
    sys.stderr.flush()
