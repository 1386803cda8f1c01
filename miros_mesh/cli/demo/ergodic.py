"""The ancestor's ergodic example, once as flat functions and once as a factory.

Two states, `inner` inside `outer`. A chart moves between them by its own timers and by the
`other_*` events of the other chart. Handlers also write each event into the chart's ledger.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from miros import Event, return_status, signals, spy_on

from miros_mesh.charts.networked import NetworkedActiveObject, NetworkedFactory
from miros_mesh.cli.demo.ledger import Ledger

Chart = Any
Handler = Callable[[Chart, Event], Any]

# Long enough to follow by eye.
SHORTEST_TIMER_S, LONGEST_TIMER_S = 2, 7


class ErgodicActiveObject(NetworkedActiveObject):
    """The example as an active object; `ledger` counts what it sends and handles."""

    ledger: Ledger

    def begin(self) -> None:
        """Start the chart in its state `outer`."""
        self.start_at(outer)


class ErgodicFactory(NetworkedFactory):
    """The same chart, its states built by the factory."""

    ledger: Ledger

    def begin(self) -> None:
        """Build the states and start in `outer`."""
        outer_state = self._state("outer", OUTER)
        inner_state = self._state("inner", INNER)
        self.nest(outer_state, parent=None)
        self.nest(inner_state, parent=outer_state)
        # Where `_state_of` finds them: a handler is shared by both kinds of chart, a state is not.
        self.inner_state, self.outer_state = inner_state, outer_state
        self.start_at(outer_state)

    def _state(self, name: str, handlers: dict[str, Handler]) -> Any:
        state = self.create(state=name)
        for signal, handler in handlers.items():
            state.catch(signal=getattr(signals, signal), handler=handler)
        return state.to_method()


def outer_init(chart: Chart, _: Event) -> Any:
    """Go in after some seconds, and ask the other chart to come out."""
    _later(chart, "to_inner")
    _send(chart, "other_to_outer")
    return return_status.HANDLED


def inner_entry(chart: Chart, _: Event) -> Any:
    """Go out after some seconds, and ask the other chart to come in."""
    _later(chart, "to_outer")
    _send(chart, "other_to_inner")
    return return_status.HANDLED


def inner_exit(chart: Chart, _: Event) -> Any:
    """Cancel the timer that would lead out."""
    chart.cancel_events(Event(signal=signals.to_outer))
    return return_status.HANDLED


def to_inner(chart: Chart, _: Event) -> Any:
    """Go into `inner`, and cancel the timer that would."""
    chart.cancel_events(Event(signal=signals.to_inner))
    return chart.trans(_state_of(chart, "inner"))


def to_outer(chart: Chart, _: Event) -> Any:
    """Go out to `outer`, whichever chart asked for it."""
    return chart.trans(_state_of(chart, "outer"))


def stay(_: Chart, __: Event) -> Any:
    """Handle an event that asks for the state that the chart is in."""
    return return_status.HANDLED


def received(then: Handler) -> Handler:
    """Make a handler that enters an event of the other chart in the books, and then does `then`."""

    def handler(chart: Chart, event: Event) -> Any:
        chart.ledger.received(event.payload, moves=then is not stay)
        return then(chart, event)

    return handler


OUTER: dict[str, Handler] = {
    # `outer` acts whenever a transition ends in it, which is when miros sends INIT; `inner` on its
    # entry.
    "INIT_SIGNAL": outer_init,
    "to_inner": to_inner,
    "other_to_inner": received(to_inner),
    "other_to_outer": received(stay),
}
# `to_inner` and `other_to_inner` stay here: passed on to `outer`, they would lead in once more.
INNER: dict[str, Handler] = {
    "ENTRY_SIGNAL": inner_entry,
    "EXIT_SIGNAL": inner_exit,
    "to_inner": stay,
    "to_outer": to_outer,
    "other_to_inner": received(stay),
    "other_to_outer": received(to_outer),
}


@spy_on
def outer(chart: Chart, event: Event) -> Any:
    """The state `outer`, as a flat function."""
    return _dispatch(chart, event, OUTER, chart.top)


@spy_on
def inner(chart: Chart, event: Event) -> Any:
    """The state `inner`, as a flat function."""
    return _dispatch(chart, event, INNER, outer)


def _dispatch(chart: Chart, event: Event, handlers: dict[str, Handler], parent: Any) -> Any:
    handler = handlers.get(event.signal_name)
    if handler:
        return handler(chart, event)
    # Not passed on to the parent: each of them is for this state alone.
    if event.signal_name in ("ENTRY_SIGNAL", "INIT_SIGNAL", "EXIT_SIGNAL"):
        return return_status.HANDLED
    chart.temp.fun = parent
    return return_status.SUPER


def _state_of(chart: Chart, name: str) -> Any:
    flat = {"inner": inner, "outer": outer}
    return getattr(chart, f"{name}_state", flat[name])


def _later(chart: Chart, signal: str) -> None:
    period = random.randint(SHORTEST_TIMER_S, LONGEST_TIMER_S)  # noqa: S311 - it guards nothing
    # `deferred`: the first time after the period, and not at once. miros has a thread for each
    # timer.
    chart.post_fifo(Event(signal=signal), times=1, period=period, deferred=True)


def _send(chart: Chart, signal: str) -> None:
    # No event is promised to a chart that is not there yet, or not any more.
    if chart.ledger.open:
        chart.transmit(Event(signal=signal, payload=chart.ledger.sent()))
