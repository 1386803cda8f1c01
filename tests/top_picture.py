"""The picture of `miros-mesh top` in docs/: `PYTHONPATH=tests python tests/top_picture.py`."""

from __future__ import annotations

import io
import re
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from miros import Event
from rich.console import Console

from charts_at_work import Heard, alone
from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.cli.live_table import table
from miros_mesh.observe.overview import Overview

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "top.svg"
CHARTS = {"plant-1": {"pump": 0.02, "valve": 0.11}, "plant-2": {"door": 0.4, "siren": 5.0}}
SIGNALS = {"pump": "tick", "valve": "pressure", "door": "knock", "siren": "test"}
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
                chart.start_at(alone(Heard()))
                stack.callback(chart.stop)
                worker = threading.Thread(target=_work, args=(chart, every_s, ended))
                worker.start()
                stack.callback(worker.join)
        stack.callback(ended.set)
        ended.wait(SECONDS)
        screen = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
        screen.print(table(overview.nodes, 120))
    picture = screen.export_svg(title="miros-mesh top", unique_id="top")
    # A page fetches nothing from others.
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)


def _work(chart: NetworkedActiveObject, every_s: float, ended: threading.Event) -> None:
    while not ended.is_set():
        chart.post_fifo(Event(signal=SIGNALS[chart.name]))
        ended.wait(every_s)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        PICTURE.write_text(draw(Path(home)))
