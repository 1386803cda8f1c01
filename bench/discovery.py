"""`make bench ARGS=discovery`: how soon a node finds the brokers of other hosts."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import report
from brokers import SCRATCH, BrokerError
from measure import MeasureError

# The folder of the tests is on the path since `brokers` is imported.
# isort: split
import namespaces
from lan.hosts import HOME_24, SITE_22, A, B, C, Lan, Node, Street
from rabbitmq_server import find_programs
from waiting import wait_until

COMMAND = "discovery"
NEWCOMER = Path(__file__).with_name("newcomer.py")
LIMIT_S = 30.0
REST_S = 20.0
NO_RABBITMQ = "There is no rabbitmq-server on this machine: sudo apt-get install rabbitmq-server"
# Measured once, not here: it needs a shim to be imported by any Python that is still maintained.
ANCESTOR = "miros-rabbitmq 0.2.0, from construction to started, on Python 3.11 with a shim"
ANCESTOR_S = 7.0


@dataclass(frozen=True)
class Start:
    """One start of a program, in seconds; first and all say which hosts handled an event of it."""

    first: float
    all: float
    first_with_interpreter: float
    search: float | None


@dataclass(frozen=True)
class Figure:
    """A row of the table."""

    title: str
    values: Sequence[float]
    goal: float | None = None
    unit: str = "s"

    def cells(self) -> list[str]:
        median = statistics.median(self.values)
        spread = f"{self._show(min(self.values))} to {self._show(max(self.values))}"
        goal = f"< {self.goal:g} {self.unit}" if self.goal else ""
        missed = " MISSED" if self.goal and median >= self.goal else ""
        return [self.title, self._show(median), spread, goal + missed]

    def _show(self, value: float) -> str:
        return f"{value:.2f} {self.unit}"


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
            figures = _measure(lan, Path(folder), options.runs)
    rows = [["", "median", "lowest to highest", "goal"], *(each.cells() for each in figures)]
    rows.append([f"  {ANCESTOR}", f"{ANCESTOR_S:.2f} s", "", ""])
    print(f"{report.machine([])}\nMedians of {options.runs} runs.\n\n{_table(rows)}")
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in figures], indent=2) + "\n")
    return 0


def _measure(lan: Lan, folder: Path, runs: int) -> list[Figure]:
    cold, warm, rested = _on_a_slash_24(lan, folder / "24", runs)
    wide = _on_a_slash_22(lan, folder / "22", runs)
    sweeps = [each.search for each in wide if each.search is not None]
    return [
        Figure("/24, cold: start to first delivered event", [e.first for e in cold], 2.0),
        Figure("  to an event delivered at both other hosts", [e.all for e in cold]),
        Figure("  with the interpreter's start", [e.first_with_interpreter for e in cold]),
        Figure("/24, warm: start to first delivered event", [e.first for e in warm], 0.5),
        Figure("  to an event delivered at both other hosts", [e.all for e in warm]),
        Figure("  with the interpreter's start", [e.first_with_interpreter for e in warm]),
        Figure("/22: search of 1,022 addresses", sweeps, 5.0),
        Figure("  start to first delivered event", [e.first for e in wide]),
        Figure(f"share of a core in the {REST_S:g} s afterwards", [rested * 100], 5.0, "%"),
    ]


def _on_a_slash_24(lan: Lan, folder: Path, runs: int) -> tuple[list[Start], list[Start], float]:
    folder.mkdir()
    street = Street(lan, folder)
    street.renumber(HOME_24)
    try:
        others = street.start(B, C)
        cold, warm = [], []
        for run in range(1, runs + 1):
            street.cache(A).unlink(missing_ok=True)
            cold.append(_start(street, others, f"cold_{run}")[0])
            warm.append(_start(street, others, f"warm_{run}")[0])
            _say(f"run {run} of {runs}: cold {cold[-1].first:.2f} s, warm {warm[-1].first:.2f} s")
        _say(f"resting for {REST_S:g} s ...")
        return cold, warm, _start(street, others, "resting", rest=True)[1]
    finally:
        street.close()


def _on_a_slash_22(lan: Lan, folder: Path, runs: int) -> list[Start]:
    folder.mkdir()
    street = Street(lan, folder)
    street.renumber(SITE_22)
    try:
        # They need not search: three searches at once would share one kernel's room for neighbours.
        others = street.start(B, C, discovery="manual")
        starts = []
        for run in range(1, runs + 1):
            street.cache(A).unlink(missing_ok=True)
            starts.append(_start(street, others, f"wide_{run}")[0])
            _say(f"run {run} of {runs}: /22 in {starts[-1].search:.2f} s")
        return starts
    finally:
        street.close()


def _start(
    street: Street, others: Sequence[Node], signal: str, *, rest: bool = False
) -> tuple[Start, float]:
    settings = street.settings(A)
    pause = [str(REST_S)] if rest else []
    began = time.monotonic()
    try:
        with street.program(A, str(NEWCOMER), json.dumps(settings), signal, *pause) as program:
            heard = [each.wait_for("handled", signal=signal)["at"] for each in others]
            wait_until(lambda: _cached(street), LIMIT_S)
            facts = [json.loads(line) for line in program.ended(REST_S + LIMIT_S).splitlines()]
    except AssertionError as error:
        raise MeasureError(str(error)) from error
    started = _fact(facts, "started")["at"]
    search = _fact(facts, "searched", source="lan")
    return Start(
        first=min(heard) - started,
        all=max(heard) - started,
        first_with_interpreter=min(heard) - began,
        search=search["seconds"] if search else None,
    ), (_fact(facts, "rested") or {}).get("share", 0.0)


def _fact(facts: Sequence[Mapping[str, Any]], what: str, **wanted: Any) -> dict[str, Any]:
    """The first such fact; empty when there is none yet."""
    found = (
        fact
        for fact in list(facts)
        if fact["what"] == what and all(fact.get(key) == value for key, value in wanted.items())
    )
    return dict(next(found, {}))


def _cached(street: Street) -> bool:
    """Whether what was found is written down, for the next start."""
    return street.cache(A).exists()


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 0 < index < len(row) - 1 else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench ARGS=discovery", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="how often (default %(default)d)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, too")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
