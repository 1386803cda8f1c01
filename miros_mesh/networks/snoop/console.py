"""The thread that calls what may be slow: a terminal, or an application's snoop callback."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence

from miros_mesh.networks.snoop.records import render
from miros_mesh.text import logger_of
from miros_mesh.timing.threads import OwnedThread
from miros_mesh.wire.envelope import SnoopRecord

logger = logger_of(__name__)

# In all jobs together: a reader that stands still must not fill the memory.
LINES = 10_000
Show = Callable[[Sequence[SnoopRecord]], None]


class Console:
    """A bounded queue of records to show; of too many the newest are dropped, and counted."""

    def __init__(self, node: str, incarnation: str, *, dropped: Callable[[int], None]) -> None:
        self._incarnation = incarnation
        self._dropped = dropped
        # Guards the three below, and tells the thread of jobs and of its end. It is free while
        # records are shown.
        self._changed = threading.Condition(threading.Lock())
        self._jobs: deque[tuple[Show, Sequence[SnoopRecord]]] = deque()
        self._lines = 0
        self._missing = 0
        # The next two are the thread's own. No set, since a callback need not be hashable.
        self._failed: list[Callable[[SnoopRecord], None]] = []
        self._unread = False
        self._thread = OwnedThread(f"mesh-{node}-snoop", self._run, self._wake)

    def start(self) -> None:
        """Start the thread; a second call does nothing."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Show what waits, and end the thread; waits for it `timeout_s` at most.

        A callback may call this on the thread itself, and then does not wait.
        """
        self._thread.stop(timeout_s)

    def colored(self, records: Sequence[SnoopRecord]) -> None:
        """Print the records, the node's own charts in one colour and all others in another."""
        self._submit(self._print_colored, records)

    def plain(self, records: Sequence[SnoopRecord]) -> None:
        """Print the records without colours."""
        self._submit(self._print_plain, records)

    def calling(self, callback: Callable[[SnoopRecord], None], wanted: Callable[[], bool]) -> Show:
        """Return a watcher that has the callback called on this thread, with one record a time.

        It is asked before each call whether that is still wanted.
        """

        def call(records: Sequence[SnoopRecord]) -> None:
            for record in records:
                if wanted():
                    self._call(callback, record)

        return lambda records: self._submit(call, records)

    def _submit(self, show: Show, records: Sequence[SnoopRecord]) -> None:
        with self._changed:
            # The newest go, so that what a terminal shows before a gap is whole.
            taken = records[: LINES - self._lines]
            missing = len(records) - len(taken)
            self._missing += missing
            if taken:
                self._lines += len(taken)
                self._jobs.append((show, taken))
                self._changed.notify()
        if missing:
            self._dropped(missing)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        while job := self._next():
            show, records, missing = job
            if missing:
                logger.warning("%d snoop records were not shown: the reader is too slow", missing)
            show(records)

    def _next(self) -> tuple[Show, Sequence[SnoopRecord], int] | None:
        """Wait for a job, and take it with the number of records that were dropped before it."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._thread.stopping.is_set())
            if not self._jobs:
                return None
            show, records = self._jobs.popleft()
            self._lines -= len(records)
            missing, self._missing = self._missing, 0
            return show, records, missing

    def _call(self, callback: Callable[[SnoopRecord], None], record: SnoopRecord) -> None:
        try:
            callback(record)
        except Exception:
            if callback not in self._failed:
                self._failed.append(callback)
                logger.exception(
                    "a snoop callback raised on a record of %s; said once", record.chart
                )

    def _print_colored(self, records: Sequence[SnoopRecord]) -> None:
        own = self._incarnation
        self._write([render(r, own=r.incarnation == own, color=True) for r in records])

    def _print_plain(self, records: Sequence[SnoopRecord]) -> None:
        self._write([render(record) for record in records])

    def _write(self, lines: Sequence[str]) -> None:
        try:
            # Looked up each time, since a program may replace it.
            sys.stdout.write("\n".join((*lines, "")))
            sys.stdout.flush()
        except BrokenPipeError:
            if not self._unread:
                self._unread = True
                logger.warning("standard output is closed: snoop records are not shown any more")
        except Exception:
            if not self._unread:
                self._unread = True
                logger.exception("snoop records cannot be printed; said once")
