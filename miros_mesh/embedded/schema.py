"""The database of the embedded broker: its tables, and how a process comes to use it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import quote

from miros_mesh.embedded.database import Database, translated
from miros_mesh.embedded.file_system import make_lasting, require_fit, type_of
from miros_mesh.errors import EmbeddedStoreError, UnfitFileSystemError
from miros_mesh.forks import inside_sqlite
from miros_mesh.private_files import explained, make_once, require_private

DATABASE_FILE: Final = "broker.db"

Durability: TypeAlias = Literal["process", "power"]
_SYNCHRONOUS: Final[Mapping[Durability, str]] = {"process": "NORMAL", "power": "FULL"}

_WAL_KEPT_BYTES: Final = 32 * 1024 * 1024

# Told apart from the databases of other programs by this mark: "miro" in ASCII.
APPLICATION_ID: Final = 0x6D69726F
VERSION: Final = 4

_TABLES: Final = (
    # version: raised by whatever changes who gets a message, so that publishers can cache routes.
    # turns: raised when a queue is taken from a consumer or given to one, and when a message is
    # there for others again: consumers then look what they have, and may take.
    "CREATE TABLE topology (version INTEGER NOT NULL, turns INTEGER NOT NULL)",
    "INSERT INTO topology VALUES (1, 0)",
    # Those that own or consume a queue, so that the dead are found without reading all queues.
    "CREATE TABLE doorbells (address TEXT PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE exchanges (
        name TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        traits TEXT NOT NULL
    ) WITHOUT ROWID""",
    """INSERT INTO exchanges VALUES
        ('amq.direct', 'direct', ''), ('amq.topic', 'topic', ''), ('amq.fanout', 'fanout', '')""",
    # owner and consumer are addresses of doorbells; consumer is the first in line. shared: several
    # consume at once. used_at is of time.monotonic. An id is never used twice, or a reader that
    # overslept a deletion would read another queue.
    """CREATE TABLE queues (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        traits TEXT NOT NULL,
        expires_s REAL,
        max_length INTEGER,
        max_bytes INTEGER,
        ttl_s REAL,
        dead_letters TEXT,
        dead_letter_key TEXT,
        shared INTEGER NOT NULL,
        auto_delete INTEGER NOT NULL,
        owner TEXT,
        consumer TEXT,
        used_at REAL NOT NULL,
        length INTEGER NOT NULL DEFAULT 0
    )""",
    # For the upkeep, which must not read queues that need none.
    "CREATE INDEX queues_of_owner ON queues (owner) WHERE owner IS NOT NULL",
    """CREATE INDEX queues_that_expire ON queues (used_at + expires_s)
        WHERE consumer IS NULL AND expires_s IS NOT NULL""",
    """CREATE INDEX queues_not_in_use ON queues (used_at)
        WHERE consumer IS NULL AND expires_s IS NOT NULL""",
    "CREATE INDEX queues_of_mayflies ON queues (ttl_s) WHERE ttl_s IS NOT NULL",
    # In line by their ids. alone: it shares with no other, though its queue is shared. cancelled:
    # it is in line no more, and holds what it has claimed.
    """CREATE TABLE consumers (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue INTEGER NOT NULL,
        doorbell TEXT NOT NULL,
        prefetch INTEGER NOT NULL,
        alone INTEGER NOT NULL,
        cancelled INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX consumers_of_queue ON consumers (queue)",
    "CREATE INDEX consumers_of_doorbell ON consumers (doorbell)",
    """CREATE TABLE bindings (
        exchange TEXT NOT NULL,
        pattern TEXT NOT NULL,
        queue INTEGER NOT NULL,
        PRIMARY KEY (exchange, pattern, queue)
    ) WITHOUT ROWID""",
    "CREATE INDEX bindings_of_queue ON bindings (queue)",
    # Writers take turns, so ids are in the order of commits and a reader may remember the last.
    """CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        exchange TEXT NOT NULL,
        routing_key TEXT NOT NULL,
        stored_at REAL NOT NULL,
        properties BLOB NOT NULL,
        body BLOB NOT NULL
    )""",
    # returns: how often it was given back. holder: which consumer of a shared queue has claimed it.
    """CREATE TABLE entries (
        queue INTEGER NOT NULL,
        message INTEGER NOT NULL,
        returns INTEGER NOT NULL DEFAULT 0,
        holder INTEGER,
        PRIMARY KEY (queue, message)
    ) WITHOUT ROWID""",
    "CREATE INDEX entries_of_message ON entries (message)",
    "CREATE INDEX entries_of_holder ON entries (holder) WHERE holder IS NOT NULL",
    """CREATE TRIGGER entry_added AFTER INSERT ON entries BEGIN
        UPDATE queues SET length = length + 1 WHERE id = NEW.queue;
        DELETE FROM entries
        WHERE queue = NEW.queue
            AND message = (SELECT min(message) FROM entries WHERE queue = NEW.queue)
            AND (SELECT length > max_length FROM queues WHERE id = NEW.queue);
    END""",
    """CREATE TRIGGER entry_removed AFTER DELETE ON entries BEGIN
        UPDATE queues SET length = length - 1 WHERE id = OLD.queue;
        DELETE FROM messages
        WHERE id = OLD.message
            AND NOT EXISTS (SELECT 1 FROM entries WHERE message = OLD.message);
    END""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)


