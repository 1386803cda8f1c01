"""`make bench ARGS=scale`: what grows how, with charts, peers, processes, payload and backlog."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import report
from brokers import ROOT, Measured, embedded, rabbitmq
from miros_mesh.cli.options import add_broker
from scale import charts, payload, peers, processes, tables
from scale.axes import Axis, Walked, say, walk

COMMAND = "scale"
IMAGES = ROOT / "docs" / "images"
AXES: dict[str, Axis] = {
    axis.name: axis for axis in (charts.AXIS, peers.AXIS, processes.AXIS, payload.AXIS)
}
NOTES = """\
A figure grows about as the power of what stands in the heading: 0 is flat, 1 is linear. `power` is
fitted to all points, `at the end` to the three largest, of which the word speaks.
docs/benchmarks.md says what is measured."""


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 when a point came to nothing."""
    options = _parser().parse_args(arguments)
    began = time.monotonic()
    with ExitStack() as stack:
        brokers = [stack.enter_context(embedded())]
        say("looking for RabbitMQ ...")
        server = stack.enter_context(rabbitmq(options.broker))
        brokers += [server] if server else []
        walks = [_walked(AXES[name], brokers, options) for name in options.axes]
    where = report.machine([broker.version for broker in brokers])
    for walked in walks:
        print(f"\n{where}\nMedians of {walked.rounds} rounds.\n\n{tables.table(walked)}")
    print(f"\n{NOTES}")
    say(f"all of it took {time.monotonic() - began:.0f} s")
    if options.json:
        _write(options.json, where, walks)
    if options.write:
        _draw(walks)
    return _failed(walks)


def _walked(axis: Axis, brokers: Sequence[Measured], options: argparse.Namespace) -> Walked:
    counts = axis.quick if options.quick else axis.counts
    return walk(axis, brokers, options.counts or counts, 1 if options.quick else options.runs)


def _write(path: Path, where: str, walks: Sequence[Walked]) -> None:
    axes = {walked.axis.name: tables.figures(walked) for walked in walks}
    path.write_text(json.dumps({"machine": where, "axes": axes}, indent=2) + "\n")


def _draw(walks: Sequence[Walked]) -> None:
    # Of all that `make bench` does, this alone needs what draws.
    import plots  # noqa: PLC0415

    for walked in walks:
        axis = walked.axis
        for metric in axis.metrics:
            if metric.plotted and (lines := tables.series(walked, metric)):
                path = IMAGES / f"scale-{axis.name}-{metric.key.replace('_', '-')}.svg"
                upwards = ", ".join(filter(None, (metric.title, metric.unit.name)))
                title = f"{axis.what}: {metric.title}"
                plots.lines(path, title, lines, axis.what, upwards, logarithmic=True)
                say(f"written: {path}")


def _failed(walks: Sequence[Walked]) -> int:
    failures = [each for walked in walks for each in walked.failures]
    for failure in failures:
        say(f"bench: {failure}")
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench ARGS=scale", description=__doc__)
    add = parser.add_argument
    add_broker(parser, "a RabbitMQ to take, default: a private one")
    add("--axes", type=_names, default=tuple(AXES), help=f"default {','.join(AXES)}")
    add("--counts", type=_numbers, default=(), help="along each axis, in place of its own")
    add("--runs", type=int, default=3, help="rounds, as far as time goes (default %(default)d)")
    add("--quick", action="store_true", help="one round of a few small points: does it work")
    add("--json", type=Path, metavar="FILE", help="write every figure there, too")
    add("--write", action="store_true", help="draw the plots of docs/benchmarks.md anew")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted({int(each) for each in text.split(",")}))


def _names(text: str) -> tuple[str, ...]:
    names = tuple(each.strip() for each in text.split(","))
    if unknown := [each for each in names if each not in AXES]:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is none of {', '.join(AXES)}")
    return names
