"""SQLite with manners: short transactions, patience with other processes, errors in our words."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from amqp.exceptions import RecoverableConnectionError

from miros_mesh.errors import DiskFullError, EmbeddedStoreError, StoreUnavailableError
from miros_mesh.forks import disown_in_children, inside_sqlite

PATIENCE_S: Final = 10.0
# Copied back after 16 MB of log: seldom in a burst, soon enough for readers, who search it.
WAL_PAGES: Final = 4_000
# SQLite's own waiting begins at a millisecond and grows; a transaction here takes far less.
_FIRST_PAUSE_S: Final = 0.000_05
_LAST_PAUSE_S: Final = 0.001
_PASSING: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM})
_UNUSABLE: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
)
# So much SQLite needs for its smallest file (`-shm`).
_LEAST_FREE_BYTES: Final = 32 * 1024

Result = TypeVar("Result")

# SQLite forbids a child process to close what its parent opened: such connections stay here.
_inherited: list[sqlite3.Connection] = []


class Database:
    """One SQLite connection. `lock` lets several threads share it."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        name: str,
        lock: contextlib.AbstractContextManager[Any],
        file: Path | None = None,
    ) -> None:
        self.name = name
        self._connection = connection
        self._lock = lock
        self._file = file
        self._place = _place(file)
        self.given_up: Callable[[], bool] = lambda: False
        """Whether a lock of another process is waited for no longer."""
        self._pid = os.getpid()
        disown_in_children(self)

    @property
    def inherited(self) -> bool:
        """Whether a parent process opened it, so that this one must not touch it."""
        return os.getpid() != self._pid

    def read(self, query: str, *parameters: object) -> list[Any]:
        """Return all rows of one query, from one consistent moment."""
        return self.ask(lambda run: run.execute(query, parameters).fetchall())

    def ask(self, question: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return the answer of a function that only reads; it may be called more than once."""
        self._require_own()
        try:
            with inside_sqlite(), self._lock:
                return self._patiently(lambda: question(self._connection))
        except sqlite3.Error as error:
            raise self._told(error) from error

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction, alone among all processes; whatever is raised inside undoes it."""
        self._require_own()
        try:
            with inside_sqlite(), self._lock:
                self._patiently(self._begin)
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise self._told(error) from error

    def copies_log(self, copies: bool) -> None:
        """Say whether a transaction copies back a long log, which waits for the disk."""
        self.read(f"PRAGMA wal_autocheckpoint = {WAL_PAGES if copies else 0}")

    def close(self) -> None:
        """Close the connection, but in a child leave it to the parent; no call may follow."""
        if not self.inherited:
            with inside_sqlite():
                self._connection.close()

    def disown(self) -> None:
        """Keep a child process from closing it, even by forgetting it."""
        _inherited.append(self._connection)

    def require_place(self) -> None:
        """Raise if the file was moved or removed: the others would not see what is written here."""
        if self._place != _place(self._file):
            raise RecoverableConnectionError(f"{self.name} was removed or replaced; connect again")

    def _patiently(self, step: Callable[[], Result]) -> Result:
        pause, deadline = _FIRST_PAUSE_S, 0.0
        while True:
            try:
                return step()
            except sqlite3.OperationalError as error:
                if _primary_code(error) != sqlite3.SQLITE_BUSY:
                    raise
                deadline = deadline or time.monotonic() + PATIENCE_S
                if time.monotonic() > deadline or self.given_up():
                    raise
            # No event can be waited for here: the lock is held by another process.
            time.sleep(pause)  # noqa: TID251
            pause = min(2 * pause, _LAST_PAUSE_S)

    def _begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def _require_own(self) -> None:
        if self.inherited:
            raise RecoverableConnectionError(
                f"{self.name} was opened before this process forked; connect again"
            )

    def _told(self, error: sqlite3.Error) -> Exception:
        told = translated(error, self.name, self._file)
        if isinstance(error, sqlite3.ProgrammingError):
            told = RecoverableConnectionError(f"{self.name} is closed ({error})")
        return told


def _place(file: Path | None) -> tuple[int, int] | None:
    try:
        status = file.stat() if file else None
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status else None


def translated(error: sqlite3.Error, name: str, file: Path | None = None) -> Exception:
    """Passing trouble is worth another try; the rest needs somebody to look."""
    code = _primary_code(error)
    if code == sqlite3.SQLITE_BUSY:
        return StoreUnavailableError(f"{name} stayed locked for {PATIENCE_S:g} s")
    # Of a full disk SQLite also says that a file cannot be read, or opened.
    if code == sqlite3.SQLITE_FULL or (code in _PASSING | _UNUSABLE and _is_full(file)):
        return DiskFullError(name)
    if code in _PASSING:
        return StoreUnavailableError(f"{name} cannot be written now: {error}")
    if code in _UNUSABLE:
        return EmbeddedStoreError(
            f"{name} cannot be used: {error}; look at the folder's permissions, or name another "
            "folder with MIROS_MESH_HOME"
        )
    return EmbeddedStoreError(
        f"{name} is damaged or no database of miros_mesh ({error}); stop the programs that use it, "
        "then remove it together with the files beside it that begin with its name"
    )


def _is_full(file: Path | None) -> bool:
    with contextlib.suppress(OSError):
        facts = os.statvfs(file.parent) if file else None
        return facts is not None and facts.f_bavail * facts.f_frsize < _LEAST_FREE_BYTES
    return False


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
