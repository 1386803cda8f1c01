"""What systemd is told at a real socket, and that nothing there harms the program."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from miros_mesh.service.notifier import Notifier, State
from support.notices import Notices
from support.waiting import wait_until

READY = State(ready=True, unfit="", wrong="")
WAITING = State(ready=False, unfit="", wrong="waits for its broker")
DEAD = State(ready=True, unfit="chart door is dead", wrong="chart door is dead")
STARTING = State(ready=False, unfit="", wrong="")
LIMIT_S = 5.0
# Longer than the pauses between looks that these tests can have.
A_WHILE_S = 0.6
PID = str(os.getpid())


class Program:
    """A program with a notifier, and how it is."""

    def __init__(self) -> None:
        self.state: State | Exception = WAITING
        self.looks = 0
        self.notifier = Notifier()

    def start(self, address: str, **environ: str) -> None:
        self.notifier.start({"NOTIFY_SOCKET": address, **environ}, self._look)

    def _look(self) -> State:
        self.looks += 1
        if isinstance(self.state, Exception):
            raise self.state
        return self.state


@pytest.fixture
def program() -> Iterator[Program]:
    made = Program()
    yield made
    made.notifier.stop(LIMIT_S)


@pytest.fixture
def systemd() -> Iterator[Notices]:
    with Notices() as notices:
        yield notices


def fill(systemd: Notices) -> None:
    """Send until the socket takes no more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, suppress(BlockingIOError):
        other.setblocking(False)
        while True:
            other.sendto(b"X=1", systemd.address.replace("@", "\0"))


@pytest.mark.parametrize("where", ["folder", "nowhere"])
def test_it_is_told_once_that_the_program_is_ready_and_why_it_was_not(
    program: Program, tmp_path: Path, where: str
) -> None:
    with Notices(tmp_path if where == "folder" else None) as systemd:
        program.start(systemd.address)
        systemd.wait_for("STATUS=waits for its broker")
        program.state = STARTING
        systemd.wait_for("STATUS=starting")
        seen = program.looks
        wait_until(lambda: program.looks > seen + 2)
        assert systemd.read() == []

        program.state = READY
        wait_until(lambda: len(systemd.read()) == 2)
        assert systemd.told == ["READY=1", "STATUS=ready"]

        # What is wrong later is told as words alone: systemd knows no way back.
        program.state = WAITING
        systemd.wait_for("STATUS=waits")
        program.state = READY
        systemd.wait_for("STATUS=ready")
        assert systemd.read() == []


@pytest.mark.parametrize(
    ("environ", "logged"),
    [
        ({}, ""),
        ({"NOTIFY_SOCKET": ""}, ""),
        ({"NOTIFY_SOCKET": "vsock:2:4711"}, "NOTIFY_SOCKET=vsock:2:4711"),
        ({"NOTIFY_SOCKET": "run/notify"}, "NOTIFY_SOCKET=run/notify"),
    ],
)
def test_without_a_socket_it_does_nothing(
    program: Program, environ: dict[str, str], logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    program.notifier.start(environ, program._look)
    with program.notifier.reloading():
        program.notifier.stopping()

    assert program.looks == 0
    assert not program.notifier._thread.alive
    assert bool(caplog.messages) == bool(logged)
    assert logged in caplog.text


def test_a_second_start_changes_nothing(program: Program, systemd: Notices) -> None:
    with Notices() as other:
        program.state = READY
        program.start(systemd.address)
        program.start(other.address)
        systemd.wait_for("READY=1")
        assert other.silent_about("", A_WHILE_S)


def test_words_stay_one_line_that_systemd_takes(program: Program, systemd: Notices) -> None:
    program.state = replace(WAITING, wrong="a\nREADY=1 \ud800" + "€" * 5_000)
    program.start(systemd.address)
    wait_until(systemd.read)
    (line,) = systemd.told
    assert line.startswith("STATUS=a\\nREADY=1 \\ud800€")
    assert line.endswith("€…")
    assert 2_000 < len(line.encode()) < 4_096


@pytest.mark.parametrize("pid", [{}, {"WATCHDOG_PID": PID}, {"WATCHDOG_PID": ""}])
def test_signs_of_life_come_twice_in_the_time_that_systemd_waits(
    program: Program, systemd: Notices, pid: dict[str, str]
) -> None:
    program.state = READY
    began = time.monotonic()
    program.start(systemd.address, WATCHDOG_USEC="400000", **pid)
    for _ in range(5):
        systemd.wait_for("WATCHDOG=1", 0.4 + LIMIT_S)
    # At 0.0, 0.2, 0.4, 0.6 and 0.8 s.
    assert time.monotonic() - began > 0.75


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-1"},
        {"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"},
    ],
)
def test_without_a_watchdog_for_this_process_there_are_none(
    program: Program, systemd: Notices, environ: dict[str, str]
) -> None:
    program.state = READY
    program.start(systemd.address, **environ)
    systemd.wait_for("STATUS=ready")
    assert systemd.silent_about("WATCHDOG", A_WHILE_S)


