"""The library's own signals on their way into a chart's FIFO."""

from __future__ import annotations

import threading
from collections import deque

from miros import ActiveObject, Event

from miros_mesh.networks.feed import Feed
from miros_mesh.networks.network import COMPLAIN_EVERY_S
from miros_mesh.signals import OutboxOverflow
from miros_mesh.text import logger_of
from miros_mesh.timing.throttle import Throttle

logger = logger_of(__name__)

# Of miros' 500 places the last ones are for the chart's own events.
NEARLY_FULL = 400
# A chart that is behind by so many learns more from what came last.
MOST_WAITING = 100


class Notices:
    """Posts them, from any thread; while the FIFO is nearly full they wait here.

    Those of a kind stand in order. What became of requests is a kind of its own, of which none is
    lost: a chart that has asked waits for it.
    """

    def __init__(self, chart: ActiveObject) -> None:
        self._chart = chart
        self._waiting: deque[tuple[str, object, str | None]] = deque()
        self._outcomes: deque[tuple[str, object, str | None]] = deque()
        """Not more than the chart had open requests."""
        # Guards the two above; not held while the chart's FIFO takes a signal.
        self._lock = threading.Lock()
        self._feed = Feed(self._ready, self._move)
        self._complaints = Throttle(COMPLAIN_EVERY_S)

    def post(self, signal: str, payload: object) -> None:
        """Hand a signal over; never waits. Of too many that wait the oldest go, which is logged."""
        with self._lock:
            self._append(signal, payload)
            lost = self._waiting.popleft()[0] if len(self._waiting) > MOST_WAITING else None
        # Without the lock: a handler of the program's may block, or wait for a thread that posts.
        if lost is not None:
            self._complain(lost)
        self._feed.run()

    def post_outcome(self, signal: str, payload: object, cause: str | None) -> None:
        """Hand over what became of a request that this event caused; never waits, loses none."""
        # One step of a deque.
        self._outcomes.append((signal, payload, cause))
        self._feed.run()

    @property
    def wait(self) -> bool:
        """Whether there is one for which the FIFO had no place."""
        return bool(self._waiting or self._outcomes)

    def feed(self) -> None:
        """Move what waits into the FIFO while that has places to spare."""
        self._feed.run()

    def _ready(self) -> bool:
        return self.wait and self._has_room()

    def _move(self) -> None:
        while self._has_room():
            with self._lock:
                # Held for the deque only: a FIFO that is full after all gives a received event
                # back, and that takes the inbox's lock.
                waiting = self._waiting or self._outcomes
                if not waiting:
                    return
                signal, payload, cause = waiting.popleft()
            event = Event(signal=signal, payload=payload)
            # As events have it that a handler posts.
            vars(event)["mesh_cause"] = cause
            self._chart.post_fifo(event)

    def _has_room(self) -> bool:
        return len(self._chart.queue) < NEARLY_FULL

    def _append(self, signal: str, payload: object) -> None:
        """Add a signal; an overflow adds to one of the same peer that waits right before it."""
        last = self._waiting[-1][1] if self._waiting else None
        if (
            isinstance(payload, OutboxOverflow)
            and isinstance(last, OutboxOverflow)
            and last.address == payload.address
        ):
            payload = OutboxOverflow(payload.address, last.events + payload.events)
            self._waiting.pop()
        self._waiting.append((signal, payload, None))

    def _complain(self, lost: str) -> None:
        if times := self._complaints.due("full"):
            logger.warning(
                "chart %s is too busy for the signals of its node: %d lost, the last one %s; "
                "see which handler takes so long",
                self._chart.name,
                times,
                lost,
            )
