"""A process that forks at work: what it opened stays its own, and goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from miros_mesh.private_files import prepare_home
from support.actor import Actor

FORKS = 100
SCRIPT = Path(__file__).with_name("forking.py")


@pytest.fixture(params=["embedded", "rabbitmq"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    """A folder or a URL."""
    embedded = request.param == "embedded"
    return tmp_path / "mesh" if embedded else request.getfixturevalue("vhost_url")


@pytest.mark.parametrize("how", ["exits", "stops", "multiprocessing"])
def test_a_fork_costs_the_parent_nothing(where: object, how: str) -> None:
    with Actor(SCRIPT, where, how) as process:
        heard = process.heard()

    assert heard == {
        "status": 0,
        "last": "after 99",
        "copies": 0,
        "ups": 1,
        "downs": [],
        "subscriptions": 1,
        "left": 0,
    }


def test_a_child_that_lives_on_keeps_nothing_of_a_killed_parent_alive(where: object) -> None:
    """The heir takes the same name, which is free once the broker knows that the parent is dead."""
    with Actor(SCRIPT, where, "outlived") as parent:
        parent.heard()
        parent.kill()

        with Actor(SCRIPT, where, "exits") as heir:
            assert heir.heard()["subscriptions"] == 1


def test_a_process_that_forks_while_its_threads_are_at_work_leaves_every_child_fit(
    tmp_path: Path,
) -> None:
    home = prepare_home(tmp_path / "often")
    program = Path(__file__).with_name("forking_often.py")
    done = subprocess.run(
        [sys.executable, program, home, str(FORKS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert int(done.stdout) == FORKS


def test_a_fork_waits_for_the_first_thread_that_is_inside_of_sqlite() -> None:
    """What it waits with is there before a broker was opened."""
    program = Path(__file__).with_name("forking_first.py")
    subprocess.run([sys.executable, program], timeout=60, check=True)
