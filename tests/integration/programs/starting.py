"""A program that starts a chart and stops it, or says why it cannot.

starting.py [COMMAND ...]        after each, a command of the shell, it does so once more
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from miros import Event, return_status

from miros_mesh import MeshError, NetworkedActiveObject


def idle(chart: NetworkedActiveObject, _: Event) -> Any:
    """Do nothing."""
    chart.temp.fun = chart.top
    return return_status.SUPER


def start() -> None:
    """Start a chart, and say what comes of it."""
    chart = NetworkedActiveObject("starting")
    try:
        chart.start_at(idle)
    except MeshError as error:
        print(f"{type(error).__name__}: {error}")
    else:
        print("started")
        chart.stop()


if __name__ == "__main__":
    start()
    for command in sys.argv[1:]:
        subprocess.run(["sh", "-c", command], check=True)
        start()
