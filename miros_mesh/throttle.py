"""Saying a thing once in a while, and then how often it has happened."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable


class Throttle:
    """Counts what happens under each key, and lets it be told at intervals. Thread-safe.

    What happens first is told at once. What comes too soon after it is kept for the next telling.
    """

    def __init__(self, every_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._next: dict[str, float] = {}
        self._untold: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> tuple[str, ...]:
        """The keys under which something waits to be told."""
        with self._lock:
            return tuple(key for key, amount in self._untold.items() if amount)

    def due(self, key: str, amount: int = 1) -> int:
        """Count, and take all that was not told under this key; 0 while it is too early to tell."""
        with self._lock:
            self._untold[key] += amount
            now = self._clock()
            if now < self._next.get(key, 0) or not self._untold[key]:
                return 0
            self._next[key] = now + self._every_s
            return self._untold.pop(key)
