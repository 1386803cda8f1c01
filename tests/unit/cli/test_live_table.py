"""The table of `miros-mesh top`."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console

from miros_mesh.cli.live_table import table
from miros_mesh.observe.snoop.views import ChartView, NodeView

DOOR = ChartView("door", "closed", 0.25, "knock", 7, dead=False)


def node(name: str = "plant", *charts: ChartView, silent_s: float = 0.0, **peers: str) -> NodeView:
    return NodeView(name, silent_s, True, 1234, peers or {"here": "up"}, charts)


def drawn(*nodes: NodeView, width: int = 160) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(nodes, width))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def cells(lines: Sequence[str]) -> list[list[str]]:
    return [line.split() for line in lines[2:]]


def test_a_node_is_named_once_and_each_chart_has_a_row() -> None:
    gate = ChartView("gate", "open", 250.0, "", 9, dead=True)
    first, second = cells(drawn(node("plant", DOOR, gate)))
    assert first == ["door", "closed", "0.2", "knock", "plant", "1,234", "1", "up"]
    assert second == ["gate", "dead", "250"]


def test_peers_are_counted_by_state() -> None:
    [row] = drawn(node("plant", DOOR, a="up", b="down", c="up"))[2:]
    assert row.endswith("2 up, 1 down")


def test_a_silent_node_says_for_how_long() -> None:
    [row] = drawn(node("plant", DOOR, silent_s=12.0))[2:]
    assert row.endswith("silent for 12 s")


def test_a_node_without_a_chart_has_a_row() -> None:
    assert cells(drawn(node())) == [["-", "plant", "1,234", "1", "up"]]


def test_a_narrow_terminal_gets_the_first_columns() -> None:
    assert drawn(node("plant", DOOR), width=50)[0].split() == ["chart", "state", "ev/s"]
    header = drawn(node("plant", DOOR), width=80)[0].split()
    assert header == ["chart", "state", "ev/s", "last", "event"]


def test_a_name_commands_neither_rich_nor_a_terminal() -> None:
    evil = ChartView("[red]x\x1b[2J\n", "", None, "", 0, dead=False)
    [row] = drawn(node("plant", evil))[2:]
    assert row.strip().startswith(r"[red]x\x1b[2J\n")
