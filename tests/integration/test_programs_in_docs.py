"""Every whole program that a page shows runs as it is shown."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest

from miros_mesh import MeshConfig, NetworkedActiveObject
from support import doc_pages
from support.charts_at_work import Heard, alone
from support.dead_letters import keep, refused
from support.waiting import wait_until

LIMIT_S = 60.0

TALK = ("README.md", "talk.py")
FRONT = ("docs/index.md", "talk.py")
DOOR = ("docs/getting-started.md", "door.py")
PAYLOADS = ("docs/getting-started.md", "payloads.py")
ORDERS = ("docs/typed-payloads.md", "orders.py")
OBSERVED = ("docs/observability.md", "observed.py")
COUNTED = ("docs/observability.md", "counted.py")
WATCHING = ("docs/observability.md", "watching.py")
PUT_BACK = ("docs/dead-letters.md", "put_back.py")
ASKING = ("docs/patterns.md", "asking.py")
ONE_OF_MANY = ("docs/patterns.md", "one_of_many.py")
TILLS = ("docs/patterns.md", "tills.py")
QUESTIONS = ("docs/patterns.md", "questions.py")
LAMP = ("docs/testing.md", "test_lamp.py")
ORDER = ("docs/testing.md", "test_order.py")
NETS = ("docs/from-miros-rabbitmq.md", "nets.py")
ALONE = [
    ("docs/discovery-alone.md", name)
    for name in (
        "scout.py",
        "cache_file.py",
        "man_net.py",
        "lan_recce.py",
        "lan.py",
        "producers.py",
    )
]


def test_each_program_of_the_pages_is_tested_here() -> None:
    pages = {
        TALK,
        FRONT,
        DOOR,
        PAYLOADS,
        ORDERS,
        OBSERVED,
        COUNTED,
        WATCHING,
        PUT_BACK,
        ASKING,
        ONE_OF_MANY,
        TILLS,
        QUESTIONS,
        LAMP,
        ORDER,
        NETS,
        *ALONE,
    }
    assert doc_pages.programs() == pages


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (TALK, "alice got a pong from bob\n"),
        (FRONT, "alice got a pong from bob\n"),
        (PAYLOADS, "painter got {'at': Point(x=3, y=4), 'tags': {'red'}}\n"),
        (ASKING, "price {'cents': 120} from shop\n"),
        (ONE_OF_MANY, "north stands at 7\n"),
        (TILLS, "paid once each: True\n"),
        (ORDERS, "charged 22.10 for 2\n$.items[0].price: expected Decimal, got float\n"),
        (WATCHING, "front e->start_at() top->closed\nfront e->knock() closed->opened\n"),
        (OBSERVED, 'miros_mesh_handed_over_events_total{chart="back"} 1.0\n'),
        (COUNTED, 'miros_mesh_transmitted_events_total{chart="front",network="mesh"} 1.0\n'),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_a_program_prints_what_its_page_says(
    program: tuple[str, str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = _run(str(_written(program, tmp_path)))
    assert done.stdout == says
    assert done.stderr == ""
    page = (doc_pages.ROOT / program[0]).read_text()
    assert says.strip() in page


def test_a_program_whose_requests_end_in_each_way_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = _run(str(_written(QUESTIONS, tmp_path)))
    # In any order, as the page says.
    said = doc_pages.output(*QUESTIONS).splitlines()
    assert sorted(done.stdout.splitlines()) == sorted(said)
    assert done.stderr == ""


def test_a_program_puts_back_what_was_refused(tmp_path: Path) -> None:
    # Given the queue of a chart that is away, and an event that the chart has refused
    config = MeshConfig(node_name="house")
    chart = NetworkedActiveObject("door", config=config)
    chart.start_at(alone(Heard()))
    chart.stop()
    keep(config, refused("knock", {"door": 3}))

    done = _run(str(_written(PUT_BACK, tmp_path)))

    assert (done.stdout.splitlines()[-1], done.stderr) == ("0 left", "")
    assert done.stdout in (doc_pages.ROOT / PUT_BACK[0]).read_text()


def test_the_program_of_the_readme_has_about_twenty_lines() -> None:
    assert 15 <= len([line for line in doc_pages.program(*TALK).splitlines() if line]) <= 25


@pytest.mark.parametrize(("program", "tests"), [(LAMP, 1), (ORDER, 3)])
def test_the_tests_of_the_testing_page_pass(
    program: tuple[str, str], tests: int, tmp_path: Path
) -> None:
    file = _written(program, tmp_path)
    done = _run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(file)
    )
    assert f"{tests} passed" in done.stdout


def test_callbacks_get_what_the_page_says(tmp_path: Path) -> None:
    done = _run(str(_written(NETS, tmp_path)))
    # Of different networks in any order.
    assert sorted(done.stdout.splitlines()) == sorted(doc_pages.output(*NETS).splitlines())
    assert done.stderr == ""


@pytest.mark.parametrize("program", ALONE, ids=lambda program: str(program[1]))
def test_a_chart_of_discovery_alone_gives_the_trace_of_its_page(
    program: tuple[str, str], tmp_path: Path
) -> None:
    wanted = _steps(doc_pages.output(*program))
    out = tmp_path / "out"
    with out.open("w") as output:
        alone = subprocess.Popen(
            [sys.executable, "-u", str(_written(program, tmp_path))],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            own = wanted.get("", [])
            wait_until(lambda: _begins_with(_steps(out.read_text(), own), wanted), LIMIT_S)
        finally:
            alone.communicate("\n", LIMIT_S)
    assert alone.returncode == 0
    assert "Traceback" not in out.read_text()


def _steps(text: str, own: Sequence[str] = ()) -> dict[str, list[str]]:
    """What each chart did; a line of the program itself under no name.

    Charts and the program print on threads of their own, each a line and then its end: two lines
    may stand in one, so those that are known are taken apart first.
    """
    for line in own:
        text = text.replace(line, f"\n{line}\n")
    text = re.sub(r"(?=\[\d{4}-\d\d-\d\d )", "\n", text)
    steps: dict[str, list[str]] = {}
    for line in filter(None, text.splitlines()):
        trace = re.fullmatch(r"\[[-0-9:. ]+\] \[(\S+)\] (.*)", line)
        name, step = trace.groups() if trace else ("", line)
        steps.setdefault(name, []).append(step)
    return steps


def _begins_with(steps: dict[str, list[str]], wanted: dict[str, list[str]]) -> bool:
    # A chart that looks again goes on, and so does another of its node.
    for name, lines in wanted.items():
        got = steps.get(name, [])
        if not (set(lines) <= set(got) if name == "" else got[: len(lines)] == lines):
            return False
    return True


def test_two_doors_open_each_other(tmp_path: Path) -> None:
    program = _written(DOOR, tmp_path)
    with ExitStack() as stack:
        # Given two doors in two processes, both started
        back, seen_by_back = _door(stack, program, "back")
        wait_until(lambda: _moves(seen_by_back, "back", "e->start_at() top->closed"), LIMIT_S)
        front, seen_by_front = _door(stack, program, "front")
        wait_until(lambda: _moves(seen_by_back, "front", "e->start_at() top->closed"), LIMIT_S)
        # When somebody presses return at the back door
        _stdin(back).write("\n")
        _stdin(back).flush()
        # Then the front door opens and shuts, and both terminals show it
        for seen in (seen_by_back, seen_by_front):
            wait_until(lambda s=seen: _moves(s, "front", "e->knock() closed->opened"), LIMIT_S)
            wait_until(lambda s=seen: _moves(s, "front", "e->shut() opened->closed"), LIMIT_S)
        # And the back door stayed closed
        assert not _moves(seen_by_front, "back", "e->knock() closed->opened")
        # And the end of the input is the end of a door
        for door in (back, front):
            _stdin(door).close()
            assert door.wait(LIMIT_S) == 0


def _written(program: tuple[str, str], folder: Path) -> Path:
    file = folder / program[1]
    file.write_text(doc_pages.program(*program))
    return file


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)


def _door(stack: ExitStack, program: Path, name: str) -> tuple[subprocess.Popen[str], Path]:
    seen = program.with_name(f"{name}.txt")
    output = stack.enter_context(seen.open("w"))
    command = [sys.executable, str(program), name]
    door = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, text=True)
    stack.callback(door.wait, LIMIT_S)
    stack.callback(door.kill)
    return door, seen


def _stdin(door: subprocess.Popen[str]) -> IO[str]:
    assert door.stdin is not None
    return door.stdin


def _moves(seen: Path, chart: str, move: str) -> bool:
    return any(f"m{chart}\033" in line and move in line for line in seen.read_text().splitlines())
