"""What flows between charts: how many events of which signals, how fast, how long on the way."""

from __future__ import annotations

import statistics
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Final

Place = tuple[str, str]
"""A node and a chart, by their names."""

MAX_FLOWS: Final = 5_000
MAX_SIGNALS: Final = 12
WINDOW_S: Final = 5
# A median over so many is not moved by one that waited long.
_LATENCIES: Final = 31


class Pace:
    """Counts by the second, and the rate over the last whole ones; not thread-safe."""

    __slots__ = ("_seconds", "_window_s")

    def __init__(self, window_s: int = WINDOW_S) -> None:
        self._window_s = window_s
        # Seconds of the monotonic clock with their counts, the newest last.
        self._seconds: deque[list[int]] = deque(maxlen=window_s + 1)

    def add(self, now: float, amount: int = 1) -> None:
        """Count what came at that time."""
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += amount
        else:
            self._seconds.append([second, amount])

    def per_s(self, now: float) -> float:
        """Return how many came a second, over the last whole seconds."""
        last, window_s = int(now), self._window_s
        return sum(n for second, n in self._seconds if last - window_s <= second < last) / window_s

    def lately(self, now: float, within_s: int) -> int:
        """Return how many came in the window, or 0 if none of them did `within_s`."""
        first = int(now) - self._window_s
        if not self._seconds or self._seconds[-1][0] < int(now) - within_s:
            return 0
        return sum(n for second, n in self._seconds if second > first)


class Flow:
    """The events that one chart sent and another one handled."""

    __slots__ = ("_latencies", "count", "pace", "signals", "unlisted")

    def __init__(self) -> None:
        self.count = 0
        self.pace = Pace()
        self.signals: dict[str, int] = {}
        self.unlisted = 0
        """How many had a signal that is one too many to be named."""
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)

    def note(self, now: float, signal: str) -> None:
        """Count an event that was handled."""
        self.count += 1
        self.pace.add(now)
        if signal in self.signals or len(self.signals) < MAX_SIGNALS:
            self.signals[signal] = self.signals.get(signal, 0) + 1
        else:
            self.unlisted += 1

    def took(self, latency_s: float) -> None:
        """Add the time that one of them was on its way."""
        self._latencies.append(latency_s)

    @property
    def latency_s(self) -> float | None:
        """The median time from the step that sent an event to the step that it caused.

        By the clocks of both hosts, so it may be below zero; None while no cause is known.
        """
        return statistics.median(self._latencies) if self._latencies else None


class Flows:
    """The flows of the mesh, `MAX_FLOWS` at most; the longest silent are forgotten first."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._flows: OrderedDict[tuple[Place, Place], Flow] = OrderedDict()

    def note(self, sender: Place, receiver: Place, signal: str) -> None:
        """Count an event that a chart handled and another one had sent."""
        key = sender, receiver
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = Flow()
            if len(self._flows) > MAX_FLOWS:
                self._flows.popitem(last=False)
        self._flows.move_to_end(key)
        flow.note(self._now(), signal)

    def took(self, sender: Place, receiver: Place, latency_s: float) -> None:
        """Add the time that such an event was on its way, once that is known."""
        if flow := self._flows.get((sender, receiver)):
            flow.took(latency_s)

    def __len__(self) -> int:
        return len(self._flows)

    def as_json(self, most: int) -> list[dict[str, Any]]:
        """Return the flows, the fastest first, and of equal ones those with more events."""
        now = self._now()
        rated = [(flow.pace.per_s(now), flow.count, key) for key, flow in self._flows.items()]
        rated.sort(key=lambda each: (-each[0], -each[1], each[2]))
        return [self._row(rate, key) for rate, _, key in rated[:most]]

    def _row(self, rate: float, key: tuple[Place, Place]) -> dict[str, Any]:
        flow = self._flows[key]
        return {
            "from": list(key[0]),
            "to": list(key[1]),
            "rate": round(rate, 2),
            "count": flow.count,
            "latency_s": flow.latency_s,
            "signals": flow.signals,
            "unlisted": flow.unlisted,
        }
