"""The table of `miros-mesh top`, drawn with rich: the one module that imports it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from miros_mesh.observe.snoop.views import ChartView, NodeView
from miros_mesh.text import printable

EVERY_S = 1.0
_COLUMNS = ("chart", "state", "ev/s", "last event", "node", "outbox", "peers")
# A terminal narrower than 60 characters has room for the first 3 columns, below 90 for 4.
_FIRST_OF = {60: 3, 90: 4}
_NUMBERS = ("ev/s", "outbox")
# Rates from this one up have no decimals: their last events are noise.
_WHOLE_FROM = 100
# rich takes 80 where there is no terminal.
_FILE_WIDTH = 160


def console(*, color: bool) -> Console:
    """Make a console on standard output; a file or a pipe has room for all columns."""
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(
        no_color=not color,
        # rich would colour numbers, draw `:smile:` and obey `[red]`; names come from other hosts.
        highlight=False,
        emoji=False,
        markup=False,
        width=_FILE_WIDTH if wide else None,
    )


def follow(console: Console, look: Callable[[], tuple[Sequence[NodeView], Sequence[str]]]) -> None:
    """Show the nodes and remarks anew each second, on a screen of its own, until interrupted."""
    pause = threading.Event()
    # The alternate screen, which leaves the terminal as it was. Without rich's own thread: nothing
    # changes between two looks.
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            nodes, remarks = look()
            below = [Text(line, "dim") for line in (*remarks, _summary(nodes))]
            live.update(Group(table(nodes, console.width), *below), refresh=True)
            pause.wait(EVERY_S)


def table(nodes: Sequence[NodeView], width: int) -> Table:
    """Draw a row for each chart; a narrow terminal gets fewer columns, and long names are cut."""
    room = next((first for limit, first in _FIRST_OF.items() if width < limit), len(_COLUMNS))
    shown = _COLUMNS[:room]
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in shown:
        drawn.add_column(_cut(column), justify="right" if column in _NUMBERS else "left")
    for node, chart, first in _rows(nodes):
        cells = _cells(node, chart, first=first)
        drawn.add_row(*(_cut(cells[c], _style(c, node, chart)) for c in shown))
    return drawn


def _cut(text: str, style: str = "") -> Text:
    """Make one line of a text that may look like rich's markup, or command a terminal."""
    # A column that may not wrap is not the one that rich narrows when it is the widest.
    return Text(printable(text), style, no_wrap=True, overflow="ellipsis")


def _rows(nodes: Sequence[NodeView]) -> Iterator[tuple[NodeView, ChartView | None, bool]]:
    for node in nodes:
        first, *others = node.charts or (None,)
        yield node, first, True
        for chart in others:
            yield node, chart, False


def _cells(node: NodeView, chart: ChartView | None, *, first: bool) -> dict[str, str]:
    return {
        "chart": chart.name if chart else "-",
        "state": ("dead" if chart.dead else chart.state) if chart else "",
        "ev/s": _rate(chart.events_per_s if chart else None),
        "last event": chart.last_signal if chart else "",
        "node": node.name if first else "",
        "outbox": f"{node.outbox_events:,}" if first else "",
        "peers": _peers(node) if first else "",
    }


def _rate(events_per_s: float | None) -> str:
    if events_per_s is None:
        return ""
    return f"{events_per_s:,.1f}" if events_per_s < _WHOLE_FROM else f"{events_per_s:,.0f}"


def _peers(node: NodeView) -> str:
    if node.silent:
        return f"silent for {node.silent_s:.0f} s"
    states = list(node.peers.values())
    words = [f"{states.count(s)} {s}" for s in ("up", "blocked", "down") if s in states]
    return ", ".join(words if node.consuming else [*words, "not consuming"])


def _style(column: str, node: NodeView, chart: ChartView | None) -> str:
    # What it said last may be true no more.
    if node.silent:
        return "dim"
    if column == "peers":
        well = node.consuming and all(state == "up" for state in node.peers.values())
        return "green" if well else "bold red"
    if chart and chart.dead and column in ("chart", "state"):
        return "bold red"
    return {"chart": "magenta", "state": "bold"}.get(column, "")


def _summary(nodes: Sequence[NodeView]) -> str:
    charts = sum(len(node.charts) for node in nodes)
    return f"{len(nodes)} nodes, {charts} charts at {time.strftime('%H:%M:%S')}; Ctrl-C ends"
