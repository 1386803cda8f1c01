"""Whether the death of a chart needs Python's traceback as well as the library's log line."""

from __future__ import annotations

import logging
import threading


def told(logger: logging.Logger) -> bool:
    """Whether an error of the logger is written somewhere, and nobody else asks for the exception.

    Python would print it a second time, with every secret that the log has masked.
    """
    # An application that has set a hook wants each thread's exception, logged or not.
    return threading.excepthook is threading.__excepthook__ and _is_written(logger)


def _is_written(logger: logging.Logger) -> bool:
    if not logger.isEnabledFor(logging.ERROR):
        return False
    place: logging.Logger | None = logger
    while place:
        if any(_writes(handler) for handler in place.handlers):
            return True
        place = place.parent if place.propagate else None
    return False


def _writes(handler: logging.Handler) -> bool:
    return handler.level <= logging.ERROR and not isinstance(handler, logging.NullHandler)
