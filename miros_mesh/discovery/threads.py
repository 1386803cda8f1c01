"""The threads of one node's discovery: what would block a chart runs here and comes back."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from miros_mesh.text import logger_of
from miros_mesh.timing.lookups import Lookups
from miros_mesh.timing.threads import OwnedThread

logger = logger_of(__name__)

T = TypeVar("T")

# Probes and look-ups wait for hosts, each in a thread; more at once would find nothing much sooner.
NETWORK_THREADS = 16
# Files, and calls of the node: apart from the network, so that no dead host holds them up.
LOCAL_THREADS = 2
# Alarms below this number are not worth tidying.
_MANY_ALARMS = 64


@dataclass(eq=False)
class Job:
    """Work that was handed to a pool."""

    work: Callable[[], Any]
    done: Callable[[Any], object]
    # Written by the thread that takes it, read by the chart that waits for it.
    started_at: float | None = None

    def left_s(self, allowed_s: float) -> float:
        """Return how much of its time is left; it begins when a thread takes the job."""
        started_at = self.started_at
        if started_at is None:
            return allowed_s
        return started_at + allowed_s - time.monotonic()


class ThreadPool:
    """A bounded number of threads, each started when it is first needed."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        # Guards all fields below; notified when there is a job, or at the end.
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._threads: list[OwnedThread] = []
        # Threads that wait for a job, or have started and not looked for one yet. So a job gets a
        # new thread only if no other is about to take it.
        self._idle = 0
        self._stopped = False

    def run(self, work: Callable[[], T], done: Callable[[T | Exception], object]) -> Job:
        """Call `done` on a thread with what `work` returns or raises; from any thread.

        Neither is called once the pool has stopped.
        """
        job = Job(work, done)
        with self._changed:
            # Under the lock: a job is either refused here, or seen and forgotten by `stop`.
            if not self._stopped:
                self._jobs.append(job)
                if self._idle < len(self._jobs) and len(self._threads) < self._size:
                    self._add_thread()
                self._changed.notify()
        return job

    def stop(self) -> list[OwnedThread]:
        """Begin no other job, and return the threads to join; does not wait for them."""
        with self._changed:
            self._stopped = True
            # What is under way ends once what it waits for is ended: probe, scan, look-up.
            self._jobs.clear()
            self._changed.notify_all()
            return list(self._threads)

    def _add_thread(self) -> None:
        # With the lock held, which the new thread takes first of all.
        thread = OwnedThread(f"{self._name}-{len(self._threads)}", self._work)
        self._threads.append(thread)
        self._idle += 1
        thread.start()

    def _work(self) -> None:
        while job := self._next():
            job.started_at = time.monotonic()
            # Without the lock. `done` posts to a chart and returns at once.
            _safely(job.done, _outcome(job.work))
            with self._changed:
                # Free again: `run` leaves its next job to this thread, and starts none.
                self._idle += 1

    def _next(self) -> Job | None:
        with self._changed:
            # In a loop: another thread may have taken the job that this one was woken for.
            while not self._jobs and not self._stopped:
                self._changed.wait()
            self._idle -= 1
            return self._jobs.popleft() if self._jobs else None


