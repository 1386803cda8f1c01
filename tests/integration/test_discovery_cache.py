"""One cache file and many processes: no torn read, no lost update."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cache_writer
from waiting import wait_until

FULL = pytest.param(
    200,
    50,
    id="all",
    marks=[
        pytest.mark.skipif(os.environ.get("FULL") != "1", reason="takes minutes; FULL=1 runs it"),
        pytest.mark.timeout(900),
    ],
)


def writer(path: Path, name: str, writes: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, cache_writer.__file__, str(path), name, str(writes)], env=environment
    )


@pytest.mark.parametrize(("processes", "writes"), [pytest.param(8, 25, id="some"), FULL])
def test_no_update_of_any_process_is_lost(tmp_path: Path, processes: int, writes: int) -> None:
    path = tmp_path / "cache.json"
    at_work = [writer(path, f"process_{number}", writes) for number in range(processes)]
    assert [process.wait() for process in at_work] == [0] * processes
    everything = json.loads(path.read_text())["processes"]
    assert everything == {
        f"process_{number}": {f"write_{count}": count for count in range(1, writes + 1)}
        for number in range(processes)
    }
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == [
        "cache.json",
        "cache.json.lock",
    ]


def test_a_process_that_is_killed_leaves_a_whole_file_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    for round_ in range(5):
        killed = writer(path, f"killed_{round_}", 100_000)
        wait_until(lambda round_=round_: path.exists() and f"killed_{round_}" in path.read_text())
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert f"killed_{round_}" in json.loads(path.read_text())["processes"]
    assert writer(path, "survivor", 3).wait() == 0
    assert set(json.loads(path.read_text())["processes"]) == {
        "survivor",
        *(f"killed_{round_}" for round_ in range(5)),
    }
