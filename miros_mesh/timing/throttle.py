"""Reports at intervals, each with the number of what has happened since the last one."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

# So few keys are not worth the work of sorting them out.
_FEW_KEYS: Final = 256


class Allowance:
    """So much at once, and so much a second after that. Not thread-safe."""

    def __init__(self, at_once: float, a_second: float, now: float) -> None:
        self._at_once = at_once
        self._a_second = a_second
        self._left = at_once
        self._at = now

    def left(self, now: float) -> float:
        """Return what is left at a (monotonic) time; it may be less than nothing."""
        self._left = min(self._at_once, self._left + (now - self._at) * self._a_second)
        self._at = now
        return self._left

    def take(self, amount: float) -> None:
        """Take so much, whether it is there or not."""
        self._left -= amount


class Throttle:
    """Counts what happens under each key, and says when to report it. Thread-safe.

    The first is reported at once; what follows within `every_s` waits for the next report.
    """

    def __init__(self, every_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        # Both grow with the number of keys that are used within `every_s`, so a key must not hold
        # what a stranger may choose, where that is long.
        self._next: dict[str, float] = {}
        self._untold: Counter[str] = Counter()
        # How many keys there may be before the old ones are looked for.
        self._most = _FEW_KEYS
        # Guards the three above, which change together.
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many keys it remembers."""
        with self._lock:
            return len(self._next)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The keys under which something waits to be reported."""
        with self._lock:
            return tuple(key for key, amount in self._untold.items() if amount)

    def due(self, key: str, amount: int = 1) -> int:
        """Count `amount`; return all that is unreported under the key, or 0 if it is too early."""
        with self._lock:
            self._untold[key] += amount
            now = self._clock()
            # With an amount of 0 it asks for what waits: then there may be nothing.
            if now < self._next.get(key, 0) or not self._untold[key]:
                return 0
            self._next[key] = now + self._every_s
            if len(self._next) > self._most:
                self._forget_old(now)
            return self._untold.pop(key)

    def _forget_old(self, now: float) -> None:
        """Forget the keys that may be reported at once: those say as much as none."""
        self._next = {key: at for key, at in self._next.items() if at > now}
        # Twice as many, so that each key costs a look or two.
        self._most = max(_FEW_KEYS, 2 * len(self._next))
