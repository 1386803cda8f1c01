"""Waiting for a condition with a limit, in place of sleeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

POLL_INTERVAL_S = 0.005


def wait_until(condition: Callable[[], Any], timeout_s: float = 10.0, *, message: str = "") -> Any:
    """Return the first true value of `condition()`; fail the test when the limit is reached."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not (value := condition()):
        if time.monotonic() > deadline:
            what = message or getattr(condition, "__name__", repr(condition))
            raise AssertionError(f"not within {timeout_s} s: {what}")
        pause.wait(POLL_INTERVAL_S)
    return value
