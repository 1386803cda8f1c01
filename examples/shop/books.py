"""The books of a service: a file with a line for each entry, which several processes may write."""

from __future__ import annotations

import os
from pathlib import Path


class Books:
    """Appends lines of words; a line is there, as a whole, when `enter` returns."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def enter(self, *words: str) -> None:
        """Add a line."""
        line = "\t".join(words) + "\n"
        # One write to the end of a file: nothing of another process gets in between.
        target = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(target, line.encode())
        finally:
            os.close(target)

    def entries(self) -> list[list[str]]:
        """Return the words of all lines until now."""
        if not self._file.exists():
            return []
        return [line.split("\t") for line in self._file.read_text().splitlines()]
