"""The event processor of every chart of the library: miros' own, step for step, and quicker.

What a program, its states, `trace()`, `spy()` and the live callbacks see is what miros (4.2.1)
shows; docs/decisions/event-processor.md says what is saved, and how that is known. miros is left
alone: charts that are not of the library's classes run as they ever did.
"""

from __future__ import annotations

from typing import Any, Final

from miros import ActiveObject, Event, signals

from miros_mesh.statechart.states import (
    IGNORED,
    SUPER,
    TRAN,
    UNHANDLED,
    call,
    go,
    no_status,
    own,
    path_to,
    reflected,
)

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
            if self.live_spy:
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
        start_state = reflected(self, self.state.fun)
        self.rtc.tuples.clear()
        _process(self, e)
        _note_transition(self, start_state)
        self.full.spy.extend(self.rtc.spy)

    def trans_(self, tpath: list[Any], max_index: int) -> int:
        """Leave what a transition leaves, and find what it enters; see `path_to`."""
        return path_to(self, tpath, max_index)

    def top(self, *args: Any) -> Any:
        """Answer for the outermost state, as miros does."""
        return super().top(*args) if args[1].signal in _META else IGNORED


def _process(chart: Any, e: Event) -> None:
    """Let the states have an event, from the innermost on, and go where they say."""
    chart.event.ignored = False
    target = chart.state.fun
    while True:
        source = chart.temp.fun
        status = call(chart, source, e)
        if status is None:
            raise no_status(source)
        if status == UNHANDLED:
            # By a guard: the state is asked for the one around it.
            status = call(chart, source, own("EMPTY_SIGNAL"))
        if status != SUPER:
            break
    if status >= TRAN:
        target = go(chart, source, target)
    elif status is IGNORED:
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
        end_state = reflected(chart, chart.state.fun)
        chart.full.trace.append(chart.TraceTuple(when, start_state, signal, "", end_state))


def _show_trace(chart: Any) -> None:
    """Hand the latest entry of the trace to the live callback, once."""
    if not chart.full.trace:
        return
    latest = chart.full.trace[-1]
    if latest.datetime is not None and latest.datetime != chart.last_live_trace_datetime:
        chart.live_trace_callback("\n" + chart.trace_tuple_to_formatted_string(latest))
    chart.last_live_trace_datetime = latest.datetime
