"""The event processor of every chart of the library: miros' own, step for step, and quicker.

What a program, its states, `trace()`, `spy()` and the live callbacks see is what miros (4.2.1)
shows; docs/decisions/event-processor.md says what is saved, and how that is known. miros is left
alone: charts that are not of the library's classes run as they ever did.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any, Final

from miros import ActiveObject, Event, hsm, return_status, signals, spy_on
from miros.hsm import HsmTopologyException, SpyTuple

# miros' tables answer by a search. These numbers are the same in every process.
_SUPER: Final = return_status.SUPER
_UNHANDLED: Final = return_status.UNHANDLED
_HANDLED: Final = return_status.HANDLED
_IGNORED: Final = return_status.IGNORED
_TRAN: Final = return_status.TRAN
_REFLECTION: Final = signals.REFLECTION_SIGNAL
_INNER: Final = frozenset(list(signals)[: signals.highest_inner_signal])
"""The names of miros' own signals."""


_new: Final = Event.__new__
# As many places of a path as miros' `dispatch` knows of.
_PLACES: Final = 2
_STOP: Final = signals.STOP_ACTIVE_OBJECT_SIGNAL
_META: Final = frozenset({signals.SUBSCRIBE_META_SIGNAL, signals.PUBLISH_META_SIGNAL})


class Processor(ActiveObject):
    """A miros `ActiveObject` that handles an event in a third of the time.

    A subclass may override of miros what it ever could: each method is called where miros calls it.
    Only those that are overridden here are not called in a class *behind* the library's in the
    order of base classes. No other name is added, since programs choose their own.
    """

    def run_event(self, task_event: Any, fabric_task_event: Any, queue: Any) -> None:
        """Handle events until the chart stops (miros' main of the chart's thread)."""
        while task_event.is_set():
            queue.wait()
            if not fabric_task_event.is_set():
                task_event.clear()
            elif len(self.queue) != 0:
                if self.queue.deque[0].signal == _STOP:
                    task_event.clear()
                else:
                    self.next_rtc()
            queue.task_done()

    def next_rtc(self) -> bool:
        """Take the next event and run it to completion; return False when there is none."""
        if self.instrumented:
            self.rtc.spy.clear()
        taken = len(self.queue) != 0
        if taken:
            self.dispatch(e=self.queue.popleft())
        if self.instrumented:
            # Once for both: miros counts anew for the second, and another thread may have posted.
            line = self.queue_reflection()
            self.rtc.spy.append(line)
            self.full.spy.append(line)
            if self.live_trace:
                _show_trace(self)
            # Asked again, as miros does: the callback above is the program's.
            if self.live_spy and self.instrumented:
                for each in list(self.rtc.spy):
                    self.live_spy_callback(each)
        return taken

    def queue_reflection(self) -> str:
        """Return the line with which the spy of an event ends."""
        return f"<- Queued:({len(self.queue.deque)}) Deferred:({len(self.defer_queue)})"

    def dispatch(self, e: Event) -> None:
        """Run an event to completion.

        Raises what a state raises, and `HsmTopologyException` for one that returns no status.
        """
        if not self.instrumented:
            _process(self, e)
            return
        self.rtc.spy.clear()
        start_state = _reflected(self, self.state.fun)
        self.rtc.tuples.clear()
        _process(self, e)
        _note_transition(self, start_state)
        self.full.spy.extend(self.rtc.spy)

    def trans_(self, tpath: list[Any], max_index: int) -> int:
        """Leave what a transition leaves, and find what it enters; see `path_to`."""
        return _path_to(self, tpath, max_index)

    def top(self, *args: Any) -> Any:
        """Answer for the outermost state, as miros does."""
        return super().top(*args) if args[1].signal in _META else _IGNORED


def _process(chart: Any, e: Event) -> None:
    """Let the states have an event, from the innermost on, and go where they say."""
    chart.event.ignored = False
    target = chart.state.fun
    while True:
        source = chart.temp.fun
        status = _call(chart, source, e)
        if status is None:
            raise _no_status(source)
        if status == _UNHANDLED:
            # By a guard: the state is asked for the one around it.
            status = _call(chart, source, _own("EMPTY_SIGNAL"))
        if status != _SUPER:
            break
    if status >= _TRAN:
        target = _go(chart, source, target)
    elif status is _IGNORED:
        chart.event.ignored = True
    chart.state.fun = target
    chart.temp.fun = target
    chart.state_name = target.__name__
    chart.state_fn = target


def _note_transition(chart: Any, start_state: Any) -> None:
    """Add an event to the trace, unless a state has handled it as a hook, or none has."""
    signal, when = "", None
    for step in chart.rtc.tuples:
        if step.internal is False and step.recall is False:
            if step.hook:
                return
            signal, when = step.signal, step.datetime
    if chart.event.ignored is False:
        end_state = _reflected(chart, chart.state.fun)
        chart.full.trace.append(chart.TraceTuple(when, start_state, signal, "", end_state))


def _show_trace(chart: Any) -> None:
    """Hand the latest entry of the trace to the live callback, once."""
    if not chart.full.trace:
        return
    latest = chart.full.trace[-1]
    if latest.datetime is not None and latest.datetime != chart.last_live_trace_datetime:
        chart.live_trace_callback("\n" + chart.trace_tuple_to_formatted_string(latest))
    chart.last_live_trace_datetime = latest.datetime


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


