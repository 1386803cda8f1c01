"""What a node has sent last, for receivers that ask for it again."""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from miros_mesh.networks.ranges import Range, merged
from miros_mesh.wire.envelope import Origin

T = TypeVar("T", bound=Origin)


@dataclass(slots=True)
class _Sent(Generic[T]):
    """A message that was sent; without the message once that is forgotten on purpose."""

    chart: str
    sequence: int
    at: float
    """By the monotonic clock, since the other one may jump."""
    size_bytes: int
    message: T | None


class History(Generic[T]):
    """The last messages of all charts of a node, bounded in number and bytes. Thread-safe."""

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._sent: deque[_Sent[T]] = deque()
        """Messages of all charts, in the order in which they were sent."""
        self._bytes = 0
        self._forgotten_at = -math.inf
        """When the youngest of those was sent that had to make room."""
        # Guards the three above: charts' threads add, the subscriber's thread finds.
        self._lock = threading.Lock()

    def add(self, message: T, size_bytes: int) -> None:
        """Keep a message; forget the oldest ones that exceed a limit."""
        with self._lock:
            at = time.monotonic()
            self._sent.append(_Sent(message.chart, message.sequence, at, size_bytes, message))
            self._bytes += size_bytes
            # A message that alone exceeds the limit is not kept either.
            while len(self._sent) > self._max_events or self._bytes > self._max_bytes:
                forgotten = self._sent.popleft()
                self._bytes -= forgotten.size_bytes
                self._forgotten_at = forgotten.at

    def forget(self, chart: str, sequence: int) -> None:
        """Keep a message no longer: it cannot travel, and who misses it is told so."""
        with self._lock:
            for sent in self._sent:
                if sent.sequence == sequence and sent.chart == chart:
                    self._bytes -= sent.size_bytes
                    sent.size_bytes, sent.message = 0, None
                    return

    def sent_before(self, chart: str, at: float, last: int) -> int:
        """Return up to which number a chart's messages were sent before a (monotonic) time.

        `last` is the number of its last one. What was forgotten counts only where that is known.
        """
        older = 0
        with self._lock:
            for sent in self._sent:
                if sent.chart == chart:
                    if sent.at >= at:
                        last = sent.sequence - 1
                        break
                    older = sent.sequence
            return last if self._forgotten_at < at else older

    def find(self, chart: str, numbers: Sequence[Range], since: float = -math.inf) -> list[T]:
        """Return a chart's messages with these numbers, in the order in which they were sent.

        None of them was sent before a (monotonic) time.
        """
        with self._lock:
            # Only copied under the lock, for which charts that transmit wait: a question may name
            # 1,000 ranges.
            kept = [
                sent.message
                for sent in self._sent
                if sent.message is not None and sent.chart == chart and sent.at >= since
            ]
        ranges = merged(numbers)
        firsts = [first for first, _ in ranges]

        def asked(sequence: int) -> bool:
            at = bisect_right(firsts, sequence)
            return at > 0 and sequence <= ranges[at - 1][1]

        return [message for message in kept if asked(message.sequence)]
