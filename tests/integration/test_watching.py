"""`miros-mesh snoop` and `miros-mesh top`, run as a user runs them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from miros_mesh import MeshConfig, NetworkedActiveObject, SnoopRecord
from miros_mesh.node.queues import SNOOP_QUEUE_BYTES
from miros_mesh.observe.logs.ecs import from_ecs, to_ecs
from miros_mesh.wire.envelope import ChartStatus, NodeStatus, Origin, PeerStatus
from support.charts_at_work import (
    KEY,
    OTHER_KEY,
    Heard,
    Recorder,
    alone,
    event,
    node_of,
    publish,
    seal,
)
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

COMMAND = str(Path(sys.executable).with_name("miros-mesh"))
LIMIT_S = 30.0
OTHER, RESET = "\x1b[95m", "\x1b[0m"
LONG_NOTE = "x" * 30_000
EVIL = "\x1b[2Jevil\r\n[red]"


class Chart(NetworkedActiveObject):
    """Takes part in the snoop networks, and scribbles until somebody has seen it."""

    @property
    def idle(self) -> bool:
        """Whether all that it has told is in the outbox."""
        return not node_of(self).recorder._queue

    def scribble_until(self, seen: Callable[[], object]) -> None:
        def told() -> object:
            self.snoop_scribble("look")
            return seen()

        wait_until(told, LIMIT_S)


class Terminal:
    """A command in a terminal of its own."""

    def __init__(
        self, *arguments: str, columns: int = 120, out: int | None = None, **environment: str
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._process = subprocess.Popen(
            [COMMAND, *arguments],
            env={**os.environ, "TERM": "xterm-256color", **environment},
            stdin=slave,
            stdout=slave if out is None else out,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.shown = ""

    def shows(self, text: str) -> bool:
        """Whether it has shown this until now."""
        while select.select([self._master], [], [], 0)[0]:
            try:
                self.shown += os.read(self._master, 65536).decode(errors="replace")
            except OSError:
                break
        return text in self.shown

    def interrupt(self) -> int:
        """Press Ctrl-C; its exit code."""
        self._process.send_signal(signal.SIGINT)
        # What nobody reads would keep it from ending.
        return int(wait_until(lambda: self.shows("") and self._process.poll(), LIMIT_S))

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)


Begin: TypeAlias = Callable[..., Chart]
Open: TypeAlias = Callable[..., Terminal]
Started: TypeAlias = Callable[["subprocess.Popen[str]"], "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have told readline or a shell how wide their terminal is."""
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def begin() -> Iterator[Begin]:
    with ExitStack() as running:

        def start(name: str, config: MeshConfig | None = None) -> Chart:
            chart = Chart(name, config=config, on_trace_rx=lambda _: None)
            chart.enable_snoop_trace()
            chart.start_at(alone(Heard()))
            running.callback(chart.stop)
            return chart

        yield start


