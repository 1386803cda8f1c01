"""A disk that cannot be written: what is wrong is said by its name, with what helps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miros_mesh import MeshConfig
from support import fuse_disk, small_disk
from support.charts_at_work import Heard, Launch
from support.waiting import wait_until

CUT_OFF = Path(__file__).parent / "programs" / "cut_off.py"
TROUBLED = Path(__file__).parent / "programs" / "troubled.py"
STARTING = Path(__file__).parent / "programs" / "starting.py"
COUNT = 50
# All that is left; `dd` ends with an error when the disk is full.
FILL = "dd if=/dev/zero of=filling bs=1k 2>/dev/null || true"


@pytest.fixture(autouse=True)
def home(small_disks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setenv("MIROS_MESH_HOME", str(folder))
    return folder


def test_a_full_disk_is_named_and_room_on_it_is_enough(home: Path) -> None:
    said = small_disk.run_on_disk(home, "1m", FILL, STARTING, f"rm {home}/filling")

    first, then = said.splitlines()
    assert first.startswith("DiskFullError: ")
    assert "its disk is full" in first
    assert "make room there" in first
    assert "port" not in first
    assert then == "started"


def test_a_disk_that_is_full_when_a_program_starts_again_is_named(home: Path) -> None:
    fill, make_room = f"cd {home}; {FILL}", f"rm {home}/filling"

    said = small_disk.run_on_disk(home, "1m", ":", STARTING, fill, make_room)

    before, when_full, then = said.splitlines()
    assert "its disk is full" in when_full
    assert "port" not in when_full
    assert (before, then) == ("started", "started")


@pytest.mark.parametrize("below", ["", "/new"], ids=["the folder", "a folder to be made"])
def test_a_disk_that_is_read_only_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    monkeypatch.setenv("MIROS_MESH_HOME", f"{home}{below}")

    said = small_disk.run_on_disk(home, "1m", 'mount -o remount,ro "$2"', STARTING)

    assert said.startswith("EmbeddedStoreError: ")
    assert "read-only; mount it writable" in said
    assert "chmod" not in said


@pytest.mark.parametrize(
    ("kind", "faults", "why"),
    [
        ("fuse.sshfs", "none", "other machines can use it too"),
        ("fuse", "no-locks", "it has no locks (No locks available)"),
        ("fuse", "no-map", "it has no memory to share between processes"),
    ],
)
def test_a_disk_that_processes_cannot_share_is_refused_by_name(
    fuse_disks: None, home: Path, tmp_path: Path, kind: str, faults: str, why: str
) -> None:
    said = fuse_disk.run_on(home, tmp_path / "kept", kind, faults, STARTING)

    assert said.startswith(f"UnfitFileSystemError: {home} is on a file system ({kind}) ")
    assert why in said
    assert "home=" in said
    assert not list((tmp_path / "kept").glob("broker*"))


def test_a_disk_in_user_space_with_locks_and_shared_memory_is_taken(
    fuse_disks: None, home: Path, tmp_path: Path
) -> None:
    assert fuse_disk.run_on(home, tmp_path / "kept", "fuse", "none", STARTING) == "started\n"


def test_a_disk_that_fills_up_and_has_room_again_costs_nothing(home: Path) -> None:
    said = small_disk.run_on_disk(
        home, "4m", ":", TROUBLED, f"cd {home}; {FILL}", f"rm {home}/filling"
    )

    assert_told_and_whole(said, "disk_full")


def test_a_disk_that_turns_read_only_and_back_costs_nothing(
    fuse_disks: None, home: Path, tmp_path: Path
) -> None:
    kept, frozen = tmp_path / "kept", tmp_path / "kept.frozen"

    said = fuse_disk.run_on(home, kept, "fuse", "none", TROUBLED, f"touch {frozen}", f"rm {frozen}")

    assert_told_and_whole(said, "store_unavailable")


def test_what_a_node_had_confirmed_with_power_outlives_a_power_cut(
    fuse_disks: None,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    launch: Launch,
) -> None:
    monkeypatch.setenv("MIROS_MESH_DURABILITY", "power")
    fuse_disk.run_on(home, tmp_path / "kept", "fuse", "power-cut", CUT_OFF, str(COUNT))
    # All that the disk was told to flush: the events, and the key that opens them.
    monkeypatch.setenv("MIROS_MESH_HOME", str(tmp_path / "kept.left"))

    heard = Heard()
    launch("receiver", MeshConfig(node_name="right"), heard)

    wait_until(lambda: len(heard) >= COUNT)
    assert heard.payloads == list(range(COUNT))


def assert_told_and_whole(said: str, reason: str) -> None:
    facts = json.loads(said)
    # The other end of the sender is its own `stop`.
    assert facts["told"] == sorted([reason, "stopped"])
    assert facts["confirmed_amid"] < facts["sent"] // 2
    assert facts["whole"], "an event was lost, came twice, or out of order"
    assert facts["all_confirmed"]
