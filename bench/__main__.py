"""`make bench`: what the mesh costs, measured against a chart that posts to itself."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import against
import backlog
import cluster
import discovery
import patterns
import peers
import report
import signatures
import snoop
from brokers import BrokerError, Measured, embedded, rabbitmq
from measure import MeasureError
from miros_mesh import MeshError
from miros_mesh.cli.options import add_broker
from options import file_to_write, from_to
from samples import Sample, Sizes, measure_local, measure_mesh
from scale import command as scale
from scrape import measure_scrape

# No run begins after this, so that all of it stays below three minutes.
LIMIT_S = 150.0
SCRAPES = 100
NO_RABBITMQ = (
    "There is no rabbitmq-server on this machine, so its column is left out. To have it: "
    "sudo apt-get install rabbitmq-server, or give --broker URL."
)

_MODULES = (peers, against, scale, backlog, cluster, discovery, patterns)
COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {each.COMMAND: each.main for each in _MODULES}

Measure = Callable[[Sizes], Sample]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when something could not be measured."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments and arguments[0] in COMMANDS:
            return COMMANDS[arguments[0]](arguments[1:])
        options = _options(arguments)
        with ExitStack() as stack:
            return _compare(stack, options, Sizes(options.events, options.samples))
    except (BrokerError, MeasureError, MeshError) as error:
        _say(f"\nbench: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def _compare(stack: ExitStack, options: argparse.Namespace, sizes: Sizes) -> int:
    brokers = [stack.enter_context(embedded())]
    if options.signatures:
        for line in signatures.figures(brokers[0], sizes, options.runs):
            _show(line)
        return 0
    _say("looking for RabbitMQ ...")
    server = stack.enter_context(rabbitmq(options.broker))
    brokers += [server] if server else []
    if options.snoop:
        for line in snoop.figures(brokers):
            _show(line)
        return 0
    measures = {report.LOCAL: measure_local} | {b.title: _mesh(b) for b in brokers}
    columns = _measure(measures, options.runs, sizes)
    scrape = measure_scrape(brokers[0].config, options.charts, SCRAPES)
    where = report.machine([broker.version for broker in brokers])
    runs = len(columns[report.LOCAL])
    title = f"Medians of {runs} runs" if runs > 1 else "One run"
    _show(f"{where}\n{title}.\n\n{report.table(columns)}")
    _show(f"\n{report.scraped(scrape)}")
    _show(f"\nx is the ratio to {report.LOCAL}. docs/benchmarks.md says what is measured and how.")
    if server is None:
        _show(NO_RABBITMQ)
    if options.json:
        figures = report.as_json(columns, sizes, where, scrape)
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _mesh(broker: Measured) -> Measure:
    return lambda sizes: measure_mesh(broker, sizes)


def _measure(measures: dict[str, Measure], runs: int, sizes: Sizes) -> dict[str, list[Sample]]:
    """The columns take turns, so that a slow minute of the machine is every column's."""
    columns: dict[str, list[Sample]] = {title: [] for title in measures}
    began = time.monotonic()
    longest_s = 0.0
    for run in range(1, runs + 1):
        run_began = time.monotonic()
        if run_began - began + longest_s > LIMIT_S:
            _say(f"stopping after {run - 1} of {runs} runs: more would take over {LIMIT_S:g} s")
            break
        for title, measure in measures.items():
            sample = measure(sizes)
            columns[title].append(sample)
            _say(f"run {run} of {runs}: {title.ljust(len(report.LOCAL))}  {report.brief(sample)}")
        longest_s = max(longest_s, time.monotonic() - run_began)
    return columns


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    if arguments and not arguments[0].startswith("-"):
        parser.error(f"no measurement is called {arguments[0]}; there are {', '.join(COMMANDS)}")
    return parser.parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench",
        description=__doc__,
        epilog=_listed(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add_broker(parser, "a RabbitMQ to take, default: a private one")
    add("--runs", type=from_to(1, 100), default=5, help="how often (default %(default)d)")
    add("--events", type=from_to(1, 100_000), default=20_000, help="of a burst (%(default)d)")
    add("--samples", type=from_to(10, 2_000), default=300, help="events sent idle (%(default)d)")
    add("--charts", type=from_to(1, 1_000), default=100, help="of a scrape (default %(default)d)")
    add("--snoop", action="store_true", help="measure what watching costs instead")
    add("--signatures", action="store_true", help="measure what signatures cost instead")
    add("--json", type=file_to_write, metavar="FILE", help="write every figure there, too")
    return parser


def _listed() -> str:
    """A line for each other measurement, as its module has it."""
    lines = [
        f"  {each.COMMAND.ljust(9)}  {str(each.__doc__).splitlines()[0].partition('`: ')[2]}"
        for each in _MODULES
    ]
    return "\n".join(
        ['other measurements; make bench ARGS="NAME --help" has the options of each:', *lines]
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
