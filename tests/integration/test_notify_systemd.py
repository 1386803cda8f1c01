"""Programs with charts and clients tell a socket how they are, as systemd would hear it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from miros_mesh.health import NO_NODE
from support.actor import Actor
from support.charts_at_work import KEY
from support.notices import Notices
from support.waiting import wait_until

PROGRAM = Path(__file__).parent / "programs" / "notifying.py"
LIMIT_S = 30.0
WATCHDOG_S = 0.4
Run = Callable[..., Actor]


@pytest.fixture
def systemd() -> Iterator[Notices]:
    with Notices() as notices:
        yield notices


@pytest.fixture
def run(systemd: Notices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Start a program, which says first that it has no node."""
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    monkeypatch.setenv("WATCHDOG_USEC", f"{WATCHDOG_S * 1e6:.0f}")
    with ExitStack() as stack:
        complaints = stack.enter_context((tmp_path / "complaints").open("wb"))

        def start(kind: str) -> Actor:
            program = stack.enter_context(Actor(PROGRAM, kind, complaints=complaints))
            systemd.wait_for(f"STATUS={NO_NODE}", LIMIT_S)
            return program

        yield start


def ready(systemd: Notices, program: Actor) -> None:
    """Have a program join the mesh."""
    assert "READY=1" not in systemd.read()
    program.tell()
    systemd.wait_for("READY=1", LIMIT_S)
    systemd.wait_for("STATUS=ready", LIMIT_S)


@pytest.mark.parametrize("kind", ["chart", "client", "async"])
def test_it_is_ready_once_it_is_on_the_mesh_and_ends_in_good_order(
    kind: str, run: Run, systemd: Notices
) -> None:
    program = run(kind)
    # A process without a node lives: it begins.
    systemd.wait_for("WATCHDOG=1")
    ready(systemd, program)
    systemd.wait_for("WATCHDOG=1")

    program.signal(signal.SIGTERM)

    systemd.wait_for("STOPPING=1")
    assert program.wait(LIMIT_S) == 0
    assert set(systemd.read()) <= {"STATUS=stopping", "WATCHDOG=1"}


def test_a_program_may_be_ready_later_than_its_first_chart(run: Run, systemd: Notices) -> None:
    program = run("late")
    program.tell()
    systemd.wait_for("STATUS=starting", LIMIT_S)
    assert systemd.silent_about("READY", 2 * WATCHDOG_S)
    program.tell("start")
    systemd.wait_for("READY=1", LIMIT_S)


def test_a_dead_chart_ends_the_signs_of_life(run: Run, systemd: Notices, tmp_path: Path) -> None:
    program = run("chart")
    ready(systemd, program)
    program.tell("die")
    systemd.wait_for("STATUS=chart door of node ")
    assert systemd.silent_about("WATCHDOG", 2 * WATCHDOG_S)
    assert "ends this program in 0.4 s: chart door of" in (tmp_path / "complaints").read_text()
    # Until somebody takes note and stops it
    program.tell("leave")
    systemd.wait_for(f"STATUS={NO_NODE}")
    systemd.wait_for("WATCHDOG=1")


def test_a_dead_thread_of_a_connection_ends_them_too(run: Run, systemd: Notices) -> None:
    program = run("chart")
    ready(systemd, program)
    program.tell("end_worker")
    systemd.wait_for("STATUS=thread mesh-")
    assert systemd.silent_about("WATCHDOG", 2 * WATCHDOG_S)


def test_a_forked_child_says_nothing(run: Run, systemd: Notices) -> None:
    program = run("chart")
    ready(systemd, program)
    program.tell("fork")
    assert systemd.silent_about("STOPPING", 2 * WATCHDOG_S)
    program.tell("leave")
    systemd.wait_for(f"STATUS={NO_NODE}")


@pytest.mark.proof
def test_a_broker_that_is_away_is_told_in_words_and_is_no_death(
    run: Run, systemd: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIROS_MESH_BROKER_URL", "amqp://peter:hunter2@127.0.0.1:1//")
    monkeypatch.setenv("MIROS_MESH_ENCRYPTION_KEY", KEY.decode())
    monkeypatch.setenv("MIROS_MESH_CONNECTION_ATTEMPTS", "1000")
    program = run("chart")
    program.tell()
    wait_until(lambda: "//: unreachable, since 2" in "".join(systemd.read()), LIMIT_S)
    assert "hunter2" not in "".join(systemd.told)
    systemd.wait_for("WATCHDOG=1")
    assert systemd.silent_about("READY", 2 * WATCHDOG_S)
    program.signal(signal.SIGTERM)
    assert program.wait(LIMIT_S) == 0


def test_sighup_is_a_reload_and_a_file_of_no_keys_is_told(
    run: Run, systemd: Notices, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vhost_url: str
) -> None:
    file = tmp_path / "keys"
    file.touch(0o600)
    file.write_bytes(KEY)
    monkeypatch.setenv("MIROS_MESH_BROKER_URL", vhost_url)
    monkeypatch.setenv("MIROS_MESH_ENCRYPTION_KEY_FILE", str(file))
    monkeypatch.setenv("MIROS_MESH_HEARTBEAT_INTERVAL_S", "600")
    program = run("chart")
    ready(systemd, program)
    file.write_text("")
    for words in ("STATUS=the keys of mesh stay as they are: ", "STATUS=ready"):
        program.signal(signal.SIGHUP)
        systemd.wait_for("RELOADING=1")
        systemd.wait_for("MONOTONIC_USEC=")
        systemd.wait_for("READY=1")
        systemd.wait_for(words)
        file.write_bytes(KEY)
