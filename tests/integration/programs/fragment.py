"""Runs a part of a program, as a page shows it, within a program that has what it names.

fragment.py FILE        works in a folder of its own, with the embedded broker
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from miros import Event, return_status, signals, spy_on
from prometheus_client import CollectorRegistry

from miros_mesh import (
    DeadLetters,
    MeshConfig,
    NetworkedActiveObject,
    NetworkedFactory,
    Observer,
)
from miros_mesh.observe.sequence.lines import read
from miros_mesh.wire.keyring import generate_key

TRACE = b" [+t] [2026-01-31 12:00:00.000000] [front] e->knock() closed->opened\n"


@spy_on
def idle(chart: NetworkedActiveObject, _: Event) -> Any:
    """Do nothing."""
    chart.temp.fun = chart.top
    return return_status.SUPER


def main(file: Path) -> None:
    """Start a chart, and do what the file says."""
    old = generate_key()
    Path("cache.json").write_text("{}")
    with ExitStack() as stack:
        chart = NetworkedActiveObject("running", config=MeshConfig(mesh_encryption_key=old))
        stack.callback(chart.stop)
        chart.start_at(idle)
        names = {
            "Event": Event,
            "MeshConfig": MeshConfig,
            "NetworkedActiveObject": NetworkedActiveObject,
            "NetworkedFactory": NetworkedFactory,
            "Observer": Observer,
            "cache_file": Path("cache.json"),
            "chart": chart,
            "letters": stack.enter_context(DeadLetters(MeshConfig())),
            "new": generate_key(),
            "old": old,
            "records": read([TRACE]).records,
            "registry": CollectorRegistry(),
            "remember": print,
            "return_status": return_status,
            "signals": signals,
            "spy_on": spy_on,
        }
        exec(compile(file.read_text(), str(file), "exec"), names)
    print("done")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
