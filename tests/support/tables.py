"""What a run has counted, as tables at its end: told by the process that shares the tests out."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import pytest

FAULT = "fault"
"""The property of a report that holds a row of the table of faults."""
BROKER = "broker"
"""Likewise a version, a question, and the answer of the RabbitMQ at hand."""
HEAD = f"{'fault':<44} {'sent':>7} {'lost':>5} {'twice':>5} {'order':>5} {'seconds':>8}"
BROKERS = ("embedded", "memory", "rabbitmq")
_TEST = re.compile(r"tests/contract/test_(?:link|transport_contract)\.py::test_(\w+)\[(.+)\]")
_MARKS = {"passed": "yes", "skipped": "not run", "xfailed": "no", "failed": "FAILED"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was counted."""
    _faults(terminalreporter)
    _contract(terminalreporter)
    _broker(terminalreporter)


def _recorded(terminalreporter: pytest.TerminalReporter, wanted: str) -> list[Any]:
    return [
        row
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        for name, row in report.user_properties
        if name == wanted
    ]


def _broker(terminalreporter: pytest.TerminalReporter) -> None:
    """A question a row, and what the server of this version did."""
    if rows := _recorded(terminalreporter, BROKER):
        terminalreporter.section(f"RabbitMQ {rows[0][0]}")
        width = max(len(what) for _, what, _ in rows)
        for _, what, seen in rows:
            terminalreporter.write_line(f"{what:{width}}  {seen}")


def _faults(terminalreporter: pytest.TerminalReporter) -> None:
    if rows := _recorded(terminalreporter, FAULT):
        terminalreporter.section("faults")
        terminalreporter.write_line(HEAD)
        for row in rows:
            terminalreporter.write_line(row)


def _contract(terminalreporter: pytest.TerminalReporter) -> None:
    """A promise a row, a broker a column."""
    rows: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for outcome, mark in _MARKS.items():
        for report in terminalreporter.stats.get(outcome, ()):
            if found := _TEST.match(report.nodeid):
                _enter(rows[found[1].replace("_", " ")], found[2], mark)
    if rows:
        _print(terminalreporter, rows)


def _enter(row: dict[str, str], case: str, mark: str) -> None:
    """A promise with several cases is kept when all of them are."""
    broker = next((name for name in BROKERS if name in case), "")
    if row.get(broker, "yes") == "yes":
        row[broker] = mark


def _print(terminalreporter: pytest.TerminalReporter, rows: dict[str, dict[str, str]]) -> None:
    terminalreporter.section("contract")
    width = max(map(len, rows))
    columns = "".join(f"{name:>10}" for name in BROKERS)
    terminalreporter.write_line(f"{'the promise':{width}}{columns}")
    for promise in sorted(rows):
        marks = "".join(f"{rows[promise].get(name, '-'):>10}" for name in BROKERS)
        terminalreporter.write_line(f"{promise:{width}}{marks}")
