"""`Restarts`: starts a chart again that has died, after a pause that grows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from miros_mesh.text import logger_of

logger = logger_of(__name__)

# The pause doubles with each death, up to the longest. A chart that has lived for longer than that
# begins with the shortest again.
SHORTEST_S: Final = 1.0
LONGEST_S: Final = 60.0


class Restarts:
    """The deaths and lives of one chart.

    `start` may wait, and may raise, which is one more death; `after` calls in so many seconds, on a
    thread that may wait.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], None],
        after: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._name = name
        self._start = start
        self._after = after
        # Held while the chart is started again; `end_and_wait` takes it to wait for that. Guards
        # the fields below but `_ended`, which is set without it, and read again after the start.
        self._starting = threading.Lock()
        self._began_at = time.monotonic()
        self._pause_s = 0.0
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the chart is to be dead for good."""
        return self._ended

    def died(self) -> None:
        """Start the chart again after the pause; on the chart's thread, as the last thing there."""
        with self._starting:
            self._wait_and_start()

    def end(self) -> None:
        """Start the chart no more; does not wait for a start that is under way."""
        self._ended = True

    def end_and_wait(self) -> None:
        """Start the chart no more; returns when none is under way."""
        self._ended = True
        with self._starting:
            pass

    def _wait_and_start(self) -> None:
        # With the lock held.
        lived_s = time.monotonic() - self._began_at
        longer_s = min(max(2 * self._pause_s, SHORTEST_S), LONGEST_S)
        self._pause_s = SHORTEST_S if lived_s > LONGEST_S else longer_s
        if not self._ended:
            logger.warning("chart %s starts again in %g s", self._name, self._pause_s)
            self._after(self._pause_s, self._again)

    def _again(self) -> None:
        with self._starting:
            if self._ended:
                return
            self._began_at = time.monotonic()
            try:
                self._start()
            except Exception:
                logger.exception("chart %s cannot start again", self._name)
                self._wait_and_start()
