"""A program whose chart dies with a password in its error.

dying.py HOW        "silent", "json" or "hooked": what the program has configured
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from miros import Event, return_status, signals, spy_on

from miros_mesh import NetworkedActiveObject
from miros_mesh.observe.logs.configure import configure_json
from miros_mesh.testing.memory import MemoryMesh

LIMIT_S = 20.0


@spy_on
def mortal(chart: NetworkedActiveObject, event: Event) -> Any:
    """Die of the event `poison`."""
    if event.signal == signals.poison:
        raise ValueError("login failed password=hunter2")
    chart.temp.fun = chart.top
    return return_status.SUPER


def main(how: str) -> None:
    """Poison the chart, and wait for its end."""
    if how != "silent":
        configure_json()
    if how == "hooked":
        threading.excepthook = lambda facts: print(facts.exc_type.__name__)
    chart = NetworkedActiveObject("mortal", config=MemoryMesh().config())
    chart.start_at(mortal)
    chart.post_fifo(Event(signal=signals.poison))
    assert chart.thread is not None
    chart.thread.join(LIMIT_S)
    print(*chart.health().dead_charts)
    chart.stop()


if __name__ == "__main__":
    main(sys.argv[1])
