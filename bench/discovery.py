"""`make bench ARGS=discovery`: how soon a node finds the brokers of other hosts."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import report
from brokers import SCRATCH, BrokerError
from measure import MeasureError
from options import file_to_write, from_to

# The folder of the tests is on the path since `brokers` is imported.
# isort: split
from lan.hosts import HOME_24, SITE_22, A, B, C, Lan, Node, Street
from support import namespaces
from support.rabbitmq_server import find_programs
from support.waiting import wait_until

COMMAND = "discovery"
NEWCOMER = Path(__file__).with_name("newcomer.py")
LIMIT_S = 30.0
NO_RABBITMQ = "There is no rabbitmq-server on this machine: sudo apt-get install rabbitmq-server"
ANCESTOR_S = 7.0
NOTES = """\
Start is the construction of the chart; the program has imported everything. A missed goal is said.
(*) 0.2.0, from construction to started, without any event: measured once on Python 3.11 with a
shim, as it imports on none above 3.9; not run here. docs/benchmarks.md says what is measured."""


@dataclass(frozen=True)
class Start:
    """One start of a program, in seconds."""

    first: float
    """Until an event of it was handled on another host."""
    everywhere: float
    """Until one was handled on every other host."""
    with_interpreter: float
    """The same as `first`, with the start of the interpreter and what it imports."""
    search: float
    """How long the search of the local network took; 0 where there was none."""
    share: float
    """Of a core, in the time that it rested; 0 where it did not."""


@dataclass(frozen=True)
class Figure:
    """A row of the table; without a `goal` it is there to be compared."""

    title: str
    values: Sequence[float]
    goal: float | None = None
    unit: str = "s"

    def cells(self) -> list[str]:
        """The row: title, median, lowest to highest, goal."""
        median = statistics.median(self.values)
        spread = f"{min(self.values):.2f} to {max(self.values):.2f} {self.unit}"
        goal = f"< {self.goal:g} {self.unit}" if self.goal else ""
        missed = ", missed" if self.goal and median >= self.goal else ""
        return [self.title, f"{median:.2f} {self.unit}", spread, goal + missed]


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 when something could not be measured."""
    options = _parser().parse_args(arguments)
    programs = find_programs()
    if programs is None:
        raise BrokerError(NO_RABBITMQ)
    if reason := namespaces.why_not():
        raise BrokerError(reason)
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=SCRATCH) as folder:
        _say("starting three RabbitMQ on a network of their own ...")
        with Lan(Path(folder), programs) as lan:
            figures = measure(lan, Path(folder), options.runs, options.rest)
    print(f"{report.machine([])}\nMedians of {options.runs} runs.\n\n{table(figures)}\n\n{NOTES}")
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in figures], indent=2) + "\n")
    return 0


def measure(lan: Lan, folder: Path, runs: int, rest_s: float) -> list[Figure]:
    """Every figure; the last start on the /22 is followed by that much rest."""
    cold, warm = on_a_slash_24(lan, folder / "24", runs)
    wide = on_a_slash_22(lan, folder / "22", runs, rest_s)
    return [
        Figure("/24, cold: start to first delivered event", [e.first for e in cold], 2.0),
        Figure("  to one delivered on both other hosts", [e.everywhere for e in cold]),
        Figure("  with the interpreter's start", [e.with_interpreter for e in cold]),
        Figure("/24, warm: start to first delivered event", [e.first for e in warm], 0.5),
        Figure("  to one delivered on both other hosts", [e.everywhere for e in warm]),
        Figure("  with the interpreter's start", [e.with_interpreter for e in warm]),
        Figure("/22: search of 1,021 addresses", [e.search for e in wide], 5.0),
        Figure("  start to first delivered event", [e.first for e in wide]),
        Figure(f"share of a core in the {rest_s:g} s after it", [wide[-1].share * 100], 5.0, "%"),
    ]


def table(figures: Sequence[Figure]) -> str:
    """The figures, and the ancestor's."""
    rows = [["", "median", "lowest to highest", "goal"], *(each.cells() for each in figures)]
    rows.append(["miros-rabbitmq (*)", f"{ANCESTOR_S:.2f} s", "", ""])
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index in (1, 2) else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def on_a_slash_24(lan: Lan, folder: Path, runs: int) -> tuple[list[Start], list[Start]]:
    """Cold starts, and a warm one after each."""
    cold, warm = [], []
    with _street(lan, folder, HOME_24) as street:
        others = street.start(B, C)
        for run in range(1, runs + 1):
            street.forget(A)
            cold.append(_start(street, others, f"cold_{run}"))
            warm.append(_start(street, others, f"warm_{run}"))
            _say(f"run {run} of {runs}: cold {cold[-1].first:.2f} s, warm {warm[-1].first:.2f} s")
    return cold, warm


def on_a_slash_22(lan: Lan, folder: Path, runs: int, rest_s: float) -> list[Start]:
    """Cold starts; the last is followed by rest."""
    wide = []
    with _street(lan, folder, SITE_22) as street:
        # They need not search: three searches at once would share one kernel's room for neighbours.
        others = street.start(B, C, discovery="manual")
        for run in range(1, runs + 1):
            street.forget(A)
            last = run == runs
            wide.append(_start(street, others, f"wide_{run}", rest_s if last else 0.0))
            _say(f"run {run} of {runs}: /22 in {wide[-1].search:.2f} s")
    return wide


@contextmanager
def _street(lan: Lan, folder: Path, plan: Mapping[str, Sequence[str]]) -> Iterator[Street]:
    folder.mkdir()
    with closing(Street(lan, folder)) as street:
        street.renumber(plan)
        yield street


def _start(street: Street, others: Sequence[Node], signal: str, rest_s: float = 0.0) -> Start:
    settings = json.dumps(street.settings(A))
    began = time.monotonic()
    try:
        with street.program(A, str(NEWCOMER), settings, signal, str(rest_s)) as program:
            heard = [each.wait_for("handled", signal=signal)["at"] for each in others]
            # What was found is written down, for the next start.
            wait_until(street.cache(A).exists, LIMIT_S)
            said = program.ended(rest_s + LIMIT_S)
    except AssertionError as error:
        raise MeasureError(str(error)) from error
    facts = [json.loads(line) for line in said.splitlines()]
    started = _fact(facts, "started")["at"]
    return Start(
        first=min(heard) - started,
        everywhere=max(heard) - started,
        with_interpreter=min(heard) - began,
        search=_fact(facts, "searched", source="lan").get("seconds", 0.0),
        share=_fact(facts, "rested").get("share", 0.0),
    )


def _fact(facts: Sequence[Mapping[str, Any]], what: str, **wanted: Any) -> dict[str, Any]:
    """The first such fact; empty when there is none."""
    found = (
        fact
        for fact in facts
        if fact["what"] == what and all(fact.get(key) == value for key, value in wanted.items())
    )
    return dict(next(found, {}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench ARGS=discovery", description=__doc__)
    add = parser.add_argument
    add("--runs", type=from_to(1, 100), default=5, help="how often (default %(default)d)")
    add("--rest", type=from_to(1, 600), default=20, help="seconds (default %(default)d)")
    add("--json", type=file_to_write, metavar="FILE", help="write every figure there, too")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
