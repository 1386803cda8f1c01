"""The picture of `miros-mesh top` in docs/: `PYTHONPATH=tests python -m support.top_picture`."""

from __future__ import annotations

import io
import re
import tempfile
import threading
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any

from miros import Event, return_status, signals, spy_on
from rich.console import Console

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.cli.live_table import table
from miros_mesh.observe.snoop.overview import Overview

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "top.svg"
CHARTS = {"gatehouse": {"front": 0.4, "back": 3.0}, "attic": {"window": 0.02, "hatch": 0.11}}
WIDTH = 88
SECONDS = 4.5


def draw(folder: Path) -> str:
    """What is there while four charts of two nodes are at work."""
    with ExitStack() as stack:
        overview = stack.enter_context(Overview(MeshConfig(home=folder)))
        ended = threading.Event()
        for node, charts in CHARTS.items():
            for name, every_s in charts.items():
                chart = NetworkedActiveObject(
                    name, config=MeshConfig(home=folder, node_name=node), on_trace_rx=lambda _: None
                )
                chart.enable_snoop_trace()
                chart.start_at(closed)
                stack.callback(chart.stop)
                worker = threading.Thread(target=_work, args=(chart, every_s, ended))
                worker.start()
                stack.callback(worker.join)
        stack.callback(ended.set)
        ended.wait(SECONDS)
        console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
        console.print(table(overview.nodes, 120))
    picture = console.export_svg(title="miros-mesh top", unique_id="top")
    # A page fetches nothing from others.
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)


@spy_on
def closed(chart: Any, event: Event) -> Any:
    """A door as in Getting started; what is not for it, it takes and stays."""
    return _door(chart, event, signals.knock, opened)


@spy_on
def opened(chart: Any, event: Event) -> Any:
    """The other state."""
    return _door(chart, event, signals.shut, closed)


def _door(chart: Any, event: Event, key: int, other: Any) -> Any:
    if event.signal == key:
        return chart.trans(other)
    if event.signal in (signals.knock, signals.shut):
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


def _work(chart: NetworkedActiveObject, every_s: float, ended: threading.Event) -> None:
    for signal in cycle(("knock", "shut")):
        chart.post_fifo(Event(signal=signal))
        if ended.wait(every_s):
            return


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        PICTURE.write_text(draw(Path(home)))