def _own(name: str) -> Event:
    """Make one of miros' own events, anew each time: a state may keep it, or change it."""
    return made(signals[name], name)


def _call(chart: Any, state: Any, e: Event) -> Any:
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
    hook = inner or status is _HANDLED
    if hook and not inner:
        rtc.spy.append(f"{signal}:{name}:HOOK")
    # By miros' name of the clock, which a program's tests may have stopped.
    now = hsm.stdlib_datetime.now()
    rtc.tuples.append(
        # In a step of C: signal, state, hook, start, internal, three posts, recall, datetime.
        _tuple(SpyTuple, (signal, name, hook, False, inner, False, False, False, False, now))
    )
    return status


_tuple: Final = tuple.__new__


def _reflected(chart: Any, state: Any) -> Any:
    """Return what a state says to miros' question for its name."""
    if type(state) is FunctionType and state.__code__ is _SPY and chart.instrumented:
        function = state.__closure__[0].cell_contents  # type: ignore[index]
        chart.spied_on = True
        chart.state_name = name = function.__name__
        chart.state_fn = function
        return name
    return state(chart, _own("REFLECTION_SIGNAL"))


def _no_status(state: Any) -> HsmTopologyException:
    """Make the error of a state that returns nothing."""
    return HsmTopologyException(f"state handler {state} is not returning a valid status")


def _go(chart: Any, source: Any, current: Any) -> Any:
    """Leave the current state for the one that `source` has named; return where that ends.

    In miros' words T is the latter, and S the source. Raises `HsmTopologyException`.
    """
    entry_e, exit_e = _own("ENTRY_SIGNAL"), _own("EXIT_SIGNAL")
    super_e, init_e = _own("SEARCH_FOR_SUPER_SIGNAL"), _own("INIT_SIGNAL")
    path = [chart.temp.fun, current, source]
    while current != source:
        status = _call(chart, current, exit_e)
        if status is None:
            raise _no_status(current)
        if status == _HANDLED:
            _call(chart, current, super_e)
        current = chart.temp.fun
    _enter(chart, path, chart.trans_(path, _PLACES), entry_e)
    target = chart.temp.fun = path[0]
    most = _PLACES
    while _call(chart, target, init_e) == _TRAN:
        path[0], depth = chart.temp.fun, 0
        _call(chart, chart.temp.fun, super_e)
        while chart.temp.fun != target:
            depth += 1
            most = _put(path, depth, chart.temp.fun, most)
            _call(chart, chart.temp.fun, super_e)
        chart.temp.fun = path[0]
        _enter(chart, path, depth, entry_e)
        target = path[0]
    return target


def _path_to(chart: Any, path: list[Any], most: int) -> int:
    """Leave what is to be left, and find what is to be entered (miros' `trans_`).

    `path` begins with T, the current state and S; on return with T and what is around it. Returns
    the place of the outermost of these that is to be entered, -1 for none. The letters are those of
    miros' drawings. Raises `HsmTopologyException`.
    """
    exit_e, super_e = _own("EXIT_SIGNAL"), _own("SEARCH_FOR_SUPER_SIGNAL")
    t, s = path[0], path[2]
    if s is t:  # (a) to itself
        _call(chart, s, exit_e)
        return 0
    _call(chart, t, super_e)
    t = chart.temp.fun
    if s is t:  # (b) to one right within it
        return 0
    _call(chart, s, super_e)
    if chart.temp.fun == t or chart.temp.fun == path[0]:
        # (c) to one beside it, or (d) to the one around it, which has been entered already
        place = 0 if chart.temp.fun == t else -1
        _call(chart, s, exit_e)
        return place
    path[1], t = t, chart.temp.fun
    depth, found = _search(chart, path, most, super_e)
    if found:  # (e) to one far within it
        return depth
    _call(chart, s, exit_e)
    for place in range(depth, -1, -1):  # (f) to one far within the one around it
        if t is path[place]:
            return place - 1
    return _climb(chart, path, t, depth, exit_e, super_e)


def _search(chart: Any, path: list[Any], most: int, super_e: Event) -> tuple[int, bool]:
    """Write down what is around T, up to S or the outermost; whether S was there."""
    depth, s, status = 1, path[2], _call(chart, path[1], super_e)
    if status is None:
        raise _no_status(path[1])
    while status == _SUPER:
        depth += 1
        most = _put(path, depth, chart.temp.fun, most)
        if chart.temp.fun is s:
            # S itself is not entered.
            return depth - 1, True
        status = _call(chart, chart.temp.fun, super_e)
    return depth, False


def _climb(
    chart: Any, path: list[Any], state: Any, depth: int, exit_e: Event, super_e: Event
) -> int:
    """Leave one state after the other until T is within the next: (g) to one anywhere else."""
    while True:
        if _call(chart, state, exit_e) == _HANDLED:
            _call(chart, state, super_e)
        state = chart.temp.fun
        for place in range(depth, -1, -1):
            if state == path[place]:
                return place - 1


def _enter(chart: Any, path: list[Any], place: int, entry_e: Event) -> None:
    while place >= 0:
        _call(chart, path[place], entry_e)
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
