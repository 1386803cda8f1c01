"""`miros-mesh sequence`: a sequence diagram of a log, or of what the mesh does now."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import TraceError
from miros_mesh.observe.sequence import mermaid, page, plantuml, svg, text
from miros_mesh.observe.sequence.lines import read
from miros_mesh.observe.sequence.model import Diagram, diagram
from miros_mesh.observe.snoop.monitor import SnoopMonitor
from miros_mesh.observe.snoop.selection import Selection
from miros_mesh.observe.snoop.watch import Watch
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord

FORMATS: dict[str, Callable[[Diagram], str]] = {
    "text": text,
    "mermaid": mermaid,
    "plantuml": plantuml,
    "svg": svg,
    "html": page,
}
LONGEST_S = 3600
# Of the longest live talk; more transitions than anybody looks at.
MAX_RECORDS = 100_000
_SUFFIXES = {
    "": "text",
    ".txt": "text",
    ".mmd": "mermaid",
    ".puml": "plantuml",
    ".svg": "svg",
    ".html": "html",
    ".htm": "html",
}
_RANGES = 10

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


def add_sequence(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's options."""
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
    parser.add_argument("--seconds", type=_seconds, help="watch the mesh instead of reading a log")
    parser.add_argument("--broker", metavar="URL", help="with --seconds: the mesh at this broker")
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
    parser.set_defaults(run=lambda options: _run(parser, options))


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.seconds and options.file:
        parser.error("give a FILE or --seconds, not both")
    if options.broker and not options.seconds:
        parser.error("--broker names the mesh to watch and needs --seconds")
    if not (options.seconds or options.file) and sys.stdin.isatty():
        parser.error("nothing to read: name a FILE, pipe a log in, or watch with --seconds 20")
    suffix = options.output.suffix.lower() if options.output else ""
    if not (options.format or suffix in _SUFFIXES):
        known = ", ".join(filter(None, _SUFFIXES))
        parser.error(
            f"--output ends in {printable(suffix)}, which is no known form: "
            f"take one of {known}, or say --format"
        )
    records = _heard(options.seconds, options.broker) if options.seconds else _logged(options.file)
    drawing = diagram(records, Selection(charts=tuple(options.chart), nodes=tuple(options.node)))
    drawn = FORMATS[options.format or _SUFFIXES[suffix]](drawing)
    if options.output is None:
        # A page says that it is UTF-8, whatever the terminal's encoding.
        sys.stdout.buffer.write(drawn.encode())
        sys.stdout.flush()
    else:
        _write(options.output, drawn)
        _say(f"{drawing.title}: {options.output}")
    return 0


def _logged(file: str | None) -> list[SnoopRecord]:
    name = "standard input" if file in (None, "-") else printable(str(file))
    try:
        trace = read(_lines(file))
    except OSError as error:
        raise TraceError(f"{name} cannot be read: {error.strerror}") from None
    if not trace.lines:
        raise TraceError(f"{name} is empty; it should hold the trace of a mesh")
    if trace.unreadable:
        _say(
            f"skipped {len(trace.unreadable)} of {trace.lines} lines of {name}, which hold no "
            f"whole snoop record: {_ranges(trace.unreadable)}"
        )
    if not trace.records:
        raise TraceError(
            f"{name} holds no snoop record; it should be the log of a snoop stream: JSON lines, "
            "or lines such as [+t] [2026-01-31 12:00:00.000000] [chart] e->signal() here->there"
        )
    return trace.records


def _lines(file: str | None) -> Iterator[bytes]:
    if file is None or file == "-":
        yield from sys.stdin.buffer
        return
    with Path(file).open("rb") as log:
        yield from log


def _heard(seconds: float, broker: str | None) -> list[SnoopRecord]:
    """What the charts of the mesh tell meanwhile."""
    records: list[SnoopRecord] = []
    config = MeshConfig.from_env(os.environ, broker_url=broker)
    monitor = SnoopMonitor(config)
    # Before the start, or the first records would come before anybody read.
    watch = monitor.watch()
    with monitor:
        watch.limit(seconds)
        _say(f"watching the mesh for {seconds:g} s")
        try:
            records.extend(_until(time.monotonic() + seconds, watch))
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
    for record in islice(_telling(watch), MAX_RECORDS):
        yield record
        if time.monotonic() > end:
            return


def _telling(watch: Watch) -> Iterator[SnoopRecord]:
    """The trace, and of the spy one record for each event that tells what caused it."""
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


def _ranges(numbers: Sequence[int]) -> str:
    """1-3, 7 for 1, 2, 3, 7; at most so many."""
    starts = [0, *(place for place, (a, b) in enumerate(pairwise(numbers), 1) if b > a + 1)]
    ends = [*starts[1:], len(numbers)]
    runs = [
        f"{numbers[start]}-{numbers[end - 1]}" if end - start > 1 else f"{numbers[start]}"
        for start, end in zip(starts, ends, strict=True)
    ]
    more = len(runs) - _RANGES
    return ", ".join(runs[:_RANGES]) + (f" and {more} more places" if more > 0 else "")


def _say(words: str) -> None:
    sys.stderr.write(f"miros-mesh sequence: {printable(words)}\n")
    sys.stderr.flush()


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"a number from 1 to {LONGEST_S} is needed")
    return value