@pytest.fixture
def started() -> Iterator[Started]:
    """Takes a process that must not outlive the test, however that ends."""
    with ExitStack() as running:

        def take(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
            running.callback(process.communicate)
            running.callback(process.kill)
            return process

        yield take


@pytest.fixture
def terminal() -> Iterator[Open]:
    with ExitStack() as running:

        def start(*arguments: str, **settings: object) -> Terminal:
            opened = Terminal(*arguments, **settings)
            running.callback(opened.close)
            return opened

        yield start


def piped(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [COMMAND, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    process = piped(*arguments, **environment)
    out, err = process.communicate(timeout=LIMIT_S)
    assert "Traceback" not in err
    return process.returncode, out, err


def watched(file: Path, chart: Chart, *arguments: str, **environment: str) -> tuple[int, str]:
    """Let a chart work until the command has ended; its exit code, and what it says of errors."""
    with file.open("w") as out:
        process = subprocess.Popen(
            [COMMAND, *arguments],
            env={**os.environ, **environment},
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        )
        chart.scribble_until(lambda: process.poll() is not None)
    _, err = process.communicate()
    return process.returncode, err


def publish_sealed(network: str, message: Origin) -> None:
    """What somebody with the key may put on a network."""
    config = MeshConfig()
    frame = seal(config, message, network=network, topic="snoop")
    publish(config, frame, network=network, routing_key="snoop")


# snoop


def test_snoop_follows_in_colours_until_it_is_interrupted(begin: Begin, terminal: Open) -> None:
    chart, console = begin("door"), terminal("snoop", "--trace")
    chart.scribble_until(lambda: console.shows("# look"))
    assert f"[{OTHER}door{RESET}] # look\r\n" in console.shown
    assert console.interrupt() == 130
    assert "Traceback" not in console.shown


@pytest.mark.parametrize(
    ("arguments", "charts", "hint"),
    [
        ([], [], "No node tells of itself: "),
        (["--chart", "d*r"], ["gate"], "fit none of the charts that take part: gate of node "),
        (["--signal", "knock"], ["door"], "Nothing of what was asked for has come yet from door"),
    ],
)
def test_at_a_terminal_snoop_explains_why_it_shows_nothing(
    arguments: list[str], charts: list[str], hint: str, begin: Begin, terminal: Open
) -> None:
    for name in charts:
        begin(name)
    console = terminal("snoop", *arguments)
    wait_until(lambda: console.shows(hint), LIMIT_S)
    assert console.shown.startswith(
        "miros-mesh snoop: watching snoop_trace and snoop_spy; Ctrl-C ends\r\n"
    )
    assert console.interrupt() == 130


def test_snoop_explains_itself_to_who_reads_it_through_a_filter(terminal: Open) -> None:
    console = terminal("snoop", out=subprocess.DEVNULL)
    wait_until(lambda: console.shows("No node tells of itself: "), LIMIT_S)
    assert console.interrupt() == 130


def test_a_terminal_that_shows_json_gets_nothing_else(begin: Begin, terminal: Open) -> None:
    chart, console = begin("door"), terminal("snoop", "--json")
    chart.scribble_until(lambda: console.shows("look"))
    assert console.shown.startswith('{"')


@pytest.mark.parametrize("way", [("--no-color",), ("NO_COLOR",)])
def test_snoop_can_do_without_colours(way: tuple[str], begin: Begin, terminal: Open) -> None:
    flags = [each for each in way if each.startswith("--")]
    chart = begin("door")
    console = terminal("snoop", *flags, **{each: "1" for each in way if each not in flags})
    chart.scribble_until(lambda: console.shows("# look"))
    assert "\x1b" not in console.shown
    assert "[door] # look" in console.shown


@pytest.mark.parametrize("way", ["embedded", "rabbitmq"])
def test_snoop_into_a_pipe_gives_one_object_a_line(
    way: str, begin: Begin, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    environment = {}
    if way == "rabbitmq":
        url = request.getfixturevalue("vhost_url")
        environment = {"MIROS_MESH_BROKER_URL": url, "MESH_ENCRYPTION_KEY": KEY.decode()}
    config = MeshConfig.from_env(environment)
    begin("other", config)
    file, arguments = tmp_path / "out", ("--json", "--chart", "d*", "--seconds", "2")
    assert watched(file, begin("door", config), "snoop", *arguments, **environment) == (0, "")
    out = file.read_text()
    records = [from_ecs(json.loads(line)) for line in out.splitlines()]
    assert {record.chart for record in records} == {"door"}
    numbers = [record.sequence for record in records]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert "\x1b" not in out


def test_a_hostile_record_commands_no_terminal(terminal: Open) -> None:
    console = terminal("snoop")

    def shown() -> bool:
        record = SnoopRecord("n\x1bode", EVIL, "1ncarn", 1, "trace", 1.0, "\x07text")
        publish_sealed("snoop_trace", record)
        return console.shows("evil")

    begin_mesh()
    wait_until(shown, LIMIT_S)
    assert r"\x1b[2Jevil\r\n[red]" in console.shown
    assert "\x1b[2J" not in console.shown
    assert "\x07" not in console.shown


def begin_mesh() -> None:
    """Let the embedded broker of this test be there."""
    chart = NetworkedActiveObject("first")
    chart.start_at(alone(Heard()))
    chart.stop()


def test_a_reader_that_goes_away_ends_it_silently(begin: Begin) -> None:
    chart = begin("door")
    process = piped("snoop")
    assert process.stdout
    assert process.stderr
    fd = process.stdout.fileno()
    chart.scribble_until(lambda: select.select([fd], [], [], 0)[0])
    process.stdout.close()
    chart.scribble_until(lambda: process.poll() is not None)
    assert (process.returncode, process.stderr.read()) == (128 + signal.SIGPIPE, "")
    process.stderr.close()


def test_a_stuck_terminal_costs_the_chart_nothing_and_is_told_of_the_gap(begin: Begin) -> None:
    # Given a terminal that somebody has stopped: a pipe that nobody reads
    chart = begin("door")
    process = piped("snoop", "--json", "--trace")
    assert process.stdout
    fd = process.stdout.fileno()
    chart.scribble_until(lambda: select.select([fd], [], [], 0)[0])
    # When the chart does far more than pipe and queues hold
    chart.snoop_scribble("begin")
    last = 30_000
    for number in range(1, last + 1):
        chart.snoop_scribble(f"note {number}")
        if number % 5_000 == 0:
            # No faster than the recorder, or the gap would be the chart's own.
            wait_until(lambda: chart.idle)
    # Then the chart goes on as ever
    chart.post_fifo(event("work"))
    wait_until(lambda: chart.queue.last_signal == "work")
    # And the terminal, once it reads on, shows every record or says how many are not shown
    seen, missing = accounted(process.stdout, last)
    process.kill()
    process.communicate()
    assert missing > 0
    assert seen + missing == last


def accounted(lines: Iterable[str], last: int) -> tuple[int, int]:
    """How many notes are shown and how many are not, until every one is one or the other."""
    seen, missing = 0, 0
    for line in lines:
        fields = json.loads(line)
        missing += fields["miros_mesh"].get("missing", 0)
        seen += fields["message"].startswith("note ")
        if seen + missing >= last:
            break
    return seen, missing


def test_a_dead_monitor_costs_the_charts_of_a_broker_nothing(
    rabbitmq: RabbitServer, vhost_url: str, begin: Begin, started: Started
) -> None:
    # Given a monitor on a RabbitMQ, whose process does nothing any more
    recorder, heard = Recorder(), Heard()
    environment = {"MIROS_MESH_BROKER_URL": vhost_url, "MESH_ENCRYPTION_KEY": KEY.decode()}
    chart = begin("door", MeshConfig.from_env(environment, observers=(recorder,)))
    other = NetworkedActiveObject("gate", config=MeshConfig.from_env(environment, node_name="g"))
    other.start_at(alone(heard))
    # It is given few frames beyond the queue, so that the queue is soon full.
    environment["MIROS_MESH_PREFETCH_FRAMES"] = "10"
    process = started(piped("snoop", "--json", "--trace", **environment))
    assert process.stdout
    fd = process.stdout.fileno()
    chart.scribble_until(lambda: select.select([fd], [], [], 0)[0])
    process.send_signal(signal.SIGSTOP)
    # When a chart tells more than the broker keeps for it
    last = SNOOP_QUEUE_BYTES // len(LONG_NOTE) + 500
    for number in range(1, last + 1):
        chart.snoop_scribble(f"note {number} {LONG_NOTE}")
        if number % 100 == 0:
            chart.transmit(event("step", number))
            wait_until(lambda: not chart.health().outbox_events and chart.idle, LIMIT_S)
    # Then every event arrives, nothing is dropped, and the broker's queue has an end
    wait_until(lambda: heard.payloads == list(range(100, last + 1, 100)), LIMIT_S)
    other.stop()
    assert recorder.drops == []
    queues = ("list_queues", "-p", vhost_url.rpartition("/")[2], "message_bytes_ready")
    listed = rabbitmq.rabbitmqctl(*queues)
    assert SNOOP_QUEUE_BYTES // 2 < max(map(int, listed.split())) <= SNOOP_QUEUE_BYTES
    # And the monitor, brought back to life, goes on and tells what it has missed
    process.send_signal(signal.SIGCONT)
    seen, missing = accounted(process.stdout, last)
    assert min(seen, missing) > 0
    assert seen + missing == last


def test_a_file_and_what_comes_after_it_are_one_stream(begin: Begin, tmp_path: Path) -> None:
    chart, file = begin("door"), tmp_path / "kept.json"
    with file.open("w") as kept:
        keeper = subprocess.Popen([COMMAND, "snoop", "--json"], stdout=kept)
        chart.scribble_until(lambda: file.read_text().count("\n") >= 3)
        keeper.send_signal(signal.SIGTERM)
        assert keeper.wait(LIMIT_S) == 0
    # Lines that a crash tore, and one that is no record
    whole = file.read_text().splitlines()
    file.write_text("\n".join([*whole, whole[0][:40], '{"a": 1}', "[]", ""]))
    chart.snoop_scribble("unseen")
    arguments = ("--json", "--history", str(file), "--since", "1h", "--seconds", "1.5")
    code, err = watched(tmp_path / "out", chart, "snoop", *arguments)
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert code == 0
    assert err.startswith("3 lines of ")
    numbers: list[int] = []
    for fields in lines:
        if "missing" in fields["miros_mesh"]:
            numbers += [0] * fields["miros_mesh"]["missing"]
        else:
            numbers.append(fields["event"]["sequence"])
    first = numbers[0]
    assert 0 in numbers
    assert len(numbers) == numbers[-1] - first + 1
    assert [json.dumps(line) for line in lines[: len(whole)]] == whole


@pytest.mark.parametrize("arguments", [["snoop", "--json", "--history"], ["sequence"]])
def test_a_disk_that_is_full_is_told_in_a_line(arguments: list[str], tmp_path: Path) -> None:
    record = SnoopRecord("n", "door", "1ncarn", 1, "trace", 1.0, "e->go() a->b", "go", "a", "b")
    file = tmp_path / "kept.json"
    file.write_text(json.dumps(to_ecs(record)) + "\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *arguments, str(file)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    said = f"miros-mesh {arguments[0]}: what it prints cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--since", "10m"], "--since needs --history FILE: a broker keeps no records"),
        (["--since", "soon"], "90s, 10m, 2h, 1d"),
        (["--seconds", "0"], "a number from 1"),
        (["--kind", "transition"], "no record is of kind 'transition'; kinds are trace, scribble"),
        (["--trace", "--kind", "spy"], "no record of kind 'spy' comes by snoop_trace alone"),
    ],
)
def test_wrong_usage_of_snoop_is_explained(arguments: list[str], complaint: str) -> None:
    code, out, err = run("snoop", *arguments)
    assert (code, out) == (2, "")
    assert complaint in err


def test_a_history_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    code, out, err = run("snoop", "--history", str(tmp_path / "none.json"))
    assert (code, out) == (1, "")
    assert (
        err == f"miros-mesh snoop: {tmp_path}/none.json cannot be read: No such file or directory\n"
    )


def test_snoop_with_another_key_says_so_once_and_counts(
    vhost_url: str, begin: Begin, tmp_path: Path
) -> None:
    chart = begin("door", MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY))
    environment = {"MIROS_MESH_BROKER_URL": vhost_url, "MESH_ENCRYPTION_KEY": OTHER_KEY.decode()}
    code, err = watched(tmp_path / "out", chart, "snoop", "--seconds", "1.5", **environment)
    assert (code, (tmp_path / "out").read_text()) == (0, "")
    assert err.count("no key of the ring opens this frame") == 1
    assert re.search(r"^\d+ frames were not shown: undecryptable$", err, re.MULTILINE)


# top


def test_top_shows_a_live_table_on_a_screen_of_its_own(begin: Begin, terminal: Open) -> None:
    begin("door"), begin("gate")
    console = terminal("top", columns=110)
    wait_until(lambda: console.shows("gate") and console.shows("1 up"), LIMIT_S)
    assert console.shown.startswith("\x1b[?1049h")
    assert "listening" in console.shown
    assert console.interrupt() == 130
    assert console.shown.endswith("\x1b[?1049l")
    assert "Traceback" not in console.shown


def test_top_fits_into_forty_columns(begin: Begin, terminal: Open) -> None:
    begin("a-chart-with-quite-a-long-name-for-so-few-columns")
    console = terminal("top", "--once", columns=40)
    wait_until(lambda: console.shows("listening"), LIMIT_S)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.shown).splitlines()
    assert max(map(len, lines)) <= 40
    assert [line for line in lines if line.strip().startswith("a-chart-w") and "…" in line]


def test_top_into_a_pipe_is_one_table_without_colours(begin: Begin) -> None:
    begin("door")
    code, out, err = run("top")
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    [row] = [line for line in out.splitlines() if "door" in line]
    assert row.split()[:3] == ["door", "listening", "0.0"]
    assert row.split()[-2:] == ["1", "up"]


def test_top_as_json_tells_of_node_and_chart(vhost_url: str, begin: Begin) -> None:
    recorder = Recorder()
    environment = {"MIROS_MESH_BROKER_URL": vhost_url, "MESH_ENCRYPTION_KEY": KEY.decode()}
    chart = begin("door", MeshConfig.from_env(environment, observers=(recorder,)))
    chart.post_fifo(event("knock"))
    code, out, _ = run("top", "--json", **environment)
    # Before top came, nobody heard the pulses.
    assert not [drop for drop in recorder.drops if drop[0] == "pulse"]
    [node] = json.loads(out)["nodes"]
    [shown] = node["charts"]
    assert code == 0
    assert (node["consuming"], node["outbox_events"], list(node["peers"].values())) == (
        True,
        0,
        ["up"],
    )
    assert (shown["name"], shown["state"], shown["last_signal"], shown["handled"]) == (
        "door",
        "listening",
        "knock",
        1,
    )


def test_top_of_nobody_says_so() -> None:
    code, out, err = run("top")
    assert (code, out) == (1, "")
    assert "No node tells of itself" in err


def test_a_hostile_pulse_commands_no_terminal(terminal: Open) -> None:
    begin_mesh()
    console = terminal("top", columns=120)
    numbers = iter(range(1, 10_000))

    def shown() -> bool:
        charts = (ChartStatus(EVIL, "\x1b[2J", 1, "\x07", dead=False),)
        peers = (PeerStatus("\x1b[31m", "up"),)
        publish_sealed(
            "pulse", NodeStatus(EVIL, EVIL, "1ncarn", next(numbers), 1.0, True, 0, peers, charts)
        )
        return console.shows("evil")

    wait_until(shown, LIMIT_S)
    assert r"\x1b[2Jevil\r\n[red]" in console.shown
    assert "\x1b[2J" not in console.shown
    assert "\x07" not in console.shown


def test_top_without_rich_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise ImportError")
    code, out, err = run("top", PYTHONPATH=str(tmp_path))
    assert (code, out) == (1, "")
    assert err.startswith("miros-mesh top: top draws its table with rich: ")
    assert "pip install 'miros-mesh[top]'" in err
