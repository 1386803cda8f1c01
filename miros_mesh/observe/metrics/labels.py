"""Labels with a limit, and a gauge of what is there that has one."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Final

from prometheus_client import Gauge

OTHER: Final = "other"


class Label:
    """A label that keeps its first `limit` values and calls each later one `other`.

    So no stranger and no bug can grow the number of time series without end. May be called from any
    thread; values that are `known` beforehand count to the limit.
    """

    def __init__(self, limit: int, known: Iterable[str] = ()) -> None:
        self._limit = limit
        # Guards the growth of `_known`, so that two threads do not grow it beyond the limit. It is
        # read without: values are only ever added.
        self._learning = Lock()
        self._known = set(known)

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        with self._learning:
            if len(self._known) < self._limit:
                self._known.add(value)
        # Once more: another thread may have learnt the same value meanwhile.
        return value if value in self._known else OTHER


class Presence:
    """A gauge of what is there: 0 or 1 for each name, and how many of those called `other`."""

    def __init__(self, gauge: Gauge, label: Label) -> None:
        self._gauge = gauge
        self._label = label
        # Guards `_present`, and keeps the gauge in step with it. The label's lock may be taken
        # while it is held.
        self._changing = Lock()
        self._present: set[str] = set()

    def enter(self, name: str) -> None:
        """Count the name as there; a second time changes nothing."""
        with self._changing:
            self._present.add(name)
            self._show(self._label(name))

    def leave(self, name: str) -> bool:
        """Count the name as absent; tell whether it was there."""
        with self._changing:
            was_there = name in self._present
            self._present.discard(name)
            self._show(self._label(name))
        return was_there

    def _show(self, label: str) -> None:
        # Counted anew each time, since several names may share the label `other`; there are few
        # names.
        self._gauge.labels(label).set(sum(self._label(name) == label for name in self._present))