def _outcome(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - handed to the caller of `run`
        return error


def _safely(call: Callable[..., object], *arguments: Any) -> None:
    """Call, and log what it raises: the thread goes on to serve others."""
    try:
        call(*arguments)
    except Exception:
        logger.exception("a callback of discovery raised; its result is lost")


@dataclass(order=True)
class Alarm:
    """A call at a later moment, unless cancelled. Alarms of one moment are called in order."""

    at: float
    order: int
    call: Callable[[], object] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Do not call; from any thread. Does nothing once the call has begun."""
        # Without the lock: the timer reads it just before it calls.
        self.cancelled = True


class Timer:
    """One thread for every alarm; miros would start a sleeping thread for each."""

    def __init__(self, name: str) -> None:
        # Guards `_alarms` and `_most_alarms`; notified when an alarm becomes the next one.
        self._changed = threading.Condition()
        self._alarms: list[Alarm] = []
        self._most_alarms = _MANY_ALARMS
        # Orders alarms of one moment. Used without the lock: its `next` is one step under the GIL.
        self._count = itertools.count()
        # Started by the first alarm, and not at all where there is none.
        self._thread = OwnedThread(name, self._run, self._wake)

    def after(self, seconds: float, call: Callable[[], object]) -> Alarm:
        """Call, on the timer's thread, in so many seconds; the call must return at once."""
        alarm = Alarm(time.monotonic() + seconds, next(self._count), call)
        with self._changed:
            # `stop` sets it without the lock, and then takes the lock to clear the alarms: one that
            # slips in between is cleared with them.
            if not self._thread.stopping.is_set():
                self._tidy()
                heapq.heappush(self._alarms, alarm)
                self._thread.start()
                # Else it wakes early enough, for the one that was next before.
                if self._alarms[0] is alarm:
                    self._changed.notify()
        return alarm

    def stop(self) -> list[OwnedThread]:
        """Forget every alarm, and return the thread to join; does not wait for it."""
        # `DiscoveryThreads.stop` joins it, within one limit for all threads.
        self._thread.stop(timeout_s=0)
        return [self._thread]

    def _tidy(self) -> None:
        """Drop cancelled alarms, of which a chart leaves many: it puts off what is due in days."""
        if len(self._alarms) >= self._most_alarms:
            self._alarms = [alarm for alarm in self._alarms if not alarm.cancelled]
            heapq.heapify(self._alarms)
            self._most_alarms = 2 * len(self._alarms) + _MANY_ALARMS

    def _wake(self) -> None:
        with self._changed:
            self._alarms.clear()
            self._changed.notify()

    def _run(self) -> None:
        while alarm := self._due():
            if not alarm.cancelled:
                # Without the lock: the call posts to a chart, which may set an alarm meanwhile.
                _safely(alarm.call)

    def _due(self) -> Alarm | None:
        """Wait for the next alarm; None at the end."""
        with self._changed:
            while not self._thread.stopping.is_set():
                pause = self._alarms[0].at - time.monotonic() if self._alarms else None
                if pause is not None and pause <= 0:
                    return heapq.heappop(self._alarms)
                # Ends early for a nearer alarm, or at the end. A moment of `monotonic`: a clock
                # that is set does not matter.
                self._changed.wait(pause)
            return None


class DiscoveryThreads:
    """Every thread of one node's discovery; `stop` joins them."""

    def __init__(self, node: str) -> None:
        self.prefix = f"mesh-{node}-discovery"
        self.network = ThreadPool(f"{self.prefix}-network", NETWORK_THREADS)
        self.local = ThreadPool(f"{self.prefix}-local", LOCAL_THREADS)
        self.timer = Timer(f"{self.prefix}-timer")
        self.lookups = Lookups(f"{self.prefix}-lookup")
        # Guards `_charts`: charts make further charts on their own threads.
        self._enlisting = threading.Lock()
        # `stop` reads it without: by then the charts have been stopped, and make no further ones.
        self._charts: list[threading.Thread] = []

    def enlist(self, chart: threading.Thread) -> None:
        """Join this thread of a chart too."""
        with self._enlisting:
            # Without those that have ended: the search of a network makes hundreds of scouts.
            self._charts = [thread for thread in self._charts if thread.is_alive()]
            self._charts.append(chart)

    def aside(self, work: Callable[[], T], done: Callable[[T | Exception], object]) -> None:
        """Run what cannot be ended in a thread of its own, for which `stop` does not wait."""
        # No `OwnedThread`: it waits in the kernel, where no flag and no call ends it.
        run = threading.Thread(
            target=lambda: _safely(done, _outcome(work)), name=f"{self.prefix}-aside", daemon=True
        )
        run.start()

    def after(self, seconds: float, work: Callable[[], None]) -> None:
        """Run what may wait in so many seconds, as `aside` does; not once `stop` was called."""
        self.timer.after(seconds, lambda: self.aside(work, _no_result))

    def stop(self, timeout_s: float = 5.0) -> None:
        """End every thread, and log each one that still runs after `timeout_s`.

        Those of `lookups` and `aside` are not waited for: they end by themselves.
        """
        # First: threads of the pool wait for look-ups, and could not be joined.
        self.lookups.stop()
        until = time.monotonic() + timeout_s
        # All are asked to end before the first is waited for, so they end side by side.
        owned = [*self.timer.stop(), *self.local.stop(), *self.network.stop()]
        for thread in owned:
            thread.join(until - time.monotonic())
        charts = [each for each in self._charts if each is not threading.current_thread()]
        for chart in charts:
            chart.join(max(until - time.monotonic(), 0))
        late = [each.name for each in owned if each.alive and not each.is_current]
        late += [each.name for each in charts if each.is_alive()]
        for name in late:
            logger.error("thread %s still runs after %g s", name, timeout_s)


def _no_result(_: object) -> None:
    """Take the end of what has no result."""


def between(shortest_s: float, longest_s: float) -> float:
    """Return a random pause, so that many nodes do not act at the same moment."""
    return random.uniform(shortest_s, longest_s)  # noqa: S311 - it guards nothing


def about(seconds: float) -> float:
    """Return a pause of so many seconds, up to a tenth more or less."""
    return seconds * between(0.9, 1.1)
