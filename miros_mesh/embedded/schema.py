"""The tables of the embedded broker, and whether a file that is there may be used."""

from __future__ import annotations

import sqlite3
from typing import Final

from miros_mesh.errors import EmbeddedStoreError

# Told apart from the databases of other programs by this mark: "miro" in ASCII.
APPLICATION_ID: Final = 0x6D69726F
VERSION: Final = 2

_TABLES: Final = (
    # Raised by whatever changes who gets a message, so that publishers can cache their routes.
    "CREATE TABLE topology (version INTEGER NOT NULL)",
    "INSERT INTO topology VALUES (1)",
    """CREATE TABLE exchanges (
        name TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        traits TEXT NOT NULL
    ) WITHOUT ROWID""",
    """INSERT INTO exchanges VALUES
        ('amq.direct', 'direct', ''), ('amq.topic', 'topic', ''), ('amq.fanout', 'fanout', '')""",
    # owner and consumer are doorbells: whoever answers there is alive. An id is never used twice,
    # or a reader that overslept a deletion would read a stranger's queue.
    """CREATE TABLE queues (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        traits TEXT NOT NULL,
        expires_s REAL,
        max_length INTEGER,
        max_bytes INTEGER,
        ttl_s REAL,
        dead_letters TEXT,
        auto_delete INTEGER NOT NULL,
        owner TEXT,
        consumer TEXT,
        prefetch INTEGER NOT NULL DEFAULT 0,
        used_at REAL NOT NULL,
        length INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE bindings (
        exchange TEXT NOT NULL,
        pattern TEXT NOT NULL,
        queue INTEGER NOT NULL,
        PRIMARY KEY (exchange, pattern, queue)
    ) WITHOUT ROWID""",
    # Writers take turns, so ids are in the order of commits and a reader may remember the last.
    """CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        exchange TEXT NOT NULL,
        routing_key TEXT NOT NULL,
        stored_at REAL NOT NULL,
        properties BLOB NOT NULL,
        body BLOB NOT NULL
    )""",
    """CREATE TABLE entries (
        queue INTEGER NOT NULL,
        message INTEGER NOT NULL,
        redelivered INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (queue, message)
    ) WITHOUT ROWID""",
    "CREATE INDEX entries_of_message ON entries (message)",
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


# One statement sees one moment, even while another process makes the tables.
STATE: Final = """
    SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_master)
    FROM pragma_application_id a, pragma_user_version v"""


def is_new(state: tuple[int, int, int], name: str) -> bool:
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


def make_tables(run: sqlite3.Connection) -> None:
    """Fill a new database."""
    for statement in _TABLES:
        run.execute(statement)
