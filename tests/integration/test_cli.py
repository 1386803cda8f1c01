"""The command `miros-mesh`, run as a user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest
from cryptography.fernet import Fernet

import miros_mesh.cli.check as checking
from miros_mesh.discovery.verdict import Verdict
from miros_mesh.embedded import schema
from miros_mesh.wire.signing import Signer, generate_identity
from support.charts_at_work import KEY
from support.demo_output import demo_books, demo_times, moved_by_the_other
from support.lan_guard import VARIABLE
from support.rabbitmq_server import HOST, USER, RabbitServer, free_ports
from support.waiting import wait_until

COMMAND = str(Path(sys.executable).with_name("miros-mesh"))
PASSWORD = "hush-4711-pass"
SECRETS = ("hush-4711", KEY.decode(), "peter:rabbit", ":rabbit@")
SETTINGS = ("MIROS_MESH_", "RABBIT_", "MESH_", "SNOOP_", "CONNECTION_ATTEMPTS")
TRACE = re.compile(
    r" \[\+t\] \[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\] \[\w+_[af]o\] e->\w+\(\) \S+"
)
END_LIMIT_S = 40.0
WARNING = (
    "miros-mesh {}: the password in --broker is in the list of processes, for every user of this "
    "machine; use --broker-file FILE\n"
)


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def bad(self) -> list[str]:
        return [line for line in self.lines if not line.startswith("ok    ")]


def run(*arguments: str, **environment: str) -> Result:
    """Run the command to its end; no secret and no traceback may come out of it."""
    done = subprocess.run(
        [COMMAND, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=END_LIMIT_S,
        check=False,
    )
    _nothing_to_hide(done.stdout + done.stderr)
    return Result(done.returncode, done.stdout, done.stderr)


def _nothing_to_hide(output: str) -> None:
    assert not [secret for secret in SECRETS if secret in output]
    assert "Traceback" not in output


# Usage


def test_help_names_every_command_and_where_settings_come_from() -> None:
    shown = run("--help")
    assert (shown.code, shown.err) == (0, "")
    for word in (
        "demo",
        "keygen",
        "check",
        "discover",
        "sequence",
        "snoop",
        "top",
        "dead-letters",
        "MIROS_MESH_BROKER_URL",
        "RABBIT_USER",
        "_FILE",
    ):
        assert word in shown.out


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("demo", ["--broker", "--seconds", "--no-color", "Exit code 1 if", "sequence diagram"]),
        ("check", ["--broker", "One line a finding", "exit code 1"]),
        ("keygen", ["Fernet key", "same one"]),
        (
            "sequence",
            ["--format", "--output", "--seconds", "--chart", "--node", "JSON lines", "mermaid"],
        ),
        ("snoop", ["--history", "keeps no records of the past", "[--]", "shell pattern"]),
        ("top", ["--once", "Exit code 1 if there was none", "miros-mesh[top]"]),
        ("discover", ["--json", "--sources", "--timeout", "What is sent", "1,024 addresses"]),
    ],
)
def test_every_command_explains_itself(command: str, words: list[str]) -> None:
    shown = run(command, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert not [word for word in words if word not in " ".join(shown.out.split())]


@pytest.mark.parametrize(
    "command",
    [
        *("demo", "check", "discover", "snoop", "top", "sequence"),
        *(f"dead-letters {action}" for action in ("list", "show", "retry", "drop")),
    ],
)
def test_each_command_at_a_broker_takes_its_url_from_a_file_and_says_why(command: str) -> None:
    words = " ".join(run(*command.split(), "--help").out.split())
    assert "--broker-file FILE" in words
    assert "every user of this machine, in the list of processes: use --broker-file" in words


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "--brokr", f"amqp://{USER}:{PASSWORD}@{HOST}"],
        ["check", f"amqp://{USER}:{PASSWORD}@{HOST}"],
        [f"amqp://{USER}:{PASSWORD}@{HOST}"],
        ["discover", "--sources", f"amqp://{USER}:{PASSWORD}@{HOST}"],
        ["sequence", "--format", f"amqp://{USER}:{PASSWORD}@{HOST}"],
    ],
)
def test_wrong_usage_is_shown_without_the_password(arguments: list[str]) -> None:
    # `run` looks for the password.
    shown = run(*arguments)
    assert (shown.code, shown.out) == (2, "")
    assert f"{USER}:***@" in shown.err


def test_a_broker_s_file_that_others_may_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(f"amqp://{USER}:{PASSWORD}@{HOST}")
    file.chmod(0o644)

    found = run("check", "--broker-file", str(file), MESH_ENCRYPTION_KEY=KEY.decode())

    assert (found.code, found.err) == (1, "")
    [line] = found.lines
    assert line.startswith(f"FAIL  broker_url names {file}, which is open to other users (")
    assert line.endswith(f"mode 0644); run: chmod 600 {file}")


def test_a_url_without_a_password_is_no_reason_to_warn() -> None:
    found = run("check", "--broker", f"amqp://{USER}@{HOST}", MESH_ENCRYPTION_KEY="short")
    assert (found.code, found.err) == (1, "")


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "miros_mesh", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout == run("--help").out
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "COMMAND"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["check", "--frobnicate"], "--frobnicate"),
        (["demo", "--seconds", "0"], "a number from 1 to 3600"),
        (["demo", "--seconds", "nan"], "a number from 1 to 3600"),
        (["demo", "--seconds", "soon"], "a number from 1 to 3600"),
    ],
)
def test_wrong_usage_is_explained_and_exits_with_2(arguments: list[str], complaint: str) -> None:
    shown = run(*arguments)
    assert (shown.code, shown.out) == (2, "")
    assert complaint in shown.err
    assert "usage: miros-mesh" in shown.err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["snoop", "--histroy", "x"], "--histroy x; did you mean --history?"),
        (["sequence", "--ouput=x.svg"], "--ouput=x.svg; did you mean --output?"),
        (["keygen", "--qqq", "a\x1b"], "--qqq a\\x1b\n"),
    ],
)
def test_an_unknown_option_is_refused_by_its_own_command(
    arguments: list[str], complaint: str
) -> None:
    shown = run(*arguments)
    assert (shown.code, shown.out) == (2, "")
    assert shown.err.startswith(f"usage: miros-mesh {arguments[0]} ")
    assert f"miros-mesh {arguments[0]}: error: unrecognized arguments: {complaint}" in shown.err


def test_keygen_prints_a_new_key_and_nothing_else() -> None:
    first, second = run("keygen"), run("keygen")
    assert (first.code, first.err) == (0, "")
    [key] = first.lines
    Fernet(key)
    assert [key] != second.lines


# check


def test_check_finds_a_new_users_machine_in_order(tmp_path: Path) -> None:
    home = tmp_path / "made on first use"
    found = run("check", MIROS_MESH_HOME=str(home))
    assert (found.code, found.bad, found.err) == (0, [], "")
    assert f"ok    settings: embedded broker in {home}" in found.lines
    assert "the embedded broker's own" in found.out
    assert re.search(
        r"an event went out, sealed and confirmed, and came back in \d+\.\d ms", found.out
    )


def test_check_names_the_keys_of_all_networks(tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    found = run("check", MIROS_MESH_HOME=home, SNOOP_TRACE_ENCRYPTION_KEY=KEY.decode())
    keys = [line.removeprefix("ok    ") for line in found.lines if " key: " in line]
    assert [key.partition(": ")[0] for key in keys] == [
        "mesh key",
        "snoop_trace key",
        "snoop_spy key",
    ]
    assert keys[1].startswith("snoop_trace key: fingerprint ")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "aes-gcm"),
        ({"MIROS_MESH_CIPHER": "fernet"}, "fernet"),
        ({"MIROS_MESH_OLD_FRAMES": "write"}, "fernet, as old_frames=write has it"),
    ],
)
def test_check_names_the_cipher_that_is_written(
    settings: dict[str, str], said: str, tmp_path: Path
) -> None:
    found = run("check", MIROS_MESH_HOME=str(tmp_path / "own"), **settings)
    assert (found.code, found.bad) == (0, [])
    assert f"ok    cipher: {said}" in found.lines


@pytest.mark.parametrize(
    ("limits", "signs", "said"),
    [
        ({"signals": ["check"], "topics": ["check.*"], "networks": ["mesh"]}, True, ""),
        ({"signals": ["pressed"]}, True, "refuses the signal `check` of press: add `check`"),
        ({"topics": ["press.#"]}, True, "refuses the signal `check` of press: add `check`"),
        ({"networks": ["snoop_spy"]}, True, "and `mesh` to its networks, of those that it has"),
        ({}, False, "refuses what is not signed, as of press: give its node_identity"),
    ],
)
def test_check_tells_that_the_list_of_nodes_refuses_its_own_event(
    limits: dict[str, list[str]],
    signs: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    identity = generate_identity()
    entry = {"public_keys": [Signer("press", identity).public_key], **limits}
    signed = {"MIROS_MESH_NODE_IDENTITY": identity.decode()} if signs else {}
    environ = {
        "MIROS_MESH_HOME": os.environ["MIROS_MESH_HOME"],
        "MIROS_MESH_NODE_NAME": "press",
        "MIROS_MESH_ALLOWED_NODES": json.dumps({"press": entry}),
        **signed,
    }
    if said:
        monkeypatch.setattr(checking, "ROUND_TRIP_LIMIT_S", 1.0)
    assert checking.check(environ, broker_url=None) == (1 if said else 0)
    bad = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("ok ")]
    assert [said in line for line in bad] == ([True] if said else [])
    assert all("our own allowed_nodes" in line for line in bad)


@pytest.mark.parametrize("way", ["environment", "files", "argument", "option", "ancestor"])
def test_check_finds_a_rabbitmq_in_order(
    rabbitmq: RabbitServer, vhost_url: str, tmp_path: Path, way: str
) -> None:
    for name, secret in (("url", vhost_url), ("key", KEY.decode())):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text(f"{secret}\n")
    ways = {
        "environment": {"MIROS_MESH_BROKER_URL": vhost_url, "MESH_ENCRYPTION_KEY": KEY.decode()},
        "files": {
            "MIROS_MESH_BROKER_URL_FILE": str(tmp_path / "url"),
            "MIROS_MESH_MESH_ENCRYPTION_KEY_FILE": str(tmp_path / "key"),
        },
        "argument": {"MIROS_MESH_ENCRYPTION_KEY": KEY.decode()},
        "option": {"MIROS_MESH_ENCRYPTION_KEY": KEY.decode()},
        "ancestor": {
            "RABBIT_USER": USER,
            "RABBIT_PASSWORD": "rabbit",
            "RABBIT_PORT": str(rabbitmq.port),
            "MESH_ENCRYPTION_KEY": KEY.decode(),
        },
    }
    options = {
        "argument": ["--broker", vhost_url],
        "option": ["--broker-file", str(tmp_path / "url")],
    }
    found = run("check", *options.get(way, []), **ways[way])
    warning = WARNING.format("check") if way == "argument" else ""
    assert (found.code, found.bad, found.err) == (0, [], warning)
    assert f"amqp://{USER}@{HOST}:{rabbitmq.port}/" in found.out
    assert "mesh key: fingerprint" in found.out


def test_check_tells_a_wrong_key() -> None:
    found = run(
        "check", "--broker", f"amqp://{USER}:{PASSWORD}@{HOST}//", MESH_ENCRYPTION_KEY="short"
    )
    assert (found.code, found.err) == (1, WARNING.format("check"))
    [line] = found.lines
    assert line.startswith("FAIL  MESH_ENCRYPTION_KEY is not a Fernet key (44 url-safe base64")
    assert line.endswith("make one with: miros-mesh keygen")


def test_check_tells_an_unreachable_broker() -> None:
    [port] = free_ports(1)
    url = f"amqp://{USER}:{PASSWORD}@{HOST}:{port}//"
    found = run("check", MIROS_MESH_BROKER_URL=url, MESH_ENCRYPTION_KEY=KEY.decode())
    assert (found.code, found.err) == (1, "")
    [line] = found.bad
    assert line.startswith(f"FAIL  no answer from amqp://{USER}@{HOST}:{port}/")


def test_check_tells_a_wrong_password_and_a_missing_virtual_host(rabbitmq: RabbitServer) -> None:
    rabbitmq.start()
    key = {"MESH_ENCRYPTION_KEY": KEY.decode()}
    for url, words in (
        (rabbitmq.url("/", USER, PASSWORD), "refused the user or the password"),
        (rabbitmq.url("nowhere"), "the virtual host does not exist"),
    ):
        found = run("check", "--broker", url, **key)
        assert (found.code, found.err) == (1, WARNING.format("check"))
        [line] = found.bad
        assert words in line


def test_check_tells_every_wrong_setting_in_a_line_of_its_own() -> None:
    found = run(
        "check",
        MIROS_MESH_BROKER_URL=f"amqp//{USER}:{PASSWORD}@{HOST}//",
        MESH_ENCRYPTION_KEY=PASSWORD,
        RABBIT_PORT="many",
        MIROS_MESH_NODE_NAME="a name with blanks",
        MIROS_MESH_NODENAME="misspelt",
    )
    assert (found.code, found.err) == (1, "")
    assert found.lines == found.bad
    for name in (
        "MIROS_MESH_BROKER_URL",
        "MESH_ENCRYPTION_KEY",
        "RABBIT_PORT",
        "MIROS_MESH_NODE_NAME",
        "did you mean MIROS_MESH_NODE_NAME?",
    ):
        assert [line for line in found.lines if name in line]
    assert len(found.lines) == 5


def test_check_tells_a_home_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = run("check", MIROS_MESH_HOME=str(tmp_path / "file" / "home"))
    assert (found.code, found.err) == (1, "")
    [line] = found.bad
    assert "MIROS_MESH_HOME" in line


# discover


def searching(
    rabbitmq: RabbitServer, vhost: str, folder: Path, *hosts: str, **more: str
) -> dict[str, str]:
    """An environment with a hosts file; the local network stays off, as everywhere in tests."""
    file = folder / "hosts.json"
    file.write_text(json.dumps({"hosts": hosts}))
    return {
        "RABBIT_USER": "peter",
        "RABBIT_PASSWORD": "rabbit",
        "RABBIT_PORT": str(rabbitmq.port),
        "MIROS_MESH_RABBIT_VIRTUAL_HOST": vhost,
        "MIROS_MESH_ENCRYPTION_KEY": KEY.decode(),
        "MIROS_MESH_DISCOVERY_HOSTS_FILE": str(file),
        **more,
    }


def test_discover_shows_what_is_at_each_listed_host(
    rabbitmq: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    # Given a mesh at a broker, and a port where nobody is
    nobody, dead_port = free_ports(2)
    live, dead = f"{HOST}:{rabbitmq.port}", f"{HOST}:{dead_port}"
    environment = searching(rabbitmq, vhost, tmp_path, live, dead)
    assert run("check", **environment).code == 0
    # When somebody looks whose own broker is another one
    found = run("discover", **{**environment, "RABBIT_PORT": str(nobody)})
    # Then progress goes to one stream and the table to the other
    assert found.code == 0
    assert [line.split()[:3] for line in found.lines[:3]] == [
        ["address", "found", "by"],
        [live, "manual", "ours"],
        [dead, "manual", "nothing"],
    ]
    assert found.lines[-1].startswith("1 of our mesh, 2 looked at in ")
    assert "MIROS_MESH_LAN=off: the local network is not searched" in found.err
    assert f"manual  {live:22} ours" in found.err


def test_discover_does_not_count_the_broker_of_its_own_settings(
    rabbitmq: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    # Given our own broker, listed by address and by name, and nobody else
    listed = (f"{HOST}:{rabbitmq.port}", f"localhost:{rabbitmq.port}")
    environment = searching(rabbitmq, vhost, tmp_path, *listed)
    assert run("check", **environment).code == 0
    # When somebody looks
    found = run("discover", "--sources", "manual", **environment)
    # Then it is told as what it is, and nobody has been found
    assert found.code == 1
    assert [line.split()[:3] for line in found.lines[1:3]] == [
        [host, "manual", "own"] for host in listed
    ]
    assert found.lines[-1].startswith("0 of our mesh, and our own, 2 looked at in ")
    assert "manual  done: 0 of our mesh in " in found.err


def test_discover_says_where_it_looked_for_a_hosts_file(
    rabbitmq: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    environment = searching(rabbitmq, vhost, tmp_path)
    Path(environment["MIROS_MESH_DISCOVERY_HOSTS_FILE"]).unlink()
    found = run("discover", "--sources", "manual", **environment)
    file = environment["MIROS_MESH_DISCOVERY_HOSTS_FILE"]
    assert found.code == 1
    assert f"manual  no hosts file: looked for {file}\n" in found.err


def test_discover_says_nothing_of_a_silent_port_but_that(
    rabbitmq: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    with socket.create_server((HOST, 0)) as silent:
        where = f"{HOST}:{silent.getsockname()[1]}"
        environment = searching(rabbitmq, vhost, tmp_path, where)
        found = run("discover", "--sources", "manual", **environment)
    assert found.lines[1].split()[:3] == [where, "manual", "nothing"]


def test_discover_names_the_source_that_it_does_not_know() -> None:
    found = run("discover", "--sources", "lan,manul")
    assert (found.code, found.out) == (2, "")
    assert "argument --sources: 'manul' is no source; known: manual, lan, dns" in found.err


def test_the_help_of_discover_explains_every_verdict_and_the_range_of_its_timeout() -> None:
    told = run("discover", "--help", COLUMNS="80").out
    assert not [verdict for verdict in (*Verdict, "own") if f"\n  {verdict:13}" not in told]
    assert "1 to 600" in told
    assert "standard error" in told


def test_discover_tells_programs_in_json(
    rabbitmq: RabbitServer, vhost: str, tmp_path: Path
) -> None:
    live = f"{HOST}:{rabbitmq.port}"
    environment = searching(rabbitmq, vhost, tmp_path, live)
    found = run("discover", "--json", "--sources", "manual", "--timeout", "20", **environment)
    assert (found.code, found.err) == (1, "")
    told = json.loads(found.out)
    assert told["complete"]
    [each] = told["addresses"]
    assert (each["address"], each["found_by"], each["verdict"]) == (live, "manual", "no_mesh")


def test_discover_looks_for_nothing_without_a_rabbitmq() -> None:
    found = run("discover")
    assert (found.code, found.out) == (1, "")
    assert "RABBIT_USER" in found.err


# demo


class Demo:
    """A running demo; on a terminal of its own when a `terminal` is given."""

    def __init__(self, home: Path, *arguments: str, terminal: bool = False, **extra: str) -> None:
        clean = {n: v for n, v in os.environ.items() if not n.startswith(SETTINGS) or n == VARIABLE}
        self._master: int | None
        self._master, slave = pty.openpty() if terminal else (None, subprocess.PIPE)
        self.process = subprocess.Popen(
            [COMMAND, "demo", *arguments],
            env={
                **clean,
                "MIROS_MESH_HOME": str(home),
                "PYTHONSAFEPATH": "1",
                "TMPDIR": str(home.parent),
                **extra,
            },
            stdout=slave,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        if terminal:
            os.close(slave)

    def result(self) -> Result:
        out = _all_of(self._master) if self._master is not None else None
        piped, err = self.process.communicate(timeout=END_LIMIT_S)
        _nothing_to_hide((out or "") + (piped or "") + err)
        return Result(self.process.returncode, piped if out is None else out, err)

    def read_until_trace(self) -> None:
        assert self.process.stdout
        while line := self.process.stdout.readline():
            if TRACE.match(line):
                return
        pytest.fail("no trace was printed")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        if self._master is not None:
            os.close(self._master)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def living(self) -> list[int]:
        """The processes of its session that have not ended."""
        return [pid for pid in _processes() if _session_of(pid) == self.process.pid]


@pytest.fixture(scope="module")
def demos(
    rabbitmq: RabbitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Result]]:
    """Demos of every kind, run at once since they mostly wait."""
    rabbitmq.start()
    homes = tmp_path_factory.mktemp("homes")
    url_file = homes / "url"
    url_file.touch(0o600)
    url_file.write_text(rabbitmq.url(rabbitmq.new_vhost()))
    store = homes / "state" / "miros_mesh" / schema.DATABASE_FILE
    store.parent.mkdir(parents=True, mode=0o700)
    an_older_store(store)
    no_home = {"MIROS_MESH_HOME": "", "XDG_STATE_HOME": str(homes / "state")}
    running = {
        "older store": Demo(homes / "e", "--seconds", "8", **no_home),
        "embedded": Demo(homes / "a", "--seconds", "8"),
        "rabbitmq": Demo(homes / "b", "--seconds", "8", "--broker-file", str(url_file)),
        "terminal": Demo(homes / "c", "--seconds", "8", terminal=True),
        "no-color": Demo(homes / "d", "--seconds", "8", terminal=True, NO_COLOR="1"),
    }
    try:
        yield {name: demo.result() for name, demo in running.items()}
    finally:
        for demo in running.values():
            demo.close()


KINDS = ["older store", "embedded", "rabbitmq", "terminal", "no-color"]


def an_older_store(file: Path) -> None:
    """What an earlier version of the embedded broker has left in the user's folder."""
    file.touch(mode=0o600)
    with contextlib.closing(sqlite3.connect(file)) as older:
        older.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        older.execute(f"PRAGMA user_version = {schema.VERSION - 1}")
        older.execute("CREATE TABLE messages (id)")
        older.commit()


