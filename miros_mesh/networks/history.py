"""What a node has sent last, for receivers that ask for it again."""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from miros_mesh.networks.order.ranges import Range, merged
from miros_mesh.wire.envelope import Origin

T = TypeVar("T", bound=Origin)


class History(Generic[T]):
    """The last messages of all charts of a node, bounded in number and bytes. Thread-safe."""

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self.max_bytes = max_bytes
        # Plain tuples, since each event that is sent makes one.
        self._sent: deque[tuple[str, int, float, int, str, T | None]] = deque()
        """Of all charts in the order of sending: chart, number, when by the monotonic clock (the
        other one may jump), size, destination, and the message; without that it was forgotten on
        purpose."""
        self._bytes = 0
        self._forgotten_at = -math.inf
        """When the youngest of those was sent that had to make room."""
        # Guards the three above: charts' threads add, the subscriber's thread finds.
        self._lock = threading.Lock()

    def add(self, message: T, size_bytes: int, destination: str) -> None:
        """Keep a message with where it goes; forget the oldest ones that exceed a limit."""
        with self._lock:
            at = time.monotonic()
            entry = message.chart, message.sequence, at, size_bytes, destination, message
            self._sent.append(entry)
            self._bytes += size_bytes
            # A message that alone exceeds the limit is not kept either.
            while len(self._sent) > self._max_events or self._bytes > self.max_bytes:
                _, _, self._forgotten_at, forgotten_bytes, _, _ = self._sent.popleft()
                self._bytes -= forgotten_bytes

    def forget(self, chart: str, sequence: int) -> None:
        """Keep a message no longer: it cannot travel, and who misses it is told so."""
        with self._lock:
            # From the end: what a broker refuses was sent a moment ago.
            for place in range(len(self._sent) - 1, -1, -1):
                of, number, at, size_bytes, destination, _ = self._sent[place]
                if number == sequence and of == chart:
                    self._bytes -= size_bytes
                    self._sent[place] = chart, sequence, at, 0, destination, None
                    return

    def sent_before(self, chart: str, at: float, last: int) -> int:
        """Return up to which number a chart's messages were sent before a (monotonic) time.

        `last` is the number of its last one. What was forgotten counts only where that is known.
        """
        older = 0
        with self._lock:
            for of, number, sent_at, *_ in self._sent:
                if of == chart:
                    if sent_at >= at:
                        last = number - 1
                        break
                    older = number
            return last if self._forgotten_at < at else older

    def find(
        self, chart: str, numbers: Sequence[Range], since: float = -math.inf
    ) -> list[tuple[str, T]]:
        """Return a chart's messages with these numbers, in the order in which they were sent.

        With each stands its destination. None of them was sent before a (monotonic) time.
        """
        with self._lock:
            # Only copied under the lock, for which charts that transmit wait: a question may name
            # 1,000 ranges.
            kept = [
                (destination, message)
                for of, _, at, _, destination, message in self._sent
                if of == chart and message is not None and at >= since
            ]
        ranges = merged(numbers)
        firsts = [first for first, _ in ranges]

        def asked(sequence: int) -> bool:
            place = bisect_right(firsts, sequence)
            return place > 0 and sequence <= ranges[place - 1][1]

        return [each for each in kept if asked(each[1].sequence)]
