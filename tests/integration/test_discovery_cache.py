"""One cache file and many processes: no torn read, no lost update."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import cache_writer
from support.waiting import wait_until

PROCESSES, WRITES = 200, 50
MEMORY = "/dev/shm"


def writers(path: Path, writes: int, *names: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, cache_writer.__file__, str(path), str(writes), *names],
        env=environment,
        start_new_session=True,
    )


@pytest.fixture
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be had: ten thousand times a disk is another test."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.mark.proof
def test_no_read_is_torn_and_no_update_lost_among_200_processes(fast_folder: Path) -> None:
    path = fast_folder / "cache.json"
    names = [f"process_{number}" for number in range(PROCESSES)]
    # Each process reads after each of its writes, and ends badly if anything is not as it has to be
    assert writers(path, WRITES, *names).wait() == 0
    everything = json.loads(path.read_text())["processes"]
    assert everything == {name: cache_writer.kept(WRITES) for name in names}
    assert sorted(each.name for each in fast_folder.iterdir()) == ["cache.json", "cache.json.lock"]


def test_a_process_that_is_killed_leaves_a_whole_file_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    for round_ in range(5):
        killed = writers(path, 100_000, f"killed_{round_}")
        wait_until(lambda round_=round_: path.exists() and f"killed_{round_}" in path.read_text())
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        assert f"killed_{round_}" in json.loads(path.read_text())["processes"]
    assert writers(path, 3, "survivor").wait() == 0
    assert set(json.loads(path.read_text())["processes"]) == {
        "survivor",
        *(f"killed_{round_}" for round_ in range(5)),
    }