def open_file(
    folder: Path,
    durability: Durability = "process",
    given_up: Callable[[], bool] = lambda: False,
) -> Database:
    """The database of a prepared folder; the first process to come makes it.

    Waits for the locks of other processes until it is `given_up`, ten seconds at most. Raises
    `UnfitFileSystemError` for a folder that processes cannot share.
    """
    require_fit(folder)
    file = folder / DATABASE_FILE
    if not os.path.lexists(file):
        make_once(file, b"")
    require_private(file)
    uri = f"file:{quote(os.fsencode(file))}?mode=rw"
    if durability == "power":
        # SQLite itself flushes the folder for its log, and nothing that leads there.
        with explained(folder, "be written"):
            make_lasting(folder)
    try:
        connection = _connect(uri)
    except sqlite3.Error as error:
        raise translated(error, str(file), file) from error
    database = Database(connection, str(file), contextlib.nullcontext(), file)
    database.given_up = given_up
    return _prepared(database, lambda made: _share(made, durability))


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
            if _is_new(run.execute(_STATE).fetchone(), database.name):
                _make_tables(run)
    except BaseException:
        database.close()
        raise
    return database


def _share(database: Database, durability: Durability) -> None:
    """Let no reader wait for the writer, and let a power cut cost the last commits but no file.

    NORMAL flushes only when the log is copied back. FULL flushes the log at each commit, with all
    that other processes have written to it before: then a power cut costs none of ours.
    """
    # Before the first change: the file may be another program's.
    _is_new(database.read(_STATE)[0], database.name)
    ((mode,),) = database.read("PRAGMA journal_mode = WAL")
    if mode != "wal":
        folder = Path(database.name).parent
        raise UnfitFileSystemError(folder, type_of(folder), "SQLite can share no memory there")
    database.read(f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}")
    database.copies_log(True)
    database.read(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
    # Some builds of SQLite write zeros over each page of what is removed: as much as to store it.
    # What was a large body is sealed, and the page is used again soon.
    database.read("PRAGMA secure_delete = FAST")


# One statement sees one moment, even while another process makes the tables.
_STATE: Final = """
    SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_master)
    FROM pragma_application_id a, pragma_user_version v"""


def _is_new(state: tuple[int, int, int], name: str) -> bool:
    """Whether a database has yet to get its tables; refuses a foreign one and another version."""
    mark, version, tables = state
    if mark == version == tables == 0:
        return True
    if mark != APPLICATION_ID:
        raise EmbeddedStoreError(f"{name} is the database of another program; name another folder")
    if version != VERSION:
        raise EmbeddedStoreError(
            f"{name} has version {version} and this miros_mesh reads version {VERSION}; use "
            "the same miros_mesh in every process, or name another folder with MIROS_MESH_HOME, or "
            "stop them all and remove the file"
        )
    return False


def _make_tables(run: sqlite3.Connection) -> None:
    """Fill a new database."""
    for statement in _TABLES:
        run.execute(statement)
