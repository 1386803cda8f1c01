"""Where log lines go: a stream, a file that others rotate, or one that rotates itself.

Each is for one thread, the writing one of a `QueuedHandler`. Unlike the handlers of `logging` they
raise what goes wrong, so that this thread can count it, a full disk leaves no torn line, and
`logging.shutdown` does not know them: at the end of a program it would wait for one that is stuck.
"""

from __future__ import annotations

import errno
import io
import os
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TextIO


class WholeLines:
    """The end of a file. A line of which the disk took a part is finished before the next one.

    Without a buffer: on a full disk it would keep lines that are counted as lost.
    """

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        # What is still to be written of the last line.
        self._rest = b""

    @property
    def status(self) -> os.stat_result:
        """What the system knows of the open file, wherever its name has gone."""
        return os.fstat(self._file.fileno())

    def write(self, line: bytes) -> None:
        """Write the line. Raises the `OSError` because of which nothing of it was written."""
        self._finish()
        self._rest = line
        try:
            self._finish()
        except OSError:
            # When the disk took a part, the line counts as written: the rest goes first next time.
            if self._rest is line:
                self._rest = b""
                raise

    def close(self) -> None:
        """Close the file, which is the last chance for the rest of a line."""
        # Where the disk is still full, it stays torn.
        with suppress(OSError):
            self._finish()
        self._file.close()

    def _finish(self) -> None:
        while self._rest:
            # write(2) may take a part and then, called again, say why it took no more.
            taken: int | None = self._file.write(self._rest)
            # Of a pipe that the application made one that does not block, and that is full.
            if taken is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            self._rest = self._rest[taken:]


class LineStream:
    """Writes lines to a stream of the application's, which stays open."""

    place = "to a stream"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        file = _file_below(stream)
        self._lines = WholeLines(file) if file else None

    def write(self, line: str) -> None:
        """Write the line behind what the application has printed."""
        if not self._lines:
            self._stream.write(f"{line}\n")
            self._stream.flush()
            return
        # Past the stream's buffer: a write that is stuck would hold its lock, and Python, which
        # flushes standard error at the end of a program, would wait for that.
        self._stream.flush()
        self._lines.write(
            f"{line}\n".encode(self._stream.encoding or "utf-8", self._stream.errors or "strict")
        )

    def close(self) -> None:
        """Leave the stream as it is: each line is out already."""


class _LogFile:
    """A file that lines are added to."""

    def __init__(self, path: Path | str) -> None:
        # Absolute: the application may change its folder.
        self._path = Path(path).absolute()
        # None while it is closed, as after an opening that failed: the next line tries again.
        self._lines: WholeLines | None = None
        self._opened()

    @property
    def place(self) -> str:
        return str(self._path)

    def close(self) -> None:
        """Close the file; a line that comes later opens it again."""
        lines, self._lines = self._lines, None
        if lines:
            lines.close()

    def _opened(self) -> WholeLines:
        if not self._lines:
            # O_APPEND: each write goes to the end, also when another process writes into the file.
            self._lines = WholeLines(io.FileIO(self._path, "a"))
        return self._lines


class WatchedFile(_LogFile):
    """Writes lines to a file that logrotate may move away."""

    def write(self, line: str) -> None:
        """Write the line, into a new file where the old one was moved away or removed."""
        if self._was_moved(self._opened()):
            self.close()
        self._opened().write(_encoded(line))

    def _was_moved(self, lines: WholeLines) -> bool:
        try:
            return not os.path.samestat(self._path.stat(), lines.status)
        except FileNotFoundError:
            return True


class RotatingFile(_LogFile):
    """Writes lines to a file that is renamed to `.1`, `.2` and so on before it grows too large."""

    def __init__(self, path: Path | str, *, max_bytes: int, keep: int) -> None:
        super().__init__(path)
        self._max_bytes = max_bytes
        self._keep = keep

    def write(self, line: str) -> None:
        """Write the line, into a new file where it would make the old one too large."""
        data = _encoded(line)
        # A line that is too large by itself has a file of its own. A pipe or a device has no size.
        size = self._opened().status.st_size
        if size and size + len(data) > self._max_bytes:
            self._rotate()
        self._opened().write(data)

    def _rotate(self) -> None:
        self.close()
        # The oldest first: each takes the name that the one before it has left.
        older = [Path(f"{self._path}.{number}") for number in range(1, self._keep + 1)]
        for name, next_name in reversed([*pairwise([self._path, *older])]):
            with suppress(FileNotFoundError):
                name.replace(next_name)


def _encoded(line: str) -> bytes:
    # Half of a surrogate pair would raise here, and cost the line.
    return f"{line}\n".encode("utf-8", "backslashreplace")


def _file_below(stream: TextIO) -> io.FileIO | None:
    """Return the file of a stream that does no more than to buffer and encode."""
    # Not by its `fileno`, which one that compresses has as well.
    buffer = stream.buffer if isinstance(stream, io.TextIOWrapper) else None
    raw = buffer.raw if isinstance(buffer, io.BufferedWriter) else None
    return raw if isinstance(raw, io.FileIO) else None
