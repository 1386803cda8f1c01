"""What a chart did and where it is, for tests: `assert_trace`, `assert_spy`, `state_is`."""

from __future__ import annotations

import difflib
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from miros import ActiveObject

_LOOK_EVERY_S: Final = 0.001
_LAST: Final = 10
# [2025-11-05 15:17:39.424492] [lamp] e->switch_on() dark->lit
_TIME: Final = re.compile(r"\[\d[\d-]*[T ][\d:.]+\]\s*")
_NAME: Final = re.compile(r"\[[^\]]*\]\s*")


def assert_trace(chart: ActiveObject, expected: str) -> None:
    """Compare the transitions that a chart has made with what a test expects, a line each.

        assert_trace(lamp, '''
            e->start_at() top->dark
            e->switch_on() dark->lit
        ''')

    Indentation, empty lines and the times at the beginning of lines do not count, so that a trace
    can be copied from `print(chart.trace())`; nor do names of charts where no line has one.
    `chart.clear_trace()` begins anew. Raises `AssertionError` with the difference.
    """
    wanted = [_TIME.sub("", line, count=1) for line in _lines(expected)]
    made = _transitions(chart)
    if not any(_NAME.match(line) for line in wanted):
        made = [_NAME.sub("", line, count=1) for line in made]
    _compare(f"chart {chart.name} made other transitions", wanted, made)


def assert_spy(chart: ActiveObject, expected: str) -> None:
    """Compare every step of a chart's event processor, as `assert_trace` does its transitions.

    Raises `AssertionError` with the difference.
    """
    steps = chart.spy()
    if steps is None:
        raise _unspied(chart)
    _compare(
        f"chart {chart.name} took other steps", _lines(expected), _lines("\n".join(map(str, steps)))
    )


def state_is(chart: ActiveObject, state: str | Callable[..., Any], timeout_s: float = 5.0) -> None:
    """Wait until a chart is in a state, which is named or given as its function.

    Raises `AssertionError` after `timeout_s`, with the state it is in and its last transitions.
    """
    wanted = state if isinstance(state, str) else _name_of(state)
    until, pause = time.monotonic() + timeout_s, threading.Event()
    while (found := _name_of(chart.state.fun)) != wanted:
        if time.monotonic() > until:
            raise AssertionError(
                f"chart {chart.name} is in {found or 'no state'} and not in {wanted} "
                f"after {timeout_s:g} s{_last_transitions(chart)}"
            )
        pause.wait(_LOOK_EVERY_S)


def _transitions(chart: ActiveObject) -> list[str]:
    trace = chart.trace()
    if trace is None:
        raise _unspied(chart)
    return [_TIME.sub("", line, count=1) for line in _lines(trace)]


def _last_transitions(chart: ActiveObject) -> str:
    trace = chart.trace()
    if not trace:
        return ""
    return "\n".join(["; its last transitions:", *_lines(trace)[-_LAST:]])


def _unspied(chart: ActiveObject) -> AssertionError:
    return AssertionError(
        f"chart {chart.name} has no trace: miros keeps one of states with the decorator spy_on, "
        "from the start of the chart on"
    )


def _name_of(state: Any) -> str:
    return str(getattr(state, "__name__", ""))


def _lines(text: str) -> list[str]:
    return [line for each in text.splitlines() if (line := each.strip())]


def _compare(problem: str, expected: Sequence[str], found: Sequence[str]) -> None:
    if expected != found:
        # Without the lines that point at single characters.
        lines = (each for each in difflib.ndiff(expected, found) if not each.startswith("? "))
        difference = "\n".join(lines)
        raise AssertionError(f"{problem} than the test expects (-), namely (+):\n{difference}")
