"""Ending in good order when an operating system or an orchestrator asks for it."""

from __future__ import annotations

import signal
import threading

from miros_mesh.errors import LifecycleError
from miros_mesh.service.notifier import NOTIFIER


def stop_on_sigterm() -> None:
    """Let SIGTERM end the program as the end of its main thread would.

    `SystemExit(0)` is raised in the main thread: `finally` blocks, context managers and `atexit`
    run, and every chart that still runs is stopped. A further SIGTERM changes nothing.

    Raises `LifecycleError` outside the main thread, where Python installs no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        raise LifecycleError(
            "stop_on_sigterm outside the main thread: Python handles signals there alone; "
            "call it where the program starts"
        )
    signal.signal(signal.SIGTERM, _end)


def _end(_signal: int, _frame: object) -> None:
    # A second SystemExit would break off what the first one has set going.
    signal.signal(signal.SIGTERM, _ignore)
    NOTIFIER.stopping()
    # No chart is stopped from here: the main thread may hold any of the locks that this takes.
    raise SystemExit(0)


def _ignore(_signal: int, _frame: object) -> None:
    """Unlike SIG_IGN, a handler is not passed on to programs that this one starts."""
