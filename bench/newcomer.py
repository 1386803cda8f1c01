"""A program that starts on a host, and sends one event again and again until it is told to end.

newcomer.py SETTINGS SIGNAL [REST_S]    settings as JSON; facts go out as lines of JSON
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

EVERY_S = 0.005
AFTERWARDS_S = 20.0


def main() -> None:
    """Start, send until a line comes in, then say how much time it took, and rest if asked."""
    settings, signal = json.loads(sys.argv[1]), sys.argv[2]
    from miros import Event  # noqa: PLC0415 - what it takes to import is measured

    from chart import counting  # noqa: PLC0415
    from miros_mesh import MeshConfig, NetworkedActiveObject, Observer  # noqa: PLC0415

    class Told(Observer):
        """Passes on when a search of the network ended."""

        def searched(self, *, source: str, found: int, seconds: float) -> None:
            say("searched", source=source, found=found, seconds=seconds)

    say("started")
    chart = NetworkedActiveObject(
        "newcomer",
        config=MeshConfig(observers=(Told(),), **settings),
        tx_routing_key="heya.man",
        rx_routing_key="newcomer",
    )
    chart.start_at(counting)
    say("running")
    ending = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), ending.set()), daemon=True).start()
    while not ending.wait(EVERY_S):
        chart.transmit(Event(signal=signal))
    say("stopping")
    if len(sys.argv) > 3:  # noqa: PLR2004
        busy, began = time.process_time(), time.monotonic()
        ending.clear()
        ending.wait(float(sys.argv[3]))
        say("rested", share=(time.process_time() - busy) / (time.monotonic() - began))
    chart.stop()


def say(what: str, **facts: Any) -> None:
    """One fact, with its time by the clock that all processes of a machine share."""
    print(json.dumps({"what": what, "at": time.monotonic(), **facts}), flush=True)


if __name__ == "__main__":
    main()
