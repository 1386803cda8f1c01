"""The library without what Python has on Linux and has not on Windows: hidden from a program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from miros_mesh import MeshConfig
from support.actor import Actor
from support.charts_at_work import KEY, Heard, Launch, event
from support.waiting import wait_until

PROGRAMS = Path(__file__).parent / "programs"
ELSEWHERE = PROGRAMS / "elsewhere.py"
LIMIT_S = 60.0
QUESTIONS = list(range(500))


def command(*arguments: object) -> list[str]:
    """The command line of a program that runs elsewhere."""
    return [sys.executable, str(ELSEWHERE), *map(str, arguments)]


def env() -> dict[str, str]:
    """The environment in which it finds what the tests find."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program elsewhere, to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=LIMIT_S, env=env(), check=False
    )


def printed(folder: Path, program: str) -> list[str]:
    """What a short program prints elsewhere; it must end in good order, and complain of nothing."""
    file = folder / "program.py"
    file.write_text(dedent(program))
    ended = run(file)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


@pytest.fixture
def shared(vhost_url: str, monkeypatch: pytest.MonkeyPatch) -> MeshConfig:
    """The settings of a RabbitMQ; programs have them from the environment."""
    monkeypatch.setenv("MIROS_MESH_BROKER_URL", vhost_url)
    monkeypatch.setenv("MESH_ENCRYPTION_KEY", KEY.decode())
    return MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY)


def test_what_is_hidden_is_hidden_from_the_standard_library_too(tmp_path: Path) -> None:
    assert printed(
        tmp_path,
        """
        import importlib, os, select, selectors, signal, socket

        for name in ("fcntl", "pwd", "grp", "resource", "termios"):
            try:
                importlib.import_module(name)
            except ImportError:
                continue
            print("there is", name)
        for place, names in {
            os: "fork register_at_fork getuid geteuid fchmod statvfs pipe2 O_CLOEXEC O_NOFOLLOW",
            select: "poll epoll",
            signal: "SIGHUP SIGKILL SIGPIPE SIGUSR1 pthread_sigmask",
            socket: "AF_UNIX AF_NETLINK SOCK_NONBLOCK TCP_USER_TIMEOUT",
        }.items():
            print([name for name in names.split() if hasattr(place, name)])
        try:
            open("/proc/net/arp")
        except FileNotFoundError as error:
            print(error.strerror)
        one, other = socket.socketpair()
        print(one.family.name, selectors.DefaultSelector.__name__)
        """,
    ) == ["[]", "[]", "[]", "[]", "hidden from this program", "AF_INET SelectSelector"]


def test_every_module_of_the_package_can_be_imported(tmp_path: Path) -> None:
    (count,) = printed(
        tmp_path,
        """
        import importlib, pkgutil
        import miros_mesh

        found = [each.name for each in pkgutil.walk_packages(miros_mesh.__path__, "miros_mesh.")]
        for name in found:
            if not name.endswith("__main__"):
                importlib.import_module(name)
        print(len(found))
        """,
    )
    assert int(count) > 200


def test_a_chart_on_a_rabbitmq_starts_hears_answers_and_stops(
    shared: MeshConfig, launch: Launch, tmp_path: Path
) -> None:
    # Given a chart of this system, and one in a program from which it is hidden
    heard = Heard()
    asking = launch("asking", shared, heard)
    said = tmp_path / "complaints"
    with (
        said.open("wb") as complaints,
        Actor(ELSEWHERE, PROGRAMS / "answering.py", complaints=complaints) as program,
    ):
        assert program.heard() == {"ready": True}
        # When many questions are asked
        for number in QUESTIONS:
            asking.transmit(event("question", number))
        # Then each is answered once and in order, and the program ends in good order
        wait_until(lambda: len(heard) >= len(QUESTIONS), LIMIT_S)
        program.tell()
        assert program.heard() == {"all_confirmed": True, "confirmed": len(QUESTIONS)}
        assert program.wait(LIMIT_S) == 0
    assert heard.payloads == QUESTIONS
    # It complained of nothing, as of a connection that had to be made again
    assert said.read_text() == ""


