"""What brokers refused of this user's processes, kept in one file of the home folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from miros_mesh.errors import EmbeddedStoreError
from miros_mesh.forks import inside_sqlite
from miros_mesh.private_files import explained, make_once, prepare_home, require_private

FILE: Final = "dead_letters.db"
MOST_LETTERS: Final = 1_000
MOST_BYTES: Final = 64 * 1024 * 1024
# Another process has the file for the time of one short transaction.
PATIENCE_S: Final = 5.0

# AUTOINCREMENT: a number that was removed never becomes another letter's.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS letters (
    number INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, sealed BLOB NOT NULL
)"""
# The sizes stand in the records' heads: no letter is read for them.
_TRIM: Final = """
DELETE FROM letters WHERE number IN (
    SELECT number FROM (
        SELECT number,
               ROW_NUMBER() OVER newest AS letters,
               SUM(LENGTH(sealed)) OVER newest AS bytes
        FROM letters WINDOW newest AS (ORDER BY number DESC)
    ) WHERE letters > ? OR bytes > ?
)"""


class LocalLetters:
    """Sealed dead letters, bounded in number and bytes: the oldest go first.

    Shared by all processes of a user. The file is opened for each call and closed again, so that
    any thread and any forked process may call, and nothing has to be ended; each call waits
    `patience_s` for other processes at most. Every method raises `EmbeddedStoreError`, which says
    why the file cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        most_letters: int = MOST_LETTERS,
        most_bytes: int = MOST_BYTES,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.most_bytes = most_bytes
        """What is larger than this cannot be kept."""
        self._folder = folder
        self._most_letters = most_letters
        self._patience_s = patience_s

    def add(self, *sealed: bytes, node: str) -> int:
        """Keep letters of a node, all or none; return how many older ones went for them."""
        folder = prepare_home(self._folder)
        file = folder / FILE
        if not _exists(file):
            # SQLite itself would leave the rights to the umask; its journal gets those of the file.
            make_once(file, b"")
        with self._opened(file) as store:
            store.execute("BEGIN IMMEDIATE")
            store.execute(_SCHEMA)
            store.executemany(
                "INSERT INTO letters (node, sealed) VALUES (?, ?)",
                [(node, each) for each in sealed],
            )
            went = store.execute(_TRIM, (self._most_letters, self.most_bytes)).rowcount
            store.execute("COMMIT")
        return went

    def all(self) -> list[tuple[int, bytes]]:
        """Return every letter with its number, the oldest first."""
        with self._existing() as store:
            if store is None:
                return []
            return store.execute("SELECT number, sealed FROM letters ORDER BY number").fetchall()

    def remove(self, number: int) -> bool:
        """Forget a letter; return whether it was there."""
        with self._existing() as store:
            if store is None:
                return False
            return store.execute("DELETE FROM letters WHERE number = ?", (number,)).rowcount > 0

    @contextmanager
    def _existing(self) -> Iterator[sqlite3.Connection | None]:
        """Open the file, or None before the first letter."""
        file = self._folder.expanduser().absolute() / FILE
        if not _exists(file):
            yield None
            return
        with self._opened(file) as store:
            tables = store.execute("SELECT 1 FROM sqlite_master WHERE name = 'letters'")
            yield store if tables.fetchone() else None

    @contextmanager
    def _opened(self, file: Path) -> Iterator[sqlite3.Connection]:
        require_private(file)
        try:
            # No transaction but those that are begun here. A close undoes what was not committed.
            with inside_sqlite(), closing(self._connected(file)) as store:
                yield store
        except sqlite3.Error as error:
            raise EmbeddedStoreError(
                f"{file} cannot be used: {error}; is there room on the disk, and may this user "
                "write there? If the file is damaged, move it away"
            ) from error

    def _connected(self, file: Path) -> sqlite3.Connection:
        return sqlite3.connect(file, timeout=self._patience_s, isolation_level=None)


def _exists(file: Path) -> bool:
    # `Path.exists` says no, from Python 3.14 on, where it may not look.
    with explained(file, "be examined"):
        try:
            file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True
