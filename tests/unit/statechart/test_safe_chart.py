"""A chart whose handler raises: who learns of it, and how often."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from miros import Event, return_status, signals, spy_on

from miros_mesh.statechart.safe_chart import SafeChart
from support.waiting import wait_until


@spy_on
def _fragile(chart: Fragile, event: Event) -> int:
    if event.signal_name == "POISON":
        raise ZeroDivisionError("poison")
    chart.temp.fun = chart.top
    return return_status.SUPER


class Fragile(SafeChart):
    def __init__(self) -> None:
        super().__init__("fragile")
        self.errors: list[BaseException] = []

    def _died(self, error: BaseException) -> None:
        self.errors.append(error)


class Seen:
    """What reaches the hook for errors of threads."""

    def __init__(self) -> None:
        self.errors: list[Any] = []

    def __call__(self, facts: Any) -> None:
        self.errors.append(facts.exc_value)


@pytest.fixture
def chart() -> Iterator[Fragile]:
    made = Fragile()
    made.start_at(_fragile)
    yield made
    made.stop()


def die(chart: Fragile) -> None:
    chart.post_fifo(Event(signal="POISON"))
    assert chart.thread
    chart.thread.join(10)
    wait_until(lambda: chart.errors)


def python_prints(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Put a recorder where Python's own hook is."""
    seen = Seen()
    monkeypatch.setattr(threading, "__excepthook__", seen)
    monkeypatch.setattr(threading, "excepthook", seen)
    return seen


def test_a_death_that_is_logged_is_told_once(
    chart: Fragile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = python_prints(monkeypatch)
    die(chart)
    assert list(map(str, chart.errors)) == ["poison"]
    assert caplog.messages == ["chart fragile is dead: a handler raised; it gets no more events"]
    assert caplog.records[0].exc_info
    assert seen.errors == []


def test_a_death_that_no_log_shows_gets_pythons_traceback(
    chart: Fragile, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = python_prints(monkeypatch)
    monkeypatch.setattr(logging.getLogger("miros_mesh"), "propagate", False)
    die(chart)
    assert seen.errors == chart.errors


def test_a_hook_of_the_program_gets_each_death(
    chart: Fragile, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen()
    monkeypatch.setattr(threading, "excepthook", seen)
    die(chart)
    assert seen.errors == chart.errors


def test_a_chart_makes_the_signal_table_safe(chart: Fragile) -> None:
    assert {"items", "append"} <= set(vars(signals))
