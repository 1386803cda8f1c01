"""What one terminal shows of every chart at work, in the ancestor's form."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Literal, TypeAlias

import pytest

from miros_mesh import MeshConfig, NetworkedActiveObject, SnoopRecord
from miros_mesh.errors import MeshError
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import (
    KEY,
    OTHER_KEY,
    Ground,
    Heard,
    Launch,
    Recorder,
    alone,
    event,
    publish,
    seal,
)
from support.waiting import wait_until

PROGRAM = Path(__file__).parent / "programs" / "outer_inner.py"
OWN, OTHER, RESET = "\x1b[94m", "\x1b[95m", "\x1b[0m"
STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")
END_LIMIT_S = 20.0

START_SPY = [
    "START",
    "SEARCH_FOR_SUPER_SIGNAL:outer",
    "ENTRY_SIGNAL:outer",
    "INIT_SIGNAL:outer",
    "<- Queued:(0) Deferred:(0)",
]
TO_INNER_SPY = [
    "to_inner:outer",
    "SEARCH_FOR_SUPER_SIGNAL:inner",
    "ENTRY_SIGNAL:inner",
    "INIT_SIGNAL:inner",
    "<- Queued:(0) Deferred:(0)",
]


class Program:
    """The chart `own` in a process of its own, with its terminal."""

    def __init__(self, *streams: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "own", *streams],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def read_until(self, text: str) -> None:
        """Take lines up to one with this text."""
        assert self._process.stdout
        for line in self._process.stdout:
            self.lines.append(line.removesuffix("\n"))
            if text in line:
                return
        pytest.fail(f"{text!r} was not shown: {self.lines}")

    def tell(self, command: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def end(self) -> list[str]:
        """Let it end; every line that it showed."""
        out, err = self._process.communicate(timeout=END_LIMIT_S)
        assert (self._process.returncode, err) == (0, "")
        self.lines += out.splitlines()
        return self.lines

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


Show: TypeAlias = Callable[..., Program]
Start: TypeAlias = Callable[..., NetworkedActiveObject]


@pytest.fixture
def show() -> Iterator[Show]:
    with ExitStack() as running:

        def start(*streams: str, **environment: str) -> Program:
            program = Program(*streams, **environment)
            running.callback(program.close)
            return program

        yield start


@pytest.fixture
def other() -> Iterator[Start]:
    """A chart of this process that takes part in the trace and prints nothing here."""
    with ExitStack() as running:

        def start(name: str, config: MeshConfig | None = None) -> NetworkedActiveObject:
            chart = NetworkedActiveObject(name, config=config, on_trace_rx=lambda _: None)
            chart.enable_snoop_trace()
            chart.start_at(alone(Heard()))
            running.callback(chart.stop)
            return chart

        yield start


def unstamped(lines: list[str]) -> list[str]:
    return [STAMP.sub("TIME", line) for line in lines]


# The lines


@pytest.mark.parametrize("way", ["embedded", "rabbitmq"])
def test_the_live_trace_shows_own_and_other_charts_in_two_colours(
    way: str, show: Show, other: Start, request: pytest.FixtureRequest
) -> None:
    # Given a program that watches the trace, on a broker that both processes use
    environment = {}
    if way == "rabbitmq":
        url = request.getfixturevalue("vhost_url")
        environment = {"MIROS_MESH_BROKER_URL": url, "MESH_ENCRYPTION_KEY": KEY.decode()}
    program = show("trace", **environment)
    program.read_until("e->start_at()")
    # When another process joins, and then the own chart moves
    other("friend", MeshConfig.from_env(environment))
    program.read_until("friend")
    program.tell("post to_inner")
    program.read_until("to_inner")
    program.tell("post to_outer")
    program.read_until("to_outer")
    # Then the screen shows all of it, the names in two colours
    assert unstamped(program.end()) == [
        f" [+t] [TIME] [{OWN}own{RESET}] e->start_at() top->outer",
        f" [+t] [TIME] [{OTHER}friend{RESET}] e->start_at() top->listening",
        f" [+t] [TIME] [{OWN}own{RESET}] e->to_inner() outer->inner",
        f" [+t] [TIME] [{OWN}own{RESET}] e->to_outer() inner->outer",
    ]


def test_the_trace_without_colours_is_the_same_but_for_them(show: Show, other: Start) -> None:
    program = show("trace_no_color")
    program.read_until("e->start_at()")
    other("friend")
    program.read_until("friend")
    assert unstamped(program.end()) == [
        " [+t] [TIME] [own] e->start_at() top->outer",
        " [+t] [TIME] [friend] e->start_at() top->listening",
    ]


@pytest.mark.parametrize(("stream", "name"), [("spy", f"{OWN}own{RESET}"), ("spy_no_color", "own")])
def test_the_live_spy_shows_every_step(show: Show, stream: str, name: str) -> None:
    program = show(stream)
    program.read_until("Queued")
    program.tell("post to_inner")
    program.read_until("Queued")
    assert program.end() == [f" [+s] {name} {step}" for step in START_SPY + TO_INNER_SPY]


def test_trace_and_spy_go_to_one_screen_and_the_trace_follows_its_steps(show: Show) -> None:
    program = show("trace_no_color", "spy_no_color")
    program.read_until("e->start_at()")
    program.tell("post to_inner")
    program.read_until("e->to_inner()")
    assert unstamped(program.end()) == [
        *(f" [+s] own {step}" for step in START_SPY),
        " [+t] [TIME] [own] e->start_at() top->outer",
        *(f" [+s] own {step}" for step in TO_INNER_SPY),
        " [+t] [TIME] [own] e->to_inner() outer->inner",
    ]


@pytest.mark.parametrize(("zone", "hours"), [("UTC0", 0), ("JST-9", 9)])
def test_the_time_of_a_line_is_that_of_the_readers_clock(show: Show, zone: str, hours: int) -> None:
    program = show("trace", TZ=zone)
    [line] = program.end()
    [stamp] = STAMP.findall(line)
    shown = datetime.fromisoformat(stamp).replace(tzinfo=timezone(timedelta(hours=hours)))
    assert abs(datetime.now(UTC) - shown) < timedelta(seconds=END_LIMIT_S)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("trace", r" [+t] [TIME] [\x1b[2Jevil\r] \x07text\n"),
        ("spy", r" [+s] \x1b[2Jevil\r \x07text\n"),
        ("scribble", r" [+t] [TIME] [\x1b[2Jevil\r] # \x07text\n"),
    ],
)
def test_a_foreign_record_cannot_command_the_terminal(
    show: Show, kind: Literal["trace", "spy", "scribble"], line: str
) -> None:
    # Given a program that watches
    program = show("trace_no_color")
    program.read_until("e->start_at()")
    # When somebody with the key sends what no chart of ours would
    config = MeshConfig()
    record = SnoopRecord("node", "\x1b[2Jevil\r", "other", 1, kind, 1.0, "\x07text\n")
    publish(config, seal(config, record, network="snoop_trace"), network="snoop_trace")
    # Then it is shown, but not obeyed
    program.read_until("evil")
    assert unstamped(program.end())[1] == line


# Scribbles


@pytest.mark.parametrize(
    ("stream", "name"),
    [("trace", f"{OWN}own{RESET}"), ("trace_no_color", "own"), ("spy_no_color", "own")],
)
def test_a_scribble_is_a_line_among_the_others(show: Show, stream: str, name: str) -> None:
    program = show(stream)
    program.read_until("outer")
    program.tell("scribble a note, with: everything()")
    program.read_until("note")
    assert f" [+t] [TIME] [{name}] # a note, with: everything()" in unstamped(program.end())


def test_other_nodes_see_a_scribble_as_a_record_with_its_cause(ground: Ground) -> None:
    # Given a chart that scribbles when it is asked, and one that watches
    records: list[SnoopRecord] = []
    asker = NetworkedActiveObject("asker", config=ground.node("one"), on_trace_rx=records.append)
    writer = NetworkedActiveObject("writer", config=ground.node("two"), on_trace_rx=lambda _: None)
    asker.enable_snoop_trace()
    asker.start_at(alone(Heard()))
    writer.enable_snoop_trace()
    writer.start_at(alone(lambda chart, e: chart.snoop_scribble(f"asked to {e.signal_name}")))
    try:
        asker.transmit(event("write"))
        [note] = wait_until(lambda: [r for r in records if r.kind == "scribble"])
    finally:
        asker.stop()
        writer.stop()
    assert (note.chart, note.text) == ("writer", "asked to write")
    assert note.cause is not None
    assert note.cause.endswith("/asker/1")


def test_a_scribble_of_a_chart_that_takes_part_in_no_stream_goes_nowhere(
    capfd: pytest.CaptureFixture[str],
) -> None:
    chart = NetworkedActiveObject("quiet", config=MemoryMesh().config())
    chart.start_at(alone(Heard()))
    chart.snoop_scribble("nobody listens")
    chart.stop()
    assert capfd.readouterr() == ("", "")


# Taking part


def test_snooping_can_begin_while_the_chart_is_at_work(ground: Ground) -> None:
    records: list[SnoopRecord] = []
    chart = NetworkedActiveObject(
        "late", config=ground.node("one"), on_trace_rx=records.append, on_spy_rx=records.append
    )
    chart.start_at(alone(Heard()))
    try:
        chart.enable_snoop_spy()
        chart.post_fifo(event("work"))
        wait_until(lambda: "work:listening" in [r.text for r in records])
    finally:
        chart.stop()


def test_records_are_numbered_and_in_the_order_of_the_steps(ground: Ground) -> None:
    records: list[SnoopRecord] = []
    watcher = NetworkedActiveObject("watcher", config=ground.node("one"), on_spy_rx=records.append)
    worker = NetworkedActiveObject("worker", config=ground.node("two"), on_spy_rx=lambda _: None)
    for chart in (watcher, worker):
        chart.enable_snoop_spy()
        chart.start_at(alone(Heard()))
    try:
        for number in range(50):
            worker.post_fifo(event("step", number))
        wait_until(lambda: [r.text for r in records].count("step:listening") == 50)
    finally:
        watcher.stop()
        worker.stop()
    of_worker = [r for r in records if r.chart == "worker"]
    assert [r.sequence for r in of_worker] == list(range(1, len(of_worker) + 1))
    assert [r.time for r in of_worker] == sorted(r.time for r in of_worker)


def test_a_trace_under_another_key_stays_private_while_the_mesh_goes_on(
    ground: Ground,
) -> None:
    # Given two charts that share the key of the mesh and not that of the trace
    seen: list[SnoopRecord] = []
    heard, recorder = Heard(), Recorder()
    shared = ground.node("one", observers=(recorder,)).overridden(mesh_encryption_key=KEY)
    private = ground.node("two").overridden(
        mesh_encryption_key=KEY, snoop_trace_encryption_key=OTHER_KEY
    )
    watcher = NetworkedActiveObject("watcher", config=shared, on_trace_rx=seen.append)
    secret = NetworkedActiveObject("secret", config=private, on_trace_rx=lambda _: None)
    for chart in (watcher, secret):
        chart.enable_snoop_trace()
        chart.start_at(alone(heard))
    try:
        # When one of them works and speaks
        secret.transmit(event("spoken"))
        # Then it is heard, and its trace is refused and counted
        wait_until(lambda: heard == [("spoken", None)])
        wait_until(lambda: ("snoop_trace", "undecryptable", 1) in recorder.drops)
    finally:
        watcher.stop()
        secret.stop()
    assert {record.chart for record in seen} == {"watcher"}


def test_a_snoop_callback_that_raises_is_logged_once_and_called_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    called: list[str] = []

    def fail(record: SnoopRecord) -> None:
        called.append(record.text)
        raise MeshError("in the callback")

    chart = NetworkedActiveObject("chart", config=MemoryMesh().config(), on_spy_rx=fail)
    chart.enable_snoop_spy()
    chart.start_at(alone(Heard()))
    chart.post_fifo(event("work"))
    wait_until(lambda: "work:listening" in called)
    chart.stop()
    assert len([r for r in caplog.records if "a snoop callback raised" in r.getMessage()]) == 1


def test_a_text_that_no_frame_can_carry_arrives_escaped(ground: Ground, launch: Launch) -> None:
    # Given a watcher, and a chart that notes the name of a file that is no UTF-8
    seen: list[SnoopRecord] = []
    watcher = launch("watcher", ground.node("one"), on_trace_rx=seen.append)
    worker = launch("worker", ground.node("two"))
    watcher.enable_snoop_trace()
    worker.enable_snoop_trace_no_color()

    worker.snoop_scribble("caf\udce9.txt")

    wait_until(lambda: r"caf\udce9.txt" in [r.text for r in seen if r.chart == "worker"])
    of_worker = [r.sequence for r in seen if r.chart == "worker"]
    assert of_worker == list(range(of_worker[0], of_worker[0] + len(of_worker)))
