"""What every test has: a clean environment, no thread left behind, a RabbitMQ for the asking."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from support import (
    apt_source,
    browser,
    fuse_disk,
    lan_guard,
    machine,
    namespaces,
    playbooks,
    rsyslog_shipper,
    service_manager,
    small_disk,
)
from support.rabbitmq_server import RabbitServer, find_programs
from support.waiting import wait_until

# Before anything of the library is imported, let alone started.
lan_guard.install()

# What a shell starts in the background ignores Ctrl-C, and so would every program of a test.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["support.tables"]
THREAD_END_LIMIT_S = 5.0
LAN = "tests/lan/"
SETTINGS = ("MIROS_MESH_", "RABBIT_", "MESH_", "SNOOP_", "CONNECTION_ATTEMPTS")
NO_RABBITMQ = (
    "needs the program rabbitmq-server: `make test` as root installs it with apt; "
    "otherwise: sudo apt-get install rabbitmq-server"
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let no half character in what a test printed stop the report on its way between processes."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


class _ByModule(LoadFileScheduling):  # type: ignore[misc]
    """Gives each module to one process, for its servers' sake, and all of `lan` to one."""

    def _split_scope(self, nodeid: str) -> str:
        module = str(super()._split_scope(nodeid))
        return LAN if module.startswith(LAN) else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _ByModule | None:
    """Share the tests out (xdist asks); with another `--dist` it is left alone."""
    return _ByModule(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings and the home of the person who runs the tests out of them."""
    for name in os.environ:
        if name.startswith(SETTINGS) and name != lan_guard.VARIABLE:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("MIROS_MESH_HOME", str(home / "mesh"))
    # A program that a test starts in the source folder still finds the installed package.
    monkeypatch.setenv("PYTHONSAFEPATH", "1")


@pytest.fixture(autouse=True)
def _no_thread_left_behind() -> Iterator[None]:
    """Fail a test after which a thread of the library goes on."""
    before = set(threading.enumerate())
    yield
    try:
        wait_until(lambda: not _mesh_threads(before), THREAD_END_LIMIT_S)
    except AssertionError:
        names = sorted(thread.name for thread in _mesh_threads(before))
        pytest.fail(f"threads left behind: {', '.join(names)}", pytrace=False)


def _mesh_threads(known: set[threading.Thread]) -> list[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("mesh-") and thread not in known
    ]


@pytest.fixture(scope="session")
def rabbitmq_programs() -> Path:
    """The folder of RabbitMQ's programs; missing, it fails in CI and skips elsewhere."""
    programs = find_programs()
    if programs is None:
        _missing(NO_RABBITMQ)
    return programs


@pytest.fixture(scope="session")
def rabbitmq(
    rabbitmq_programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RabbitServer]:
    """A private RabbitMQ server."""
    server = RabbitServer(tmp_path_factory.mktemp("rabbitmq") / "node", rabbitmq_programs)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def private_networks() -> None:
    """This machine can have a `namespaces.Network`; where not, as with RabbitMQ."""
    if reason := namespaces.why_not():
        _missing(reason)


@pytest.fixture(scope="session")
def small_disks() -> None:
    """This machine can have a `small_disk`; where not, as with RabbitMQ."""
    if reason := small_disk.why_not():
        _missing(reason)


@pytest.fixture(scope="session")
def fuse_disks() -> None:
    """This machine can have a `fuse_disk`; where not, as with RabbitMQ."""
    if reason := fuse_disk.why_not():
        _missing(reason)


@pytest.fixture(scope="session")
def rsyslog() -> None:
    """This machine can have a `rsyslog_shipper.Rsyslog`; where not, as with RabbitMQ."""
    if reason := rsyslog_shipper.why_not():
        _missing(reason)


@pytest.fixture(scope="session")
def systemd_analyze() -> str:
    """The program that judges units; where it is missing, as with RabbitMQ."""
    if (program := service_manager.find_program("systemd-analyze")) is None:
        _missing(service_manager.NO_SYSTEMD)
    return program


@pytest.fixture(scope="session")
def systemd_services(systemd_analyze: str) -> None:
    """This machine can have a `service_manager.Systemd`, which asks for root: skips elsewhere."""
    if reason := service_manager.why_not():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def ansible(private_networks: None) -> None:
    """This machine can run `playbooks`, and have a `Machine`; where not, as with RabbitMQ."""
    for reason in (playbooks.why_not(), machine.why_not()):
        if reason:
            _missing(reason)


@pytest.fixture(scope="session")
def ssh() -> None:
    """This machine has a client and a server of ssh; where not, as with RabbitMQ."""
    if reason := machine.why_no_ssh():
        _missing(reason)


@pytest.fixture(scope="session")
def rabbitmq_package() -> None:
    """There is what `apt_source` offers a machine; where not, as with RabbitMQ."""
    if reason := apt_source.why_not():
        _missing(reason)


@pytest.fixture(scope="session")
def chromium_program() -> str:
    """The browser; where it is missing, as with RabbitMQ."""
    if (program := browser.find_chromium()) is None:
        _missing(browser.NO_CHROMIUM)
    return program


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def vhost(rabbitmq: RabbitServer) -> Iterator[str]:
    """The name of a virtual host of this test's own; a server that a test stopped runs again."""
    rabbitmq.start()
    name = rabbitmq.new_vhost()
    yield name
    if rabbitmq.running:
        # Each one makes every later start of the server slower.
        rabbitmq.delete_vhost(name)


@pytest.fixture
def vhost_url(rabbitmq: RabbitServer, vhost: str) -> str:
    """The AMQP URL, with user and password, of this test's own virtual host."""
    return rabbitmq.url(vhost)
