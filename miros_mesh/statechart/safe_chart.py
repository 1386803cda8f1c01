"""The base of every chart of the library: safe beside other threads, and its death is reported."""

from __future__ import annotations

import logging
import threading
from typing import Any

from miros import Event, signals

from miros_mesh.errors import TimerLimitError
from miros_mesh.statechart import fabric, signal_table
from miros_mesh.statechart.processor import Processor
from miros_mesh.statechart.timers import Timers
from miros_mesh.text import logger_of

logger = logger_of(__name__)


class SafeChart(Processor):
    """A miros chart; override `_died` for what has to happen when a handler raises."""

    def __init__(self, name: str | None = None) -> None:
        fabric.renew_in_children()
        signal_table.guard()
        super().__init__(name)
        self._timers = Timers(
            self.posted_events_queue, lambda full: TimerLimitError(f"chart {self.name}: {full}")
        )

    def post_fifo(
        self,
        e: Event,
        period: float | None = None,
        times: int | None = None,
        deferred: bool | None = None,
    ) -> Any:
        """Post an event at the end, or with a period (seconds) start a timer that does.

        Returns the timer's id, for `cancel_event`. Raises `TimerLimitError` when 500 are running.
        """
        if period is None:
            # What miros does, in one call of its three.
            self.queue.append(e)
            if self.instrumented:
                self.rtc.spy.append(f"POST_FIFO:{e.signal_name}")
            return None
        how = {"period": period, "times": times, "deferred": deferred}
        return self._timers.start(super().post_fifo, e, **how)

    def post_lifo(
        self,
        e: Event,
        period: float | None = None,
        times: int | None = None,
        deferred: bool | None = None,
    ) -> Any:
        """Post an event at the front, or start a timer that does, as `post_fifo`."""
        if period is None:
            # What miros does, in one call of its three.
            self.queue.appendleft(e)
            if self.instrumented:
                self.rtc.spy.append(f"POST_LIFO:{e.signal_name}")
            return None
        how = {"period": period, "times": times, "deferred": deferred}
        return self._timers.start(super().post_lifo, e, **how)

    def cancel_event(self, uuid: Any = None) -> None:
        """Let the timer of this id ring no more; one that is unknown is ignored."""
        self._timers.cancel(lambda timer: bool(timer.uuid == uuid))

    def cancel_events(self, e: Event) -> None:
        """Let every timer whose event has the signal of `e` ring no more."""
        self._timers.cancel(lambda timer: bool(timer.signal_name == e.signal_name))

    def subscribe(self, event_or_signal: Event | int, queue_type: str | None = None) -> None:
        """Hear what any chart of this process publishes with a signal, from now on.

        With `queue_type="lifo"` such an event goes before those that wait.
        """
        name = _signal_name(event_or_signal)
        in_front = queue_type == "lifo"
        # As miros' own call, which does nothing for a chart that is not instrumented.
        self.scribble(f"SUBSCRIBING TO:({name}, TYPE:{'lifo' if in_front else 'fifo'})")
        fabric.subscribe(self.fabric, self.queue, name, in_front=in_front)

    def subscribed(self, event_or_signal: Event | int, queue_type: str = "fifo") -> bool:
        """Whether this chart hears what is published with a signal, whatever the `queue_type`."""
        return fabric.subscribed(self.fabric, self.queue, _signal_name(event_or_signal))

    def unsubscribe_all(self) -> None:
        """Hear nothing more that is published: for a chart that has ended, and is not read."""
        fabric.unsubscribe(self.fabric, self.queue)

    def publish(self, event: Event, priority: int | None = None) -> None:
        """Post an event into every chart of this process that has subscribed its signal.

        Events of one priority are handed over in the order in which they were published; 1 goes
        before all others, 1,000 is the default.
        """
        priority = fabric.PRIORITY if priority is None else priority
        self.scribble(f"PUBLISH:({event.signal_name}, PRIORITY:{priority})")
        fabric.publish(self.fabric, event, priority)

    def _at_work(self) -> str:
        """Name what the chart's thread is handling, for the log line of its death."""
        return "a handler"

    def _died(self, error: BaseException) -> None:
        """Hear that a handler raised `error`, on the chart's thread, which ends after this call."""

    def run_event(self, task_event: Any, fabric_task_event: Any, queue: Any) -> None:
        """Handle events until the chart stops or a handler raises (miros' main of its thread).

        An error of a handler is logged with its traceback and handed to `_died`. It is raised as
        well, for `threading.excepthook`, where the log is not written, or the program has set a
        hook: such a hook wants every thread's exception.
        """
        try:
            super().run_event(task_event, fabric_task_event, queue)
        except BaseException as error:
            # `BaseException`: a handler's `SystemExit` ends this thread as well, and `threading`
            # would say nothing of it. Logged before the program's observers are called.
            logger.exception(
                "chart %s is dead: %s raised; it gets no more events", self.name, self._at_work()
            )
            self._died(error)
            if threading.excepthook is not threading.__excepthook__ or not _is_written(logger):
                raise


def _signal_name(event_or_signal: Event | int) -> str:
    if isinstance(event_or_signal, Event):
        return event_or_signal.signal_name
    return signals.name_for_signal(event_or_signal)


def _is_written(source: logging.Logger) -> bool:
    """Whether an error of the logger reaches a handler.

    Python's own traceback then would be a second one, with every secret that the log has masked.
    """
    if not source.isEnabledFor(logging.ERROR):
        return False
    # The way of `logging.Logger.callHandlers`: up through the parents, until one does not
    # propagate.
    place: logging.Logger | None = source
    while place:
        if any(_writes(handler) for handler in place.handlers):
            return True
        place = place.parent if place.propagate else None
    return False


def _writes(handler: logging.Handler) -> bool:
    # The package has a NullHandler of its own, and so `logging` never falls back on standard error.
    return handler.level <= logging.ERROR and not isinstance(handler, logging.NullHandler)