def test_a_program_that_is_dead_gives_no_sign_of_life_and_says_why(
    program: Program, systemd: Notices, caplog: pytest.LogCaptureFixture
) -> None:
    program.state = READY
    program.start(systemd.address, WATCHDOG_USEC="400000")
    systemd.wait_for("WATCHDOG=1")
    program.state = DEAD
    systemd.wait_for("STATUS=chart door is dead")
    assert systemd.silent_about("WATCHDOG", A_WHILE_S)
    [line] = caplog.messages
    assert line == (
        "systemd gets no more signs of life, and ends this program in 0.4 s: chart door is dead"
    )


def test_a_program_that_waits_for_its_broker_lives(program: Program, systemd: Notices) -> None:
    program.start(systemd.address, WATCHDOG_USEC="200000")
    for _ in range(3):
        systemd.wait_for("WATCHDOG=1")


def test_a_socket_that_is_away_is_told_of_once_and_hears_all_when_it_is_there(
    program: Program, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    program.state = READY
    notices = Notices(tmp_path)
    program.start(notices.address, WATCHDOG_USEC="200000")
    wait_until(lambda: program.looks > 5)
    [line] = caplog.messages
    assert line.startswith("systemd is not told how this program is: [Errno 2]")
    with notices as systemd:
        systemd.wait_for("READY=1")
        systemd.wait_for("STATUS=ready")
        systemd.wait_for("WATCHDOG=1")
    assert len(caplog.messages) == 1


def test_a_systemd_that_reads_nothing_holds_up_neither_the_program_nor_its_end(
    program: Program, systemd: Notices, caplog: pytest.LogCaptureFixture
) -> None:
    fill(systemd)
    program.state = READY
    program.start(systemd.address)
    wait_until(lambda: "not told how" in caplog.text)
    # Then nothing waits
    with program.notifier.reloading():
        pass
    program.notifier.stopping()
    seen = program.looks
    wait_until(lambda: program.looks > seen)


def test_what_was_not_taken_is_told_later(
    program: Program, systemd: Notices, caplog: pytest.LogCaptureFixture
) -> None:
    fill(systemd)
    program.state = READY
    program.start(systemd.address)
    wait_until(lambda: "not told how" in caplog.text)
    systemd.wait_for("READY=1")
    systemd.wait_for("STATUS=ready")


def test_a_look_that_raises_is_logged_once_and_gives_no_sign_of_life(
    program: Program, systemd: Notices, caplog: pytest.LogCaptureFixture
) -> None:
    program.state = READY
    program.start(systemd.address, WATCHDOG_USEC="400000")
    systemd.wait_for("WATCHDOG=1")
    program.state = ZeroDivisionError("by a bug")
    wait_until(lambda: caplog.messages)
    assert systemd.silent_about("", A_WHILE_S)
    assert caplog.messages == ["systemd is told nothing for now; said once"]
    program.state = READY
    systemd.wait_for("WATCHDOG=1")


def test_a_reload_is_told_with_its_moment_and_when_it_is_over(
    program: Program, systemd: Notices
) -> None:
    program.state = READY
    program.start(systemd.address)
    systemd.wait_for("STATUS=ready")
    before = time.monotonic_ns() // 1000
    for _ in range(2):
        with program.notifier.reloading():
            wait_until(lambda: len(systemd.read()) == 2)
            assert systemd.told[0] == "RELOADING=1"
            moment = int(systemd.told[1].removeprefix("MONOTONIC_USEC="))
            assert before <= moment <= time.monotonic_ns() // 1000
        # Then at once, and not at the next look
        systemd.wait_for("READY=1", 0.7)
        assert systemd.read() == []


def test_a_reload_before_the_program_is_ready_is_not_told(
    program: Program, systemd: Notices
) -> None:
    program.start(systemd.address)
    systemd.wait_for("STATUS=waits")
    with program.notifier.reloading():
        pass
    assert systemd.silent_about("", A_WHILE_S)


def test_once_it_stops_only_signs_of_life_follow(program: Program, systemd: Notices) -> None:
    program.state = READY
    program.start(systemd.address, WATCHDOG_USEC="200000")
    systemd.wait_for("STATUS=ready")
    program.notifier.stopping()
    systemd.wait_for("STOPPING=1")
    systemd.wait_for("STATUS=stopping")
    program.state = WAITING
    with program.notifier.reloading():
        pass
    systemd.wait_for("WATCHDOG=1")
    systemd.wait_for("WATCHDOG=1")
    assert set(systemd.read()) <= {"WATCHDOG=1"}
