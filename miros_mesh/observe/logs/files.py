"""Where log lines go: a stream, a file that others rotate, or one that rotates itself.

Unlike those of `logging` they raise what goes wrong, so that the thread that writes can count it,
and a full disk leaves no torn line.
"""

from __future__ import annotations

import io
import logging
import logging.handlers
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast


class WholeLines(io.TextIOBase):
    """The end of a file. A line of which the disk took a part is finished before the next one.

    Without a buffer: on a full disk that of `open` would keep lines that are counted as lost.
    """

    def __init__(self, path: str) -> None:
        # O_APPEND: each write goes to the end, also when another process writes into the same file.
        self._file = io.FileIO(path, "a")
        # What is still to be written of the last line.
        self._rest = b""

    def write(self, text: str, /) -> int:
        """Write the text. Raises the `OSError` because of which nothing of it was written."""
        self._finish()
        # Half of a surrogate pair would raise here, and cost the line.
        data = self._rest = text.encode("utf-8", "backslashreplace")
        try:
            self._finish()
        except OSError:
            # When the disk took a part, the text counts as written: the rest goes first next time.
            if self._rest is data:
                self._rest = b""
                raise
        return len(text)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        # The last chance for the rest of a line; where the disk is still full, it stays torn.
        with suppress(OSError):
            self._finish()
        self._file.close()
        super().close()

    def _finish(self) -> None:
        while self._rest:
            # write(2) may take a part and then, called again, say why it took no more.
            self._rest = self._rest[self._file.write(self._rest) :]


# Of each class below: used by the writing thread of one `QueuedHandler`. `logging` closes it as
# well, at the end of the program.
class LineStream(logging.StreamHandler[TextIO]):
    """Writes lines to a stream of the application's."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        _raise_again()


class WatchedFile(logging.handlers.WatchedFileHandler):
    """Writes lines to a file that logrotate may move away."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)

    def _open(self) -> io.TextIOWrapper:
        return cast("io.TextIOWrapper", WholeLines(self.baseFilename))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        _raise_again()


class RotatingFile(logging.handlers.RotatingFileHandler):
    """Writes lines to a file that is renamed to `.1`, `.2` and so on before it grows too large."""

    def __init__(self, path: Path | str, *, max_bytes: int, keep: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=keep)

    def _open(self) -> io.TextIOWrapper:
        return cast("io.TextIOWrapper", WholeLines(self.baseFilename))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        _raise_again()


def _raise_again() -> None:
    # `handleError` is called where `emit` has caught it; the base class would print it.
    if error := sys.exception():
        raise error
