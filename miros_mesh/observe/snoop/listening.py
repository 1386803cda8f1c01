"""A clock of the time in which others could be heard: who could not be heard was not silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

# Other nodes lost the broker too: they connect again within some seconds, and tell once a second.
BACK_WITHIN_S: Final = 5.0


class ListeningClock:
    """Goes while its node hears others, and stands while that is cut off. Thread-safe.

    It goes on some seconds after the node is back, once others could have told of themselves.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        # Guards all below. Nothing is called while it is held but `now`.
        self._changing = threading.Lock()
        self._behind = 0.0
        # Where it stands, and when it goes on; None while it goes, or until the node is back.
        self._stands: float | None = None
        self._goes_on: float | None = None

    def __call__(self) -> float:
        """Return the seconds, of which only differences say something."""
        with self._changing:
            return self._read()

    def stand(self, at: float) -> None:
        """Stand from now on, at this reading; one that stands already stays where it is.

        A reading of before is that of the last sign of life: a loss may be known much later.
        """
        with self._changing:
            self._read()
            if self._stands is None:
                self._stands = at
            self._goes_on = None

    def go_on(self) -> None:
        """Go on once others could have told of themselves."""
        with self._changing:
            self._goes_on = self._now() + BACK_WITHIN_S

    def _read(self) -> float:
        now = self._now()
        if self._stands is not None:
            if self._goes_on is None or now < self._goes_on:
                return self._stands
            self._behind = self._goes_on - self._stands
            self._stands = None
        return now - self._behind
