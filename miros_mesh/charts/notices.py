"""The library's own signals on their way into a chart's FIFO."""

from __future__ import annotations

import logging
import threading
from collections import deque

from miros import ActiveObject, Event

from miros_mesh.signals import OutboxOverflow
from miros_mesh.throttle import Throttle

logger = logging.getLogger(__name__)

# Of miros' 500 places the last ones are for the chart's own events.
NEARLY_FULL = 400
MOST_WAITING = 100
COMPLAIN_EVERY_S = 10.0


class Notices:
    """Posts them in order, from any thread; while the FIFO is nearly full they wait here."""

    def __init__(self, chart: ActiveObject) -> None:
        self._chart = chart
        self._waiting: deque[tuple[str, object]] = deque()
        self._changing = threading.Lock()
        self._feeding = threading.Lock()
        self._complaints = Throttle(COMPLAIN_EVERY_S)

    def post(self, signal: str, payload: object) -> None:
        """Hand a signal over; never waits. Of too many that wait the oldest go, which is logged."""
        with self._changing:
            self._append(signal, payload)
        self.feed()

    def feed(self) -> None:
        """Move what waits into the FIFO while that has places to spare."""
        while self._waiting and self._has_room():
            # Nobody waits for this lock: whoever has it looks again after its release.
            if not self._feeding.acquire(blocking=False):
                return
            try:
                self._feed()
            finally:
                self._feeding.release()

    def _feed(self) -> None:
        while self._has_room():
            with self._changing:
                if not self._waiting:
                    return
                signal, payload = self._waiting.popleft()
            self._chart.post_fifo(Event(signal=signal, payload=payload))

    def _has_room(self) -> bool:
        return len(self._chart.queue) < NEARLY_FULL

    def _append(self, signal: str, payload: object) -> None:
        last = self._waiting[-1][1] if self._waiting else None
        if (
            isinstance(payload, OutboxOverflow)
            and isinstance(last, OutboxOverflow)
            and last.address == payload.address
        ):
            payload = OutboxOverflow(payload.address, last.events + payload.events)
            self._waiting.pop()
        self._waiting.append((signal, payload))
        if len(self._waiting) > MOST_WAITING:
            gone, _ = self._waiting.popleft()
            if times := self._complaints.due("full"):
                logger.warning(
                    "chart %s is too busy for the signals of its node: %d lost, the last one %s",
                    self._chart.name,
                    times,
                    gone,
                )
