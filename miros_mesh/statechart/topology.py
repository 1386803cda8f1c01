"""How a chart goes from one state to another: miros' way through its eight kinds of charts."""

from __future__ import annotations

from typing import Any

from miros import Event

from miros_mesh.statechart.states import HANDLED, SUPER, TRAN, call, no_status, own

# As many places of a path as miros' `dispatch` knows of.
_PLACES = 2


def go(chart: Any, source: Any, current: Any) -> Any:
    """Leave the current state for the one that `source` has named; return where that ends.

    In miros' words T is the latter, and S the source. Raises `HsmTopologyException`.
    """
    entry_e, exit_e = own("ENTRY_SIGNAL"), own("EXIT_SIGNAL")
    super_e, init_e = own("SEARCH_FOR_SUPER_SIGNAL"), own("INIT_SIGNAL")
    path = [chart.temp.fun, current, source]
    while current != source:
        status = call(chart, current, exit_e)
        if status is None:
            raise no_status(current)
        if status == HANDLED:
            call(chart, current, super_e)
        current = chart.temp.fun
    _enter(chart, path, chart.trans_(path, _PLACES), entry_e)
    target = chart.temp.fun = path[0]
    most = _PLACES
    while call(chart, target, init_e) == TRAN:
        path[0], depth = chart.temp.fun, 0
        call(chart, chart.temp.fun, super_e)
        while chart.temp.fun != target:
            depth += 1
            most = _put(path, depth, chart.temp.fun, most)
            call(chart, chart.temp.fun, super_e)
        chart.temp.fun = path[0]
        _enter(chart, path, depth, entry_e)
        target = path[0]
    return target


def path_to(chart: Any, path: list[Any], most: int) -> int:
    """Leave what is to be left, and find what is to be entered (miros' `trans_`).

    `path` begins with T, the current state and S; on return with T and what is around it. Returns
    the place of the outermost of these that is to be entered, -1 for none. The letters are those of
    miros' drawings. Raises `HsmTopologyException`.
    """
    exit_e, super_e = own("EXIT_SIGNAL"), own("SEARCH_FOR_SUPER_SIGNAL")
    t, s = path[0], path[2]
    if s is t:  # (a) to itself
        call(chart, s, exit_e)
        return 0
    call(chart, t, super_e)
    t = chart.temp.fun
    if s is t:  # (b) to one right within it
        return 0
    call(chart, s, super_e)
    if chart.temp.fun == t or chart.temp.fun == path[0]:
        # (c) to one beside it, or (d) to the one around it, which has been entered already
        place = 0 if chart.temp.fun == t else -1
        call(chart, s, exit_e)
        return place
    path[1], t = t, chart.temp.fun
    depth, found = _search(chart, path, most, super_e)
    if found:  # (e) to one far within it
        return depth
    call(chart, s, exit_e)
    for place in range(depth, -1, -1):  # (f) to one far within the one around it
        if t is path[place]:
            return place - 1
    return _climb(chart, path, t, depth, exit_e, super_e)


def _search(chart: Any, path: list[Any], most: int, super_e: Event) -> tuple[int, bool]:
    """Write down what is around T, up to S or the outermost; whether S was there."""
    depth, s, status = 1, path[2], call(chart, path[1], super_e)
    if status is None:
        raise no_status(path[1])
    while status == SUPER:
        depth += 1
        most = _put(path, depth, chart.temp.fun, most)
        if chart.temp.fun is s:
            # S itself is not entered.
            return depth - 1, True
        status = call(chart, chart.temp.fun, super_e)
    return depth, False


def _climb(
    chart: Any, path: list[Any], state: Any, depth: int, exit_e: Event, super_e: Event
) -> int:
    """Leave one state after the other until T is within the next: (g) to one anywhere else."""
    while True:
        if call(chart, state, exit_e) == HANDLED:
            call(chart, state, super_e)
        state = chart.temp.fun
        for place in range(depth, -1, -1):
            if state == path[place]:
                return place - 1


def _enter(chart: Any, path: list[Any], place: int, entry_e: Event) -> None:
    while place >= 0:
        call(chart, path[place], entry_e)
        place -= 1


def _put(path: list[Any], place: int, state: Any, most: int) -> int:
    """Write a state down; return the highest place that is known."""
    # That may be too low: `dispatch` does not know how long `trans_` has made the path. What it
    # adds then stands behind its place, as with miros (4.2.1).
    if place > most:
        path.append(state)
        return place
    path[place] = state
    return most
