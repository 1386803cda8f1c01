"""A program that starts on a host, and sends one event again and again until it is told to end.

newcomer.py SETTINGS SIGNAL REST_S     settings as JSON; facts go out as lines of JSON
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from miros import Event

from chart import counting
from miros_mesh import MeshConfig, NetworkedActiveObject, Observer

EVERY_S = 0.005


class Told(Observer):
    """Passes on when a search ended."""

    def searched(self, *, source: str, found: int, seconds: float) -> None:
        say("searched", source=source, found=found, seconds=seconds)


def main(settings: str, signal: str, rest_s: str) -> None:
    """Start, send until the input ends; then rest, if asked, and say how much work that was."""
    say("started")
    chart = NetworkedActiveObject(
        "newcomer",
        config=MeshConfig(observers=(Told(),), **json.loads(settings)),
        tx_routing_key="heya.man",
        rx_routing_key="newcomer",
    )
    chart.start_at(counting)
    ending = threading.Event()
    threading.Thread(target=_await_end, args=(ending,), daemon=True).start()
    while not ending.wait(EVERY_S):
        chart.transmit(Event(signal=signal))
    busy, began = time.process_time(), time.monotonic()
    threading.Event().wait(float(rest_s))
    say("rested", share=(time.process_time() - busy) / (time.monotonic() - began))
    chart.stop()


def _await_end(ending: threading.Event) -> None:
    sys.stdin.readline()
    ending.set()


def say(what: str, **facts: Any) -> None:
    """One fact, with its time by the clock that all processes of a machine share."""
    # Several threads have something to say; in one piece a line stays one.
    sys.stdout.write(json.dumps({"what": what, "at": time.monotonic(), **facts}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
