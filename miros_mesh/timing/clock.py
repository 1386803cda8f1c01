"""`Clock`: what time it is, and calls at a later time; `SystemClock` is the real one of a node."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final, Protocol, runtime_checkable

from miros_mesh.text import logger_of
from miros_mesh.timing.threads import OwnedThread

logger = logger_of(__name__)

# A wait for longer is begun again: the system refuses one of some hundred years.
_LONGEST_WAIT_S: Final = 3600.0
# So few are not worth the work of sorting them out.
_FEW_CANCELLED: Final = 64


class Timer(Protocol):
    """One call at a later time, as `Clock.timer` makes it."""

    def cancel(self) -> bool:
        """Have the call not made; whether that came in time. A call that is under way goes on."""


@runtime_checkable
class Clock(Protocol):
    """What time it is, and calls at a later time. Every method may be used from any thread."""

    def monotonic(self) -> float:
        """Return seconds since some moment; nothing sets them back."""

    def wall(self) -> float:
        """Return the time of day, as seconds since 1970; somebody may set it."""

    def timer(self, delay_s: float, call: Callable[[], object]) -> Timer:
        """Have `call` called once, in so many seconds (none or less: as soon as may be).

        It runs on a thread of the clock, which all timers share, so it must not wait for anything.
        """


class Timers:
    """Calls in the order of their time, for clocks. Thread-safe; calls nothing itself.

    A timer costs the logarithm of how many there are. What a cancelled one would have called is let
    go at once, and its place soon after.
    """

    def __init__(self) -> None:
        # Under equal times the earlier made comes first; two timers are never compared.
        self._heap: list[tuple[float, int, _Timer]] = []
        self._made = 0
        # How many in the heap are cancelled.
        self._cancelled = 0
        # Guards the three above and the calls of the timers. Never held during a call.
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many wait to be called."""
        with self._lock:
            return len(self._heap) - self._cancelled

    def add(self, due: float, call: Callable[[], object]) -> tuple[Timer, bool]:
        """Add a timer; returns it, and whether it is due before all others.

        A cancelled one may hide that: the clock wakes for it, and looks what is next.
        """
        with self._lock:
            self._made += 1
            timer = _Timer(self, call)
            heappush(self._heap, (due, self._made, timer))
            return timer, self._heap[0][2] is timer

    def next_due(self) -> float | None:
        """Return when the next one is due; None while there is none."""
        with self._lock:
            self._drop_cancelled()
            return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> tuple[float, Callable[[], object]] | None:
        """Take out the next one that is due by then: its time and its call; None without one."""
        with self._lock:
            self._drop_cancelled()
            if not self._heap or self._heap[0][0] > now:
                return None
            due, _, timer = heappop(self._heap)
            call, timer.call = timer.call, None
            # Only a cancelled timer has none, and those are out.
            return (due, call) if call else None

    def clear(self) -> None:
        """Cancel every timer that waits."""
        with self._lock:
            for _, _, timer in self._heap:
                timer.call = None
            self._heap.clear()
            self._cancelled = 0

    def cancel(self, timer: _Timer) -> bool:
        """Cancel one; whether it was still to be called."""
        with self._lock:
            if timer.call is None:
                return False
            timer.call = None
            self._cancelled += 1
            # At most as many as wait, so that this too costs each of them little.
            if self._cancelled > max(_FEW_CANCELLED, len(self._heap) // 2):
                self._heap = [each for each in self._heap if each[2].call]
                heapify(self._heap)
                self._cancelled = 0
            return True

    def _drop_cancelled(self) -> None:
        """Take out the cancelled ones at the head. The caller holds the lock."""
        while self._heap and self._heap[0][2].call is None:
            heappop(self._heap)
            self._cancelled -= 1


class _Timer:
    """A place in `Timers`, without a call when that was made or cancelled."""

    __slots__ = ("_timers", "call")

    def __init__(self, timers: Timers, call: Callable[[], object]) -> None:
        self._timers = timers
        self.call: Callable[[], object] | None = call

    def cancel(self) -> bool:
        return self._timers.cancel(self)


class SystemClock:
    """The time of this machine, and one thread that makes the calls of all timers of a node.

    The thread starts with the first timer, and sleeps while none is due.
    """

    def __init__(self, thread_name: str) -> None:
        self._timers = Timers()
        # Set when the thread has to look again: for an earlier timer, or its end.
        self._look = threading.Event()
        self._thread = OwnedThread(thread_name, self._run, self._look.set)

    def monotonic(self) -> float:
        """Return seconds since some moment; nothing sets them back."""
        return time.monotonic()

    def wall(self) -> float:
        """Return the time of day, as seconds since 1970; somebody may set it."""
        return time.time()

    def timer(self, delay_s: float, call: Callable[[], object]) -> Timer:
        """Have `call` called once, in so many seconds; never when the clock is stopped before.

        What it raises is logged, and harms no other timer.
        """
        if not self._thread.stopping.is_set():
            # First, since it raises where the process may have no thread more.
            self._thread.start()
        timer, first = self._timers.add(self.monotonic() + as_delay(delay_s), call)
        if first:
            self._look.set()
        if self._thread.stopping.is_set():
            # Added behind the last look: nothing would take it out.
            self._timers.clear()
        return timer

    def stop(self, timeout_s: float) -> bool:
        """Cancel all timers and end the thread; whether it has ended in that time.

        A call that is under way goes on. On the clock's own thread it does not wait.
        """
        ended = self._thread.stop(timeout_s)
        self._timers.clear()
        return ended

    def _run(self) -> None:
        while not self._thread.stopping.is_set():
            # First: what is added after the look below ends the wait.
            self._look.clear()
            self._call_due()
            due = self._timers.next_due()
            left = _LONGEST_WAIT_S if due is None else due - self.monotonic()
            if left > 0 and not self._thread.stopping.is_set():
                self._look.wait(min(left, _LONGEST_WAIT_S))

    def _call_due(self) -> None:
        while not self._thread.stopping.is_set() and (due := self._timers.take(self.monotonic())):
            _call(due[1])


def as_delay(delay_s: float) -> float:
    """Return the seconds, or 0 for what lies in the past or is no number."""
    return delay_s if delay_s > 0 else 0.0


def _call(call: Callable[[], object]) -> None:
    try:
        call()
    except Exception:
        logger.exception("the call of a timer raised; other timers go on")
