"""What is left after a power cut: on a file system that keeps only what it was told to flush."""

from __future__ import annotations

from pathlib import Path

import amqp
import pytest

from miros_mesh.embedded import schema
from miros_mesh.embedded.transport import dial
from support import fuse_disk
from support.kombu_peer import Peer

PROGRAM = Path(__file__).with_name("power_cut.py")
COUNT = 30


def left_of(tmp_path: Path, *durabilities: str) -> tuple[list[str], list[str]]:
    """What was confirmed before the power cut, and what is in the queue after it."""
    disk, kept, home = tmp_path / "disk", tmp_path / "kept", "made/for/it"
    said = fuse_disk.run_on(
        disk, kept, "fuse", "power-cut", PROGRAM, str(disk / home), str(COUNT), *durabilities
    )
    peer = Peer(dial(tmp_path / "kept.left" / home))
    try:
        peer.size("queue")
    except amqp.NotFound:
        bodies = []
    else:
        peer.consume("queue")
        bodies = peer.settle_down()
    peer.close()
    return said.splitlines(), bodies


def test_what_was_confirmed_with_power_is_there_after_a_power_cut(
    fuse_disks: None, tmp_path: Path
) -> None:
    confirmed, left = left_of(tmp_path, "power")

    assert len(confirmed) == COUNT
    assert left == confirmed


def test_a_power_cut_may_cost_what_the_end_of_a_process_does_not_but_damages_nothing(
    fuse_disks: None, tmp_path: Path
) -> None:
    confirmed, left = left_of(tmp_path, "process")

    assert left == confirmed[: len(left)]
    assert len(left) < len(confirmed), "this file system flushes by itself, so it shows nothing"
    with Peer(dial(tmp_path / "kept/made/for/it")).connection as connection:
        state = connection.default_channel.queue_declare(queue="queue", passive=True)
    assert state.message_count == len(confirmed)


def test_each_process_commits_with_its_own_and_flushes_what_came_before(
    fuse_disks: None, tmp_path: Path
) -> None:
    confirmed, left = left_of(tmp_path, "process", "power", "process")

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
