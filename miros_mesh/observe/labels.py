"""Labels of metrics that cannot grow without end."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Final

OTHER: Final = "other"


class Label:
    """A label that takes a limited number of values."""

    def __init__(self, limit: int, known: Iterable[str] = ()) -> None:
        self._limit = limit
        self._known = set(known)
        self._learning = Lock()

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        with self._learning:
            if len(self._known) < self._limit:
                self._known.add(value)
        return value if value in self._known else OTHER
