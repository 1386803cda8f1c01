"""The threads of one node's discovery: what would block a chart runs here and comes back."""

from __future__ import annotations

import heapq
import itertools
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from miros_mesh.lookups import Lookups

logger = logging.getLogger(__name__)

T = TypeVar("T")

NETWORK_THREADS = 16
# A cache is read in no time, whoever waits for a dead host.
LOCAL_THREADS = 2
_MANY_ALARMS = 64


@dataclass(eq=False)
class Job:
    """Work that was handed to a pool."""

    work: Callable[[], Any]
    done: Callable[[Any], object]
    started_at: float | None = None


class ThreadPool:
    """A bounded number of threads, each started when it is first needed."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._jobs: deque[Job] = deque()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._idle = 0
        self._stopped = False

    def run(self, work: Callable[[], T], done: Callable[[T | Exception], object]) -> Job:
        """Call `done` with what `work` returns or raises; neither once the pool has stopped."""
        job = Job(work, done)
        with self._changed:
            if not self._stopped:
                self._jobs.append(job)
                if self._idle < len(self._jobs) and len(self._threads) < self._size:
                    self._add_thread()
                self._changed.notify()
        return job

    def stop(self) -> list[threading.Thread]:
        """Begin nothing more; the threads that are left to join."""
        with self._changed:
            self._stopped = True
            self._jobs.clear()
            self._changed.notify_all()
            return list(self._threads)

    def _add_thread(self) -> None:
        name = f"{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.append(thread)
        self._idle += 1
        thread.start()

    def _work(self) -> None:
        while job := self._next():
            job.started_at = time.monotonic()
            _safely(job.done, _outcome(job.work))
            with self._changed:
                self._idle += 1

    def _next(self) -> Job | None:
        """Counted as idle from its start until it takes a job, so that no job waits for nothing."""
        with self._changed:
            while not self._jobs and not self._stopped:
                self._changed.wait()
            self._idle -= 1
            return self._jobs.popleft() if self._jobs else None


def _outcome(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - handed to whoever asked for the work
        return error


def _safely(call: Callable[..., object], *arguments: Any) -> None:
    """The thread serves others too, whatever one of them has done wrong."""
    try:
        call(*arguments)
    except Exception:
        logger.exception("a call back to discovery raised")


@dataclass(order=True)
class Alarm:
    """A call at a later moment, unless cancelled."""

    at: float
    order: int
    call: Callable[[], object] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Do not call."""
        self.cancelled = True


class Timer:
    """One thread for every alarm; miros would start a sleeping thread for each."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._alarms: list[Alarm] = []
        self._most_alarms = _MANY_ALARMS
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._count = itertools.count()
        self._stopped = False

    def after(self, seconds: float, call: Callable[[], object]) -> Alarm:
        """Call, on the timer's thread, in so many seconds; the call must return at once."""
        alarm = Alarm(time.monotonic() + seconds, next(self._count), call)
        with self._changed:
            if not self._stopped:
                self._tidy()
                heapq.heappush(self._alarms, alarm)
                self._begin()
                if self._alarms[0] is alarm:
                    self._changed.notify()
        return alarm

    def stop(self) -> list[threading.Thread]:
        """Forget every alarm; the threads that are left to join."""
        with self._changed:
            self._stopped = True
            self._alarms.clear()
            self._changed.notify()
            return [self._thread] if self._thread else []

    def _tidy(self) -> None:
        """Drop what was cancelled: a chart puts off again and again what is due in days."""
        if len(self._alarms) >= self._most_alarms:
            self._alarms = [alarm for alarm in self._alarms if not alarm.cancelled]
            heapq.heapify(self._alarms)
            self._most_alarms = 2 * len(self._alarms) + _MANY_ALARMS

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while alarm := self._due():
            if not alarm.cancelled:
                _safely(alarm.call)

    def _due(self) -> Alarm | None:
        with self._changed:
            while not self._stopped:
                pause = self._alarms[0].at - time.monotonic() if self._alarms else None
                if pause is not None and pause <= 0:
                    return heapq.heappop(self._alarms)
                self._changed.wait(pause)
            return None


class DiscoveryThreads:
    """Everything that runs for one node's discovery beside its charts; `stop` joins it all."""

    def __init__(self, node: str) -> None:
        self.prefix = f"mesh-{node}-discovery"
        self.network = ThreadPool(f"{self.prefix}-network", NETWORK_THREADS)
        self.local = ThreadPool(f"{self.prefix}-local", LOCAL_THREADS)
        self.timer = Timer(f"{self.prefix}-timer")
        self.lookups = Lookups(f"{self.prefix}-lookup")
        self._charts: set[threading.Thread] = set()

    def enlist(self, chart: threading.Thread) -> None:
        """Join this thread of a chart too."""
        self._charts.add(chart)

    def aside(self, work: Callable[[], T], done: Callable[[T | Exception], object]) -> None:
        """Let a thread of its own do what nobody can end; `stop` does not wait for it."""
        run = threading.Thread(
            target=lambda: _safely(done, _outcome(work)), name=f"{self.prefix}-aside", daemon=True
        )
        run.start()

    def discharge(self, chart: threading.Thread) -> None:
        """The thread is at its end."""
        self._charts.discard(chart)

    def stop(self, timeout_s: float = 5.0) -> None:
        """End every thread, and say which one does not within `timeout_s`.

        Those of `lookups` and `aside` end by themselves.
        """
        self.lookups.stop()
        ending = [*self.timer.stop(), *self.local.stop(), *self.network.stop(), *self._charts]
        until = time.monotonic() + timeout_s
        for thread in ending:
            if thread is not threading.current_thread():
                thread.join(max(until - time.monotonic(), 0))
        for thread in ending:
            if thread.is_alive() and thread is not threading.current_thread():
                logger.error("%s still runs after %g s", thread.name, timeout_s)


def between(shortest_s: float, longest_s: float) -> float:
    """A random pause; it guards nothing, so any generator will do."""
    return random.uniform(shortest_s, longest_s)  # noqa: S311


def about(seconds: float) -> float:
    """A pause of so many seconds, up to a tenth more or less."""
    return seconds * between(0.9, 1.1)
