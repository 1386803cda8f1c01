"""What a node has sent last, for receivers that ask for it again."""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from miros_mesh.networks.order.ranges import Range, merged


class Sent(NamedTuple):
    """A message that was sent, as it is kept."""

    destination: str
    sequence: int
    encoded: bytes


class History:
    """The last messages of all charts of a node, bounded in number and bytes. Thread-safe.

    A message is kept as the very bytes that its frame has, so that one which waits in an outbox is
    in memory once; who is asked for it decodes it.
    """

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self.max_bytes = max_bytes
        # Plain tuples, since each event that is sent makes one.
        self._sent: deque[tuple[str, int, float, str, bytes]] = deque()
        """Of all charts in the order of sending: chart, number, when by the monotonic clock (the
        other one may jump), destination, and the encoded message; one that was forgotten on purpose
        is empty."""
        self._bytes = 0
        self._forgotten_at = -math.inf
        """When the youngest of those was sent that had to make room."""
        # Guards the three above: charts' threads add, the subscriber's thread finds.
        self._lock = threading.Lock()

    def add(self, chart: str, sequence: int, encoded: bytes, destination: str) -> None:
        """Keep a message with where it goes; forget the oldest ones that exceed a limit."""
        with self._lock:
            self._sent.append((chart, sequence, time.monotonic(), destination, encoded))
            self._bytes += len(encoded)
            # A message that alone exceeds the limit is not kept either.
            while len(self._sent) > self._max_events or self._bytes > self.max_bytes:
                _, _, self._forgotten_at, _, forgotten = self._sent.popleft()
                self._bytes -= len(forgotten)

    def forget(self, chart: str, sequence: int) -> None:
        """Keep a message no longer: it cannot travel, and who misses it is told so."""
        with self._lock:
            # From the end: what a broker refuses was sent a moment ago.
            for place in range(len(self._sent) - 1, -1, -1):
                of, number, at, destination, encoded = self._sent[place]
                if number == sequence and of == chart:
                    self._bytes -= len(encoded)
                    self._sent[place] = chart, sequence, at, destination, b""
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

    def find(self, chart: str, numbers: Sequence[Range], since: float = -math.inf) -> list[Sent]:
        """Return a chart's messages with these numbers, in the order in which they were sent.

        None of them was sent before a (monotonic) time.
        """
        with self._lock:
            # Only copied under the lock, for which charts that transmit wait: a question may name
            # 1,000 ranges.
            kept = [
                Sent(destination, number, encoded)
                for of, number, at, destination, encoded in self._sent
                if of == chart and encoded and at >= since
            ]
        ranges = merged(numbers)
        firsts = [first for first, _ in ranges]

        def asked(sequence: int) -> bool:
            place = bisect_right(firsts, sequence)
            return place > 0 and sequence <= ranges[place - 1][1]

        return [each for each in kept if asked(each.sequence)]