def test_the_commands_work_with_a_rabbitmq(shared: MeshConfig) -> None:
    told = run("-m", "miros_mesh", "--help")
    assert (told.returncode, told.stderr) == (0, "")
    checked = run("-m", "miros_mesh", "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "an event went out, sealed and confirmed, and came back" in checked.stdout
    letters = run("-m", "miros_mesh", "dead-letters", "list")
    assert letters.returncode == 0
    assert "there are no dead letters" in letters.stderr


def test_snoop_shows_what_charts_do(shared: MeshConfig, launch: Launch, tmp_path: Path) -> None:
    asking, shown = launch("asking", shared), launch("shown", shared)
    shown.enable_snoop_spy()
    printed_here = tmp_path / "printed"

    def ask_and_look() -> bool:
        asking.transmit(event("question"))
        return "question" in printed_here.read_text() and "shown" in printed_here.read_text()

    with (
        printed_here.open("wb") as output,
        subprocess.Popen(command("-m", "miros_mesh", "snoop"), stdout=output, env=env()) as snoop,
    ):
        try:
            wait_until(ask_and_look, LIMIT_S)
        finally:
            snoop.kill()


def test_the_embedded_broker_is_refused_with_the_way_out_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    home = Path(os.environ["MIROS_MESH_HOME"])
    said = printed(
        tmp_path,
        """
        from miros_mesh import MeshConfig, NetworkedActiveObject
        from miros_mesh.errors import UnsupportedError

        chart = NetworkedActiveObject("chart", config=MeshConfig())
        try:
            chart.start_at(lambda chart, event: None)
        except UnsupportedError as error:
            print(error)
        """,
    )
    assert len(said) == 1
    assert "AF_UNIX" in said[0]
    assert "MIROS_MESH_BROKER_URL" in said[0]
    assert not home.exists()
    for name in ("check", "snoop"):
        ended = run("-m", "miros_mesh", name)
        assert ended.returncode == 1
        assert "AF_UNIX" in ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr


def test_charts_talk_in_the_memory_of_one_process(tmp_path: Path) -> None:
    assert printed(
        tmp_path,
        """
        import threading
        from miros import Event, return_status
        from miros_mesh import NetworkedActiveObject
        from miros_mesh.testing.memory import MemoryMesh

        heard = threading.Event()

        def listening(chart, event):
            if event.signal_name == "knock":
                heard.set()
                return return_status.HANDLED
            chart.temp.fun = chart.top
            return return_status.SUPER

        mesh = MemoryMesh()
        charts = [
            NetworkedActiveObject(name, config=mesh.config(node_name=name)) for name in ("a", "b")
        ]
        for chart in charts:
            chart.start_at(listening)
        charts[0].transmit(Event(signal="knock"))
        print(heard.wait(30))
        for chart in charts:
            chart.stop()
        """,
    ) == ["True"]


def test_what_a_broker_refused_is_kept_within_the_users_own_folder_alone(tmp_path: Path) -> None:
    assert printed(
        tmp_path,
        f"""
        from pathlib import Path
        from miros_mesh.errors import EmbeddedStoreError
        from miros_mesh.networks.letters.local import LocalLetters

        letters = LocalLetters(Path.home() / "letters")
        letters.add(b"sealed", node="node")
        print(letters.all())
        try:
            LocalLetters(Path({str(tmp_path / "elsewhere")!r})).add(b"sealed", node="node")
        except EmbeddedStoreError as error:
            print("MIROS_MESH_HOME" in str(error), "is outside of" in str(error))
        """,
    ) == ["[(1, b'sealed')]", "True True"]


def test_the_local_network_is_scanned_with_less_to_go_by(tmp_path: Path, vhost_url: str) -> None:
    host, _, port = vhost_url.rpartition("@")[2].partition("/")[0].partition(":")
    assert printed(
        tmp_path,
        f"""
        from pathlib import Path
        from miros_mesh.discovery.sources.json_file import JsonFile
        from miros_mesh.discovery.sources.neighbours import ipv4_neighbours, ipv6_neighbours
        from miros_mesh.discovery.sources.tcp_scanner import TcpScanner
        from miros_mesh.errors import UnsupportedError

        print(ipv4_neighbours(), ipv6_neighbours())
        scanner = TcpScanner({port}, lambda: [{host!r}, "127.0.9.9"])
        print(scanner.scan())
        scanner.stop()
        file = JsonFile(Path({str(tmp_path / "cache.json")!r}), default={{}})
        try:
            file.lock()
        except UnsupportedError as error:
            print("flock" in str(error))
        print(file.read().data)
        """,
    ) == ["[] []", f"['{host}']", "True", "{}"]
    assert not (tmp_path / "cache.json.lock").exists()