def test_the_demo_leaves_nothing_of_its_own_embedded_broker(
    demos: dict[str, Result], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert demos["older store"].code == 0
    homes = tmp_path_factory.getbasetemp() / "homes0"
    assert not [left for left in homes.glob("miros-mesh-demo-*") if left.is_dir()]
    assert [each.name for each in (homes / "state").rglob("*") if each.is_file()] == [
        schema.DATABASE_FILE
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_demo_ends_well_with_its_books(demos: dict[str, Result], kind: str) -> None:
    shown = demos[kind]
    assert (shown.code, shown.err) == (0, "")
    books = demo_books(shown.lines)
    assert all(int(number) > 0 for number in books["transmitted"])
    assert books["received"] == books["transmitted"]
    assert books["lost"] == books["duplicates"] == ["0", "0"]
    assert all(float(number) > 0 for number in books["median latency"][::2])
    assert shown.lines[-1] == "Every event arrived once."


@pytest.mark.parametrize("kind", ["embedded", "rabbitmq", "no-color"])
def test_the_demo_shows_both_charts_at_work(demos: dict[str, Result], kind: str) -> None:
    traces = [line for line in demos[kind].lines if line.startswith(" [+t]")]
    assert all(TRACE.match(line) for line in traces)
    names = {re.findall(r"\[(\w+_[af]o)\]", line)[0] for line in traces}
    assert {name[-3:] for name in names} == {"_ao", "_fo"}


@pytest.mark.parametrize("kind", ["embedded", "rabbitmq", "no-color"])
def test_the_trace_of_the_demo_is_in_order_of_time_and_agrees_with_its_table(
    demos: dict[str, Result], kind: str
) -> None:
    lines = demos[kind].lines
    times = demo_times(lines)
    assert times == sorted(times)
    assert times
    assert moved_by_the_other(lines) == demo_books(lines)["changed a state"]


@pytest.mark.parametrize("kind", ["embedded", "rabbitmq", "no-color"])
def test_no_line_of_the_demo_wraps_at_80_columns(demos: dict[str, Result], kind: str) -> None:
    # The name of the file is as long as the folder for temporary files makes it.
    assert not [line for line in demos[kind].lines if len(line) > 80 and not line.endswith(".html")]


def test_the_demo_shows_what_came_over_the_mesh(demos: dict[str, Result]) -> None:
    # In one demo alone the timers of both charts may fire at once, so that neither draws the other.
    shown = "".join(result.out for result in demos.values())
    assert "e->other_to_inner() outer->inner" in shown
    assert "e->other_to_outer() inner->outer" in shown


@pytest.mark.parametrize("kind", ["embedded", "rabbitmq"])
def test_the_demo_draws_its_own_run_and_says_where(demos: dict[str, Result], kind: str) -> None:
    [path] = re.findall(r"The sequence diagram of this run, for a browser:\n(.+)", demos[kind].out)
    drawn = Path(path).read_text(encoding="utf-8")
    traces = [line for line in demos[kind].lines if TRACE.match(line)]
    for name in {re.findall(r"\[(\w+_[af]o)\]", line)[0] for line in traces}:
        assert f">{name}</text>" in drawn
    for event in {re.findall(r"e->(\w+)", line)[0] for line in traces}:
        assert f"{event}()</text>" in drawn
    assert drawn.count("<tr>") - 1 >= len(traces)
    # What came over the mesh is an arrow between the charts.
    came_over = sum("other_" in line for line in traces)
    assert drawn.count('<line class="sent"') >= came_over


def test_the_demo_says_where_the_charts_meet(demos: dict[str, Result]) -> None:
    assert "  broker    embedded, no server" in demos["embedded"].lines
    assert f"  broker    amqp://{USER}@{HOST}:" in demos["rabbitmq"].out


def test_on_a_terminal_own_and_other_names_have_two_colours(demos: dict[str, Result]) -> None:
    colored = re.findall(r"\[\x1b\[(\d+)m\w+_([af]o)\x1b\[0m\]", demos["terminal"].out)
    assert set(colored) == {("94", "ao"), ("95", "fo")}
    for kind in ("embedded", "no-color"):
        assert "\x1b" not in demos[kind].out


def test_the_demo_tells_a_broker_that_is_not_there(tmp_path: Path) -> None:
    [port] = free_ports(1)
    shown = run("demo", "--broker", f"amqp://{USER}:{PASSWORD}@{HOST}:{port}//")
    assert shown.code == 1
    assert shown.err.startswith(WARNING.format("demo"))
    [line] = shown.err.removeprefix(WARNING.format("demo")).splitlines()
    assert line.startswith(f"miros-mesh demo: no answer from amqp://{USER}@{HOST}:{port}/")


def test_the_demo_tells_a_malformed_url() -> None:
    shown = run("demo", "--broker", f"http://{USER}:{PASSWORD}@{HOST}")
    assert (shown.code, shown.out) == (1, "")
    assert "miros-mesh demo: 1 setting needs attention" in shown.err
    assert "amqp://" in shown.err


def test_ctrl_c_ends_the_demo_and_every_process_of_it(tmp_path: Path) -> None:
    with Demo(tmp_path) as demo:
        demo.read_until_trace()
        # As a terminal does: to every process of the demo
        os.killpg(demo.process.pid, signal.SIGINT)
        shown = demo.result()
        assert (shown.code, shown.err) == (130, "")
        wait_until(lambda: not demo.living)


def test_a_killed_demo_leaves_no_process(tmp_path: Path) -> None:
    with Demo(tmp_path) as demo:
        demo.read_until_trace()
        demo.process.kill()
        assert demo.result().err == ""
        wait_until(lambda: not demo.living)


# Output that nobody reads


@pytest.mark.parametrize("arguments", [["check"], ["keygen"]])
def test_output_into_a_closed_pipe_ends_the_command_without_a_word(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            [COMMAND, *arguments],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=END_LIMIT_S,
            check=False,
        )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_a_demo_whose_reader_leaves_ends_in_good_order(tmp_path: Path) -> None:
    with Demo(tmp_path, "--seconds", "2") as demo:
        demo.read_until_trace()
        assert demo.process.stdout
        demo.process.stdout.close()
        assert demo.process.wait(END_LIMIT_S) == 128 + signal.SIGPIPE
        assert demo.process.stderr
        _nothing_to_hide(demo.process.stderr.read())
        wait_until(lambda: not demo.living)


def _all_of(terminal: int) -> str:
    parts = []
    # Linux answers with an error, not with an end, when the last process has closed a terminal.
    while part := _some_of(terminal):
        parts.append(part)
    return b"".join(parts).decode().replace("\r\n", "\n")


def _some_of(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _session_of(pid: int) -> int | None:
    """The session of a process; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, session = fields[0], int(fields[3])
    return None if state == "Z" else session


def test_keygen_makes_an_identity_once_and_prints_its_public_key(tmp_path: Path) -> None:
    file = tmp_path / "press.identity"

    first, second = (run("keygen", "--identity", str(file)) for _ in range(2))

    signer = Signer("press", file.read_bytes())
    assert (first.code, first.out) == (0, f"{signer.public_key}\n")
    assert second.out == first.out
    assert file.stat().st_mode & 0o777 == 0o600


def test_keygen_refuses_an_identity_that_others_may_read(tmp_path: Path) -> None:
    file = tmp_path / "press.identity"
    run("keygen", "--identity", str(file))
    file.chmod(0o604)

    done = run("keygen", "--identity", str(file))

    assert (done.code, done.out) == (1, "")
    assert "open to other users" in done.err
