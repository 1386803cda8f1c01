"""What a node has sent last, for receivers that ask for it again."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from miros_mesh.networks.streams import Range, merged
from miros_mesh.wire.envelope import Origin

T = TypeVar("T", bound=Origin)


class History(Generic[T]):
    """The last messages of all charts of a node, bounded in number and bytes. Thread-safe."""

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._sent: deque[tuple[T, int]] = deque()
        """Messages of all charts with their sizes, in the order in which they were sent."""
        self._bytes = 0
        # Guards the two above: charts' threads add, the subscriber's thread finds.
        self._lock = threading.Lock()

    def add(self, message: T, size_bytes: int) -> None:
        """Keep a message; forget the oldest ones that exceed a limit."""
        with self._lock:
            self._sent.append((message, size_bytes))
            self._bytes += size_bytes
            # A message that alone exceeds the limit is not kept either.
            while len(self._sent) > self._max_events or self._bytes > self._max_bytes:
                _, forgotten = self._sent.popleft()
                self._bytes -= forgotten

    def forget(self, chart: str, sequence: int) -> None:
        """Keep a message no longer: it cannot travel, and who misses it is told so."""
        with self._lock:
            for at, (message, size_bytes) in enumerate(self._sent):
                if message.sequence == sequence and message.chart == chart:
                    del self._sent[at]
                    self._bytes -= size_bytes
                    return

    def find(self, chart: str, numbers: Sequence[Range]) -> list[T]:
        """Return a chart's messages with these numbers, in the order in which they were sent."""
        with self._lock:
            # Only copied under the lock, for which charts that transmit wait: a question may name
            # 1,000 ranges.
            sent = [message for message, _ in self._sent if message.chart == chart]
        ranges = merged(numbers)
        firsts = [first for first, _ in ranges]

        def asked(sequence: int) -> bool:
            at = bisect_right(firsts, sequence)
            return at > 0 and sequence <= ranges[at - 1][1]

        return [message for message in sent if asked(message.sequence)]
