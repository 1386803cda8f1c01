"""The base of every chart of the library: safe beside other threads, and its death is reported."""

from __future__ import annotations

import logging
import threading
from typing import Any

from miros import ActiveObject

from miros_mesh.statechart import fabric, signal_table
from miros_mesh.text import logger_of

logger = logger_of(__name__)


class SafeChart(ActiveObject):
    """A miros chart; override `_died` for what has to happen when a handler raises."""

    def __init__(self, name: str | None = None) -> None:
        fabric.renew_in_children()
        signal_table.guard()
        super().__init__(name)

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
