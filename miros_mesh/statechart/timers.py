"""A chart's timers: events that it posts to itself later, each by a thread of miros."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from miros import Event

Start = Callable[..., Any]
"""miros' `post_fifo` or `post_lifo`."""


class Timers:
    """The timers of one chart that have yet to ring; thread-safe.

    miros keeps each timer's place for ever (4.2.1), so that a chart dies at its 501st, and finds
    timers by the identity of their names. Here a timer that has rung for the last time gives its
    place back, and names are compared.
    """

    def __init__(self, entries: deque[Any], too_many: Callable[[str], Exception]) -> None:
        """`entries` is the chart's `posted_events_queue`, into which miros enters each timer.

        `too_many` makes the error that says so when there is one timer too many.
        """
        self._entries = entries
        self._too_many = too_many
        # Guards `_entries`. Held while miros starts a timer's thread, and never while one rings.
        self._changing = threading.Lock()

    def start(self, start: Start, event: Event, **how: Any) -> Any:
        """Start a timer by miros' own call, and return the id that it gives.

        Raises what `too_many` makes when as many as the chart may have are running.
        """
        with self._changing:
            self._forget_finished()
            if len(self._entries) == self._entries.maxlen:
                raise self._too_many(self._full())
            return start(event, **how)

    def cancel(self, wanted: Callable[[Any], bool]) -> None:
        """Let those of the timers ring no more that are `wanted`."""
        with self._changing:
            for entry in [each for each in self._entries if wanted(each)]:
                entry.task_run_event.clear()
            self._forget_finished()

    def _forget_finished(self) -> None:
        # miros clears the flag of a timer after it has rung for the last time.
        running = [each for each in self._entries if each.task_run_event.is_set()]
        if len(running) < len(self._entries):
            self._entries.clear()
            self._entries.extend(running)

    def _full(self) -> str:
        most = Counter(each.signal_name for each in self._entries).most_common(5)
        names = ", ".join(f"{count} of {name}" for name, count in most)
        return (
            f"{len(self._entries)} timers are running, which is the limit: {names}; "
            "cancel those that a state has started when it is left (cancel_events)"
        )
