"""What not every system has, and what is done without it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from miros_mesh import systems
from miros_mesh.systems import exposure, is_read_only, readable, tcp_user_timeout

STRANGER = 54_321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture(params=["poll", "select"])
def _means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems, "_HAS_POLL", request.param == "poll")


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Three pairs of sockets."""
    with contextlib.ExitStack() as opened:
        made = [socket.socketpair() for _ in range(3)]
        for each in made:
            for end in each:
                opened.enter_context(end)
        yield made


@pytest.mark.usefixtures("_means")
def test_those_with_input_are_told_at_once(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    for _, sender in pairs[:2]:
        sender.send(b"!")
    assert readable([one.fileno() for one, _ in pairs], None) == {
        one.fileno() for one, _ in pairs[:2]
    }


@pytest.mark.usefixtures("_means")
@pytest.mark.parametrize("timeout_s", [-1.0, 0.0, 0.05])
def test_without_input_the_timeout_ends_it(
    pairs: list[tuple[socket.socket, socket.socket]], timeout_s: float
) -> None:
    began = time.monotonic()
    assert readable([one.fileno() for one, _ in pairs], timeout_s) == set()
    assert time.monotonic() - began >= timeout_s


def test_a_descriptor_above_those_that_select_knows_is_asked(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1_100:
        pytest.skip("this user may open too few files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1_100), hard))
    try:
        number = fcntl.fcntl(pairs[0][0].fileno(), fcntl.F_DUPFD, 1_050)
        with socket.socket(fileno=number):
            pairs[0][1].send(b"!")
            assert readable([number], 0) == {number}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_kernel_gives_up_a_connection_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as connection:
        for option, value in tcp_user_timeout(1_234).items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1_234
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    assert tcp_user_timeout(1_234) == {}


def test_a_file_system_that_cannot_be_asked_is_taken_for_writable(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    assert not is_read_only(folder)
    monkeypatch.delattr("os.statvfs")
    assert not is_read_only(folder)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_secret_that_only_its_user_can_read_is_not_exposed(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "secret"
    file.touch()
    file.chmod(mode)
    assert exposure(file) == ""
    # A mounted secret is a link.
    link = tmp_path / "link"
    link.symlink_to(file)
    assert exposure(link) == ""


@pytest.mark.parametrize("mode", [0o620, 0o604, 0o602, 0o666])
def test_a_secret_that_others_can_read_or_change_is_exposed(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "secret"
    file.touch()
    file.chmod(mode)
    assert exposure(file) == (f"is open to other users (mode {mode:04o}); run: chmod 600 {file}")


@as_root
def test_of_roots_own_the_group_may_read_and_a_strangers_file_is_exposed(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.touch()
    file.chmod(0o640)
    assert exposure(file) == ""
    os.chown(file, STRANGER, -1)
    assert exposure(file) == f"is open to other users (mode 0640); run: chmod 600 {file}"
    # Root may use what is a user's own.
    file.chmod(0o600)
    assert exposure(file) == ""
