"""`miros-mesh sequence`, run as a user runs it, on logs and on a mesh at work."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from miros import Event, return_status, signals, spy_on

from miros_mesh import NetworkedActiveObject
from miros_mesh.cli.demo import command as demo
from miros_mesh.observe.sequence.lines import read
from support import sequence_diagrams
from support.charts_at_work import State
from support.waiting import wait_until

COMMAND = str(Path(sys.executable).with_name("miros-mesh"))
LOG = sequence_diagrams.FOLDER / "door.jsonl"
END_LIMIT_S = 40.0


def run(*arguments: str | Path, log: bytes | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [COMMAND, "sequence", *arguments],
        input=log if log is not None else b"",
        capture_output=True,
        timeout=END_LIMIT_S,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def golden(form: str) -> str:
    return LOG.with_suffix(form).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "form"),
    [("text", ".txt"), ("mermaid", ".mmd"), ("plantuml", ".puml"), ("svg", ".svg")],
)
def test_each_form_comes_out_of_the_command(name: str, form: str) -> None:
    done = run(LOG, "--format", name)
    assert (done.returncode, done.stdout, done.stderr) == (0, golden(form), "")


def test_a_pipe_is_read_and_the_form_follows_the_name_of_the_file(tmp_path: Path) -> None:
    done = run("--output", tmp_path / "run.HTML", log=LOG.read_bytes())
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("miros-mesh sequence: 10 transitions, 3 charts, from 2026-")
    assert (tmp_path / "run.HTML").read_text(encoding="utf-8") == golden(".html")


@pytest.mark.parametrize("arguments", [["plain"], ["plain.txt"], ["x.log", "--format", "text"]])
def test_a_file_of_text_has_its_ending_or_none_or_that_which_somebody_wants(
    arguments: list[str], tmp_path: Path
) -> None:
    name, *form = arguments
    assert run(LOG, "--output", tmp_path / name, *form).returncode == 0
    assert (tmp_path / name).read_text() == golden(".txt")


def test_torn_lines_are_skipped_and_named() -> None:
    # Given a log with lines that a full disk or a kill has torn
    lines = LOG.read_bytes().splitlines(keepends=True)
    torn = [lines[0][:40] + b"\n", b"\x1b[31m\xff\n", *lines, lines[-1][:-60]]
    # When it is drawn
    done = run("-", log=b"".join(torn))
    # Then the rest is there
    assert (done.returncode, done.stdout) == (0, golden(".txt"))
    assert done.stderr == (
        f"miros-mesh sequence: skipped 3 of {len(torn)} lines of standard input, "
        f"which hold no whole snoop record: 1-2, {len(torn)}\n"
    )


def test_many_torn_places_are_counted_and_not_all_listed() -> None:
    first = LOG.read_bytes().splitlines(keepends=True)[0]
    done = run("-", log=(first + b"torn\n") * 30)
    assert ": 2, 4, 6, 8, 10, 12, 14, 16, 18, 20 and 20 more places\n" in done.stderr


def test_charts_and_nodes_are_chosen_by_patterns() -> None:
    only = run(LOG, "--chart", "la*", "--chart", "door", "--node", "r?of").stdout
    assert re.findall(r"\[Statechart: (\w+)\]", only) == ["lamp"]


@pytest.mark.parametrize(
    ("arguments", "log", "complaint"),
    [
        (["-"], b"", "standard input is empty"),
        (["-"], b"\n\n", "standard input holds no snoop record"),
        (["-"], b"hello\n", "should be the log of a snoop stream"),
        (["nowhere.log"], None, "nowhere.log cannot be read: No such file or directory"),
        (["/"], None, "/ cannot be read: Is a directory"),
        ([LOG, "--chart", "nobody"], None, "it has chart door of node hall, chart guard of node"),
        ([LOG, "--output", "/nowhere/a.svg"], None, "/nowhere/a.svg cannot be written: No such"),
        (["no\x1bbody"], None, "no\\x1bbody cannot be read"),
    ],
)
def test_bad_input_is_named(arguments: list[str], log: bytes | None, complaint: str) -> None:
    done = run(*arguments, log=log)
    assert (done.returncode, done.stdout) == (1, "")
    assert complaint in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["x.log", "--seconds", "3"], "give a FILE or --seconds, not both"),
        (
            ["--broker", "amqp://nowhere//"],
            "--broker or --broker-file names the mesh to watch and needs --seconds",
        ),
        (["--seconds", "0"], "a number from 1 to 3600 is needed"),
        (["--format", "png"], "invalid choice: 'png'"),
        ([LOG, "--output", "/nowhere/live.PNG"], ".txt, .mmd, .puml, .svg, .html, .htm"),
    ],
)
def test_wrong_usage_is_explained(arguments: list[str], complaint: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr


def test_at_a_terminal_it_says_what_to_do_instead_of_waiting() -> None:
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            [COMMAND, "sequence"],
            stdin=slave,
            capture_output=True,
            timeout=END_LIMIT_S,
            check=False,
        )
    finally:
        os.close(master)
        os.close(slave)
    assert done.returncode == 2
    assert b"pipe a log in, or watch with --seconds 20" in done.stderr


@contextmanager
def watching(seconds: str) -> Iterator[subprocess.Popen[str]]:
    """The command, once it hears the mesh."""
    process = subprocess.Popen(
        [COMMAND, "sequence", "--seconds", seconds, "--format", "mermaid"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        assert "watching the mesh for" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def _state(name: str, target: str) -> State:
    """Is left at each `go`, which it tells the others by `ring`, and at theirs."""

    def state(chart: Any, event: Event) -> Any:
        if event.signal_name == "go":
            chart.transmit(Event(signal=signals.ring))
        if event.signal_name in ("go", "ring"):
            return chart.trans(STATES[target])
        chart.temp.fun = chart.top
        return return_status.SUPER

    state.__name__ = name
    return spy_on(state)


STATES = {"up": _state("up", "down"), "down": _state("down", "up")}


def test_a_mesh_at_work_is_drawn() -> None:
    # Given somebody who watches, and two charts
    with watching("3") as process, ExitStack() as running:
        names = ("north", "south")
        charts = [NetworkedActiveObject(name, on_trace_rx=lambda _: None) for name in names]
        for chart in charts:
            chart.enable_snoop_trace()
            chart.start_at(STATES["up"])
            running.callback(chart.stop)
        # When one rings the other all the time
        wait_until(
            lambda: charts[0].post_fifo(Event(signal=signals.go)) or process.poll() is not None,
            30,
        )
        out, err = process.communicate(timeout=END_LIMIT_S)
    # Then each ring is an arrow from one to the other
    assert (process.returncode, err) == (0, "")
    [north] = re.findall(r"participant (c\d) as north", out)
    [south] = re.findall(r"participant (c\d) as south", out)
    assert re.search(rf"{north}->>{south}: \(\d+\) ring\(\) up → down", out)
    assert re.search(rf"{north}->>{north}: \(\d+\) go\(\) up → down", out)
    assert f"{south}->>{north}" not in out


def test_a_silent_mesh_is_told_even_when_somebody_is_impatient() -> None:
    with watching("600") as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=END_LIMIT_S)
    assert (process.returncode, out) == (1, "")
    assert "interrupted\n" in err
    assert "no transition was told meanwhile; charts take part after enable_snoop_trace" in err


def test_a_demo_that_cannot_write_its_diagram_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with LOG.open("rb") as lines:
        demo._draw(read(lines).records)
    demo._draw([])
    no_folder, no_record = capsys.readouterr().out.strip().split("\n\n")
    assert no_folder.startswith("There is no sequence diagram of this run:\n[Errno 2] No such file")
    assert "the trace holds no transition" in no_record
