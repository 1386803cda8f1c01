"""How a state is called, and how a chart goes from one to another: as miros does it, and quicker.

With `@spy_on`, and through the eight kinds of charts that miros knows.
"""

from __future__ import annotations

from datetime import datetime
from types import FunctionType
from typing import Any, Final

from miros import Event, return_status, signals, spy_on
from miros.hsm import HsmTopologyException, SpyTuple

# miros' tables answer by a search. These numbers are the same in every process.
SUPER: Final = return_status.SUPER
UNHANDLED: Final = return_status.UNHANDLED
HANDLED: Final = return_status.HANDLED
IGNORED: Final = return_status.IGNORED
TRAN: Final = return_status.TRAN
_REFLECTION: Final = signals.REFLECTION_SIGNAL
_INNER: Final = frozenset(list(signals)[: signals.highest_inner_signal])
"""The names of miros' own signals."""


_new: Final = Event.__new__
# As many places of a path as miros' `dispatch` knows of.
_PLACES: Final = 2


@spy_on
def _instrumented(chart: Any, e: Event) -> Any:
    """Show how miros instruments a state."""


# Its one free variable is the state itself. A miros that does it in another way is left to do it.
_SPY: Final = _instrumented.__code__ if _instrumented.__code__.co_freevars == ("fn",) else None
"""The code of each function that `@spy_on` returns."""


def made(signal: int, name: str, payload: Any = None) -> Event:
    """Return what `Event(signal, payload)` returns for a signal of this number and this name."""
    # Without `__init__`, which looks for both in the table; its attributes, in its order.
    event = _new(Event)
    event.payload = payload
    event.signal = signal
    event.signal_name = name
    return event


def own(name: str) -> Event:
    """Make one of miros' own events, anew each time: a state may keep it, or change it."""
    return made(signals[name], name)


def call(chart: Any, state: Any, e: Event) -> Any:
    """Call a state as `state(chart, e)` does, and do what `@spy_on` does in its place."""
    # Not a bound method, which has the code of its function and another first argument; nor one
    # with another decorator outside.
    if type(state) is not FunctionType or state.__code__ is not _SPY:
        return state(chart, e)
    function = state.__closure__[0].cell_contents  # type: ignore[index]
    chart.spied_on = True
    chart.state_name = name = function.__name__
    chart.state_fn = function
    if not chart.instrumented:
        return function(chart, e)
    if e.signal == _REFLECTION:
        return name
    rtc = chart.rtc
    rtc.spy.append(f"{e.signal_name}:{name}")
    status = function(chart, e)
    signal = e.signal_name
    inner = signal in _INNER
    hook = inner or status is HANDLED
    if hook and not inner:
        rtc.spy.append(f"{signal}:{name}:HOOK")
    rtc.tuples.append(
        # In a step of C: signal, state, hook, start, internal, three posts, recall, datetime.
        _tuple(SpyTuple, (signal, name, hook, False, inner, False, False, False, False, _now()))
    )
    return status


_tuple: Final = tuple.__new__
# As miros, which notes it without a zone.
_now: Final = datetime.now


def reflected(chart: Any, state: Any) -> Any:
    """Return what a state says to miros' question for its name."""
    if type(state) is FunctionType and state.__code__ is _SPY and chart.instrumented:
        function = state.__closure__[0].cell_contents  # type: ignore[index]
        chart.spied_on = True
        chart.state_name = name = function.__name__
        chart.state_fn = function
        return name
    return state(chart, own("REFLECTION_SIGNAL"))


def no_status(state: Any) -> HsmTopologyException:
    """Make the error of a state that returns nothing."""
    return HsmTopologyException(f"state handler {state} is not returning a valid status")


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
