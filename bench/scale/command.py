"""`make bench ARGS=scale`: what grows how, with charts, peers, processes, payload and backlog."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import plots
import report
from brokers import ROOT, Measured, embedded, rabbitmq
from miros_mesh.cli.options import add_broker
from options import file_to_write, from_to, names_of
from pages import write_part
from scale import backlog, charts, payload, peers, processes
from scale.axes import Axis, Walked, say, walk
from scale.growth import Metric, growing_linearly
from scale.tables import figures, rounds_of, series, table

COMMAND = "scale"
AXES: dict[str, Axis] = {
    each.AXIS.name: each.AXIS for each in (charts, peers, processes, payload, backlog)
}
NOTES = """\
A figure grows about as the power of what stands in the heading: 0 is flat, 1 is linear. `power` is
fitted to all points, `at the end` to the three largest, of which the word speaks.
docs/benchmarks.md says what is measured."""


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 when a point came to nothing."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.write_docs and options.quick:
        parser.error("--write-docs takes a whole run, without --quick")
    began = time.monotonic()
    with ExitStack() as stack:
        brokers = [stack.enter_context(embedded())]
        say("looking for RabbitMQ ...")
        server = stack.enter_context(rabbitmq(options.broker))
        brokers += [server] if server else []
        walks = [_walked(AXES[name], brokers, options) for name in options.only]
    where = report.machine([broker.version for broker in brokers])
    for walked in walks:
        print(f"\n{where}\n{rounds_of(walked)}\n\n{table(walked)}")
    print(f"\n{NOTES}")
    say(f"all of it took {time.monotonic() - began:.0f} s")
    if options.json:
        _write(options.json, where, walks)
    if options.write_docs:
        write_docs(ROOT / "docs", where, walks)
    return _failed(walks)


def _walked(axis: Axis, brokers: Sequence[Measured], options: argparse.Namespace) -> Walked:
    counts = axis.quick if options.quick else axis.counts
    return walk(axis, brokers, options.counts or counts, 1 if options.quick else options.runs)


def _write(path: Path, where: str, walks: Sequence[Walked]) -> None:
    axes = {walked.axis.name: figures(walked) for walked in walks}
    path.write_text(json.dumps({"machine": where, "axes": axes}, indent=2) + "\n")


def write_docs(docs: Path, where: str, walks: Sequence[Walked]) -> None:
    """Put the tables and the plots of a run in the place of those of an earlier one."""
    for walked in walks:
        parts = [f"{where}. {rounds_of(walked)}", f"```text\n{table(walked)}\n```"]
        parts += [
            f"![{metric.title}](images/{_drawn(docs / 'images', walked, metric)})"
            for metric in walked.axis.metrics
            if metric.plotted and series(walked, metric)
        ]
        write_part(docs / "benchmarks.md", f"scale {walked.axis.name}", "\n\n".join(parts))


def _drawn(images: Path, walked: Walked, metric: Metric) -> str:
    """Draw a metric of all brokers; returns the name of the file."""
    axis, name = walked.axis, f"scale-{walked.axis.name}-{metric.key.replace('_', '-')}.svg"
    upwards = ", ".join(filter(None, (metric.title, metric.unit.name)))
    title, lines = f"{axis.what}: {metric.title}", series(walked, metric)
    if not metric.good and (linear := growing_linearly(lines.values())):
        lines["linear"] = linear
    plots.lines(images / name, title, lines, axis.what, upwards, logarithmic=True)
    return name


def _failed(walks: Sequence[Walked]) -> int:
    failures = [each for walked in walks for each in walked.failures]
    for failure in failures:
        say(f"bench: {failure}")
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench ARGS=scale", description=__doc__)
    add = parser.add_argument
    add_broker(parser, "a RabbitMQ to take, default: a private one")
    add(
        "--only", type=names_of(AXES), default=tuple(AXES), metavar="AXIS,...", help=", ".join(AXES)
    )
    add("--counts", type=_numbers, default=(), help="along each axis, in place of its own")
    add(
        "--runs",
        type=from_to(1, 100),
        default=3,
        help="rounds, as far as time goes (default %(default)d)",
    )
    add("--quick", action="store_true", help="one round of a few small points: does it work")
    add("--json", type=file_to_write, metavar="FILE", help="write every figure there, too")
    add("--write-docs", action="store_true", help="write tables and plots into docs/, too")
    return parser


_number = from_to(1, 10_000_000)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({_number(each) for each in text.split(",")}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list like 1,100,1000") from None
