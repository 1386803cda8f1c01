"""How a state is called: with `@spy_on`, as that does it, and quicker."""

from __future__ import annotations

from datetime import datetime
from types import FunctionType
from typing import Any, Final

from miros import Event, return_status, signals, spy_on
from miros.hsm import HsmTopologyException, SpyTuple

from miros_mesh.statechart.events import made

# miros' tables answer by a search. These numbers are the same in every process.
SUPER: Final = return_status.SUPER
UNHANDLED: Final = return_status.UNHANDLED
HANDLED: Final = return_status.HANDLED
IGNORED: Final = return_status.IGNORED
TRAN: Final = return_status.TRAN
_REFLECTION: Final = signals.REFLECTION_SIGNAL
_INNER: Final = frozenset(list(signals)[: signals.highest_inner_signal])
"""The names of miros' own signals."""


@spy_on
def _instrumented(chart: Any, e: Event) -> Any:
    """Show how miros instruments a state."""


# Its one free variable is the state itself. A miros that does it in another way is left to do it.
_SPY: Final = _instrumented.__code__ if _instrumented.__code__.co_freevars == ("fn",) else None
"""The code of each function that `@spy_on` returns."""


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
