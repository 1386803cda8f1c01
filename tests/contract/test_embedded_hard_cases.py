"""What the embedded broker promises where it is hard: kills, a crowd, strangers, lost rights."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miros_mesh.embedded import schema
from miros_mesh.embedded.transport import dial
from miros_mesh.errors import EmbeddedStoreError
from support.actor import Actor
from support.kombu_peer import Peer

ACTOR = Path(__file__).with_name("embedded_actor.py")
CROWD = Path(__file__).with_name("embedded_crowd.py")
KILLS = 200
PROCESSES, EACH = 50, 10
# Where the tests are not root's, the test of lost rights is of their own user.
NOBODY = 65_534 if os.geteuid() == 0 else os.geteuid()
LIMIT_S = 240.0


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that every user can pass, unlike those that pytest makes."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def crowd(role: str, folder: Path, *arguments: object) -> Any:
    done = subprocess.run(
        [sys.executable, str(CROWD), role, str(folder), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    return json.loads(done.stdout)


def test_two_hundred_kills_amid_writes_lose_nothing_that_was_confirmed(
    tmp_path: Path, record_property: Any
) -> None:
    folder = tmp_path / "broker"
    confirmed: list[list[int]] = crowd("killed", folder, KILLS)
    peer = Peer(dial(folder))
    peer.consume("queue", prefetch=0)
    bodies = peer.settle_down()
    peer.close()

    record_property("confirmed", sum(map(len, confirmed)))
    assert sum(map(bool, confirmed)) >= KILLS // 2
    stored = [list[int]() for _ in range(KILLS)]
    for body in bodies:
        turn, number = map(int, body.split())
        stored[turn].append(number)
    for had, has in zip(confirmed, stored, strict=True):
        assert had == list(range(len(had)))
        # The one that it was about to hear of, and no part of it.
        assert has in (had, [*had, len(had)])
    with sqlite3.connect(folder / schema.DATABASE_FILE) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


def test_fifty_processes_at_once_hear_each_other_whole_once_and_in_order(tmp_path: Path) -> None:
    assert crowd("crowd", tmp_path / "broker", PROCESSES, EACH) == {"wrong": [], "failed": 0}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to become another user: run as root")
@pytest.mark.parametrize("mode", [0o700, 0o777], ids=oct)
def test_another_user_is_refused_and_harms_nothing(open_place: Path, mode: int) -> None:
    folder = open_place / "broker"
    peer = Peer(dial(folder))
    peer.consume("queue")
    peer.publish("before")
    # One that lost its protection while it is in use, too.
    folder.chmod(mode)
    with Actor(ACTOR, "as_user", folder, NOBODY) as stranger:
        stranger.heard()
        for _ in range(3):
            stranger.tell("connect")
            refused = stranger.heard()
            assert refused["error"] == "EmbeddedStoreError"
            assert f"{folder} belongs to another user" in refused["said"]
            assert "MIROS_MESH_HOME" in refused["said"]

    peer.publish("after")
    assert peer.drain(2) == ["before", "after"]
    assert {path.stat().st_uid for path in folder.iterdir()} == {0}
    peer.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to become another user: run as root")
def test_a_folder_of_another_user_is_refused_even_to_root_and_left_alone(open_place: Path) -> None:
    folder = open_place / "broker"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    with Actor(ACTOR, "as_user", folder, NOBODY) as owner:
        owner.heard()
        owner.tell("connect")
        assert owner.heard() == {"came": 1}

        with pytest.raises(EmbeddedStoreError, match="belongs to another user"):
            Peer(dial(folder))

        owner.tell("publish")
        assert owner.heard() == {"came": 2}


def test_a_folder_that_loses_its_rights_stops_no_process_at_work_and_refuses_new_ones(
    open_place: Path,
) -> None:
    folder = open_place / "broker"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, -1)
    with (
        Actor(ACTOR, "as_user", folder, NOBODY) as at_work,
        Actor(ACTOR, "as_user", folder, NOBODY) as late,
    ):
        at_work.heard(), late.heard()
        at_work.tell("connect")
        assert at_work.heard() == {"came": 1}
        folder.chmod(0o500)

        late.tell("connect")
        refused = late.heard()
        at_work.tell("publish")

        assert refused["error"] == "EmbeddedStoreError"
        assert f"run: chmod 700 {folder}" in refused["said"]
        assert at_work.heard() == {"came": 2}
        folder.chmod(0o700)
        at_work.kill()
        # It has the other's queue now, with what was not acknowledged there.
        late.tell("connect")
        assert late.heard()["came"] >= 1
