"""`HandClock`: time that passes when a test says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from miros_mesh.timing.clock import Timer, Timers, as_delay

_NS: Final = 1_000_000_000


class HandClock:
    """A clock that stands still until `advance`; for `MemoryMesh(clock=...)` and `MeshConfig`.

        clock = HandClock()
        mesh = MemoryMesh(clock=clock)
        ...
        clock.advance(30)  # whatever has a limit of 30 seconds has run out of it

    `wall` is where its time of day begins, in seconds since 1970: two clocks with different ones
    are two hosts that disagree. Without it the day begins as on this machine, in whole seconds.
    """

    def __init__(self, wall: float | None = None) -> None:
        self._wall_ns = int(time.time()) * _NS if wall is None else round(wall * _NS)
        # Whole nanoseconds: ten times 0.1 are 1.
        self._now_ns = 0
        self._timers = Timers()
        # One thread at a time turns it; a call of a timer may turn it further.
        self._turning = threading.RLock()

    @property
    def timers(self) -> int:
        """How many timers are open."""
        return len(self._timers)

    def monotonic(self) -> float:
        """Return by how many seconds it was advanced."""
        return self._now_ns / _NS

    def wall(self) -> float:
        """Return its time of day, as seconds since 1970."""
        return (self._wall_ns + self._now_ns) / _NS

    def timer(self, delay_s: float, call: Callable[[], object]) -> Timer:
        """Have `call` called by the `advance` that reaches the time, on its thread."""
        delay_ns = min(as_delay(delay_s) * _NS, float(2**62))
        return self._timers.add(self._now_ns + round(delay_ns), call)[0]

    def advance(self, seconds: float) -> int:
        """Let so much time pass, and return how many timers were due.

        They are called one after another on this thread, each at its own time, with those that they
        make themselves for within `seconds`. With 0 only what is due already is called. What a
        call raises is raised here, when all were called; of several the first.
        """
        if seconds < 0:
            raise ValueError("a clock goes forwards only: seconds is less than 0")
        with self._turning:
            until = self._now_ns + round(seconds * _NS)
            called, errors = 0, []
            while due := self._timers.take(until):
                at, call = due
                self._now_ns = max(self._now_ns, round(at))
                called += 1
                try:
                    call()
                except Exception as error:  # noqa: BLE001 - raised below
                    errors.append(error)
            self._now_ns = max(self._now_ns, until)
        if errors:
            raise errors[0]
        return called
