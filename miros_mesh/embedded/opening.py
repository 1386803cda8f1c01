"""Databases ready for use: made by the first who comes, refused when they are not ours."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from miros_mesh.embedded.database import Database, translated
from miros_mesh.embedded.forks import inside_sqlite
from miros_mesh.embedded.schema import STATE, is_new, make_tables
from miros_mesh.errors import EmbeddedStoreError
from miros_mesh.private_files import make_once, require_private

DATABASE_FILE: Final = "broker.db"
_WAL_PAGES: Final = 4_000
_WAL_KEPT_BYTES: Final = 32 * 1024 * 1024


def open_file(folder: Path) -> Database:
    """The database of a prepared folder; the first process to come makes it."""
    file = folder / DATABASE_FILE
    if not os.path.lexists(file):
        make_once(file, b"")
    require_private(file)
    uri = f"file:{quote(os.fsencode(file))}?mode=rw"
    try:
        connection = _connect(uri)
    except sqlite3.Error as error:
        raise translated(error, str(file)) from error
    database = Database(connection, str(file), contextlib.nullcontext(), file)
    return _prepared(database, _share)


def open_memory() -> Database:
    """A database that lives in this process and may be used by all its threads."""
    database = Database(_connect(":memory:"), "the in-memory broker", threading.RLock())
    return _prepared(database, lambda _: None)


def _connect(uri: str) -> sqlite3.Connection:
    # A pool may hand a connection from one thread to the next, hence no check of the thread.
    with inside_sqlite():
        return sqlite3.connect(
            uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )


def _prepared(database: Database, prepare: Callable[[Database], None]) -> Database:
    try:
        prepare(database)
        with database.write() as run:
            if is_new(run.execute(STATE).fetchone(), database.name):
                make_tables(run)
    except BaseException:
        database.close()
        raise
    return database


def _share(database: Database) -> None:
    """Let no reader wait for the writer, and let a power cut cost the last commits but no file.

    A cut ends every process that used the queues, so what it costs had lost its readers anyway.
    NORMAL flushes only when the log is copied back, where FULL would flush at each publish.
    """
    # Before the first change: the file may be another program's.
    is_new(database.read(STATE)[0], database.name)
    ((mode,),) = database.read("PRAGMA journal_mode = WAL")
    if mode != "wal":
        raise EmbeddedStoreError(
            f"{database.name} is on a file system without shared memory (a network drive?); "
            "name a folder on a local disk with MIROS_MESH_HOME"
        )
    database.read("PRAGMA synchronous = NORMAL")
    database.read(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    database.read(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
