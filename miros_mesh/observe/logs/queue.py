"""A log whose lines are written by a thread of its own, so that those that log never wait."""

from __future__ import annotations

import logging
import os
import queue
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, TextIO

from miros_mesh.observe.logs.redaction import redact, text_of
from miros_mesh.timing.threads import OwnedThread

# About a second of what the thread can write; some MB.
LINES: Final = 10_000
LIMIT_S: Final = 3.0
"""How long the end of a program waits for a log that is stuck."""
THREAD_NAME: Final = "mesh-log"

Say = Callable[[str], None]


class Sink(Protocol):
    """Takes finished lines, from one thread at a time.

    It is no handler of `logging`: that would flush and close it at the end of a program, and wait
    for ever for one that is stuck.
    """

    @property
    def place(self) -> str:
        """Where it writes, as words that follow "the log"."""

    def write(self, line: str) -> None:
        """Write the line; raise what prevents it."""

    def close(self) -> None:
        """Let go of what it holds open."""


class QueuedHandler(logging.Handler):
    """Formats a record on the thread that logs it; a thread of its own writes the line.

    Lines wait in a bounded queue; while it is full, new ones are dropped. What is lost so, or to a
    full disk, is counted, and said in the log as soon as that takes lines again. That it cannot be
    written is said on standard error, once.
    """

    # It has no lock of its own: `logging` calls `emit` under the handler's, and the queue has its
    # own. `_dropped` changes under the first alone; `_failed`, `_reported` and `_broken` on the
    # writing thread alone.

    def __init__(self, sink: Sink, *, capacity: int = LINES, say: Say | None = None):
        super().__init__()
        self._sink = sink
        self._capacity = capacity
        self._say = say or _to_stderr
        # Whether `close` was called; a second call does nothing.
        self._ended = False
        self._begin()

    @property
    def dropped(self) -> int:
        """How many records were dropped because the queue was full."""
        return self._dropped

    @property
    def failed(self) -> int:
        """How many records could not be written."""
        return self._failed

    def emit(self, record: logging.LogRecord) -> None:
        if self._process != os.getpid():
            # A forked child has no such thread, and what waits is for the parent to write.
            self._begin()
        try:
            # On this thread: the arguments may change as soon as the caller goes on, and an
            # exception or a context variable is known here alone.
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - arguments that do not fit cost no line
            line = self.format(_unformatted(record, error))
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            # Not said here: it could only be logged, and the log is what is full. `_report_lost`
            # says it later.
            self._dropped += 1

    def flush(self) -> None:
        """Wait until everything is written, for `LIMIT_S` at most."""
        # In a child the queue counts the parent's lines, which no thread of the child will write.
        if self._process != os.getpid():
            return
        lines = self._lines
        with lines.all_tasks_done:
            # `Queue.join`, but with a limit, which that has not.
            done = lines.all_tasks_done.wait_for(lambda: not lines.unfinished_tasks, LIMIT_S)
        # By whichever thread flushes; `close` reads it, at the end of a program on the same thread.
        self._stuck = not done

    def close(self) -> None:
        """Write what waits and end, within `LIMIT_S`; say on standard error what is left over."""
        if not self._ended and self._process == os.getpid():
            self._ended = True
            # At the end of a program `logging` calls `flush` first, which has waited already.
            limit_s = 0.0 if self._stuck else LIMIT_S
            end = time.monotonic() + limit_s
            # Full until the end of the limit: the thread is stuck, and is not told to end.
            with suppress(queue.Full):
                self._lines.put(None, timeout=limit_s)
            if self._thread.join(end - time.monotonic()):
                # Only when the thread has ended: it may be inside the sink.
                self._sink.close()
            else:
                self._say(f"{self._place} is stuck: {self._lines.qsize()} records were not written")
        super().close()

    @property
    def _place(self) -> str:
        return f"the log {self._sink.place}"

    def _begin(self) -> None:
        # Whose thread and queue these are. A fork leaves both to the parent.
        self._process = os.getpid()
        self._lines: queue.Queue[str | None] = queue.Queue(self._capacity)
        self._dropped = self._failed = self._reported = 0
        self._broken = self._stuck = False
        self._thread = OwnedThread(THREAD_NAME, self._run)
        self._thread.start()

    def _run(self) -> None:
        lines = self._lines
        # The end of the lines is a None among them, so that all before it are written.
        while (line := lines.get()) is not None:
            self._write(line)
            lines.task_done()
        lines.task_done()

    def _write(self, line: str) -> None:
        try:
            self._sink.write(line)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a log ends no program
            # The line is not tried again: those behind it would wait for the disk.
            self._failed += 1
            if not self._broken:
                self._broken = True
                self._say(f"{self._place} cannot be written: {redact(str(error))}; said once")
        else:
            self._broken = False
            self._report_lost()

    def _report_lost(self) -> None:
        # `_dropped` may grow meanwhile; what is not counted now is said with the next line.
        lost = self._dropped + self._failed
        if lost > self._reported:
            with suppress(Exception):
                self._sink.write(self.format(_complaint(lost - self._reported)))
                # Behind `write`: where that raises, the loss is said another time.
                self._reported = lost


def _record(level: int, text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord(__name__, level, __file__, 0, text, arguments, None)


def _complaint(missing: int) -> logging.LogRecord:
    text = "%d log records are missing here: the log was full, or slower than what was logged"
    return _record(logging.WARNING, text, missing)


def _unformatted(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    text = "%s (its arguments do not fit: %s)"
    said = _record(record.levelno, text, text_of(record.msg), text_of(error))
    # The logger that a reader of the log looks for.
    said.name = record.name
    return said


def _to_stderr(text: str) -> None:
    # Standard error may be a broken pipe, closed, or None (a service without a console).
    with suppress(OSError, ValueError, AttributeError):
        if _takes_text(sys.stderr):
            sys.stderr.write(f"miros_mesh: {text}\n")


def _takes_text(stream: TextIO) -> bool:
    """Tell whether a short text is taken at once; a full pipe would keep the writer waiting."""
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError):
        # It has no file descriptor, as a stream in memory, or one that `select` cannot ask.
        return True
