"""The thread that calls what may be slow: a terminal, or an application's snoop callback."""

from __future__ import annotations

import logging
import queue
import sys
import threading
from collections.abc import Callable

from miros_mesh.networks.snoop import printable, render
from miros_mesh.wire import SnoopRecord

logger = logging.getLogger(__name__)

LINES = 10_000


class Screen:
    """Records wait in a bounded queue; when it is full the new ones go, and the gap is told."""

    def __init__(self, node: str, incarnation: str, *, dropped: Callable[[], None]) -> None:
        self._incarnation = incarnation
        self._dropped = dropped
        self._jobs: queue.Queue[tuple[Callable[[SnoopRecord], None], SnoopRecord] | None]
        self._jobs = queue.Queue(LINES)
        self._missing = 0
        # No set, since an application's callback need not be hashable.
        self._failed: list[Callable[[SnoopRecord], None]] = []
        self._unread = False
        self._thread = threading.Thread(target=self._run, name=f"mesh-{node}-snoop", daemon=True)

    def start(self) -> None:
        """Start the thread; a second call does nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Show what waits, and end."""
        if self._thread.is_alive():
            try:
                self._jobs.put(None, timeout=timeout_s)
            except queue.Full:
                return
            # A callback of the application may stop its chart on this very thread.
            if self._thread is not threading.current_thread():
                self._thread.join(timeout_s)

    def colored(self, record: SnoopRecord) -> None:
        """Print the record, the node's own charts in one colour and all others in another."""
        self._submit(self._print_colored, record)

    def plain(self, record: SnoopRecord) -> None:
        """Print the record without colours."""
        self._submit(self._print_plain, record)

    def calling(self, callback: Callable[[SnoopRecord], None]) -> Callable[[SnoopRecord], None]:
        """A watcher that calls back on this thread."""
        return lambda record: self._submit(callback, record)

    def _submit(self, job: Callable[[SnoopRecord], None], record: SnoopRecord) -> None:
        try:
            self._jobs.put_nowait((job, record))
        except queue.Full:
            self._missing += 1
            self._dropped()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            show, record = job
            if self._missing:
                missing, self._missing = self._missing, 0
                logger.warning("%d snoop records were not shown: the reader is too slow", missing)
            self._show(show, record)

    def _show(self, show: Callable[[SnoopRecord], None], record: SnoopRecord) -> None:
        try:
            show(record)
        except Exception:
            if show not in self._failed:
                self._failed.append(show)
                chart = printable(record.chart)
                logger.exception("showing a record of %s failed; said once", chart)

    def _print_colored(self, record: SnoopRecord) -> None:
        own = record.incarnation == self._incarnation
        self._write(render(record, own=own, color=True))

    def _print_plain(self, record: SnoopRecord) -> None:
        self._write(render(record))

    def _write(self, line: str) -> None:
        try:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            if not self._unread:
                self._unread = True
                logger.warning("nobody reads standard output any more: snoop records are not shown")
