"""What is left after a power cut: on a file system that keeps only what it was told to flush."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from miros_mesh.embedded import schema
from miros_mesh.embedded.transport import dial
from support import fuse_disk
from support.kombu_peer import Peer

PROGRAM = Path(__file__).with_name("power_cut.py")
COUNT = 30
# More than SQLite keeps in its log before it copies it back.
MANY, LARGE_BYTES = 600, 40_000
HOME = "made/for/it"


def cut_off(tmp_path: Path, home: str, count: int, size: int, *durabilities: str) -> list[str]:
    """What a program was confirmed before the power cut."""
    disk = tmp_path / "disk"
    arguments = str(disk / home), str(count), str(size), *durabilities
    said = fuse_disk.run_on(disk, tmp_path / "kept", "fuse", "power-cut", PROGRAM, *arguments)
    return said.splitlines()


def queued(home: Path) -> list[str]:
    """What is in the queue of a home."""
    peer = Peer(dial(home))
    peer.consume("queue", prefetch=0)
    bodies = [body.strip() for body in peer.settle_down()]
    peer.close()
    with closing(sqlite3.connect(home / schema.DATABASE_FILE)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return bodies


def test_what_was_confirmed_with_power_is_there_after_a_power_cut(
    fuse_disks: None, tmp_path: Path
) -> None:
    confirmed = cut_off(tmp_path, HOME, COUNT, 0, "power")

    assert len(confirmed) == COUNT
    assert queued(tmp_path / "kept.left" / HOME) == confirmed


def test_a_power_cut_may_cost_what_the_end_of_a_process_does_not_but_damages_nothing(
    fuse_disks: None, tmp_path: Path
) -> None:
    confirmed = cut_off(tmp_path, "", MANY, LARGE_BYTES, "process")

    left = queued(tmp_path / "kept.left")
    assert 0 < len(left) < len(confirmed)
    assert left == confirmed[: len(left)]
    assert queued(tmp_path / "kept") == confirmed


def test_each_process_commits_with_its_own_and_flushes_what_came_before(
    fuse_disks: None, tmp_path: Path
) -> None:
    confirmed = cut_off(tmp_path, HOME, COUNT, 0, "process", "power", "process")

    left = queued(tmp_path / "kept.left" / HOME)
    assert left == confirmed[: len(left)]
    assert len(left) >= 2 * COUNT


@pytest.mark.parametrize(("durability", "level"), [("process", 1), ("power", 2)])
def test_each_durability_is_a_level_of_sqlite(
    tmp_path: Path, durability: schema.Durability, level: int
) -> None:
    tmp_path.chmod(0o700)
    database = schema.open_file(tmp_path, durability)

    assert database.read("PRAGMA synchronous") == [(level,)]
    database.close()
