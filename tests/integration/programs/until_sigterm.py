"""A chart that transmits until SIGTERM comes, in one of several moments of a program.

until_sigterm.py MOMENT        the settings come from the environment
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import threading
from collections.abc import Callable
from typing import Any

from miros import Event, return_status, spy_on

from miros_mesh import NetworkedActiveObject, stop_on_sigterm
from miros_mesh.errors import StoppedError
from support.charts_at_work import node_of

sent: dict[str, int] = {}


@spy_on
def only(chart: NetworkedActiveObject, event: Event) -> Any:
    """Leave everything to the top."""
    chart.temp.fun = chart.top
    return return_status.SUPER


def say(**facts: Any) -> None:
    """Tell the test."""
    print(json.dumps(facts), flush=True)


def transmit(chart: NetworkedActiveObject) -> None:
    """Transmit numbers for ever."""
    pause = threading.Event()
    for number in itertools.count():
        if number % 50 == 0:
            pause.wait(0.005)
        chart.transmit(Event(signal="number", payload=[chart.name, number]))
        sent[chart.name] = number + 1
        if number == 200 and chart.name == "first":
            say(said="sending")


def amid_sending(charts: list[NetworkedActiveObject]) -> None:
    """The main thread sends when the signal comes."""
    try:
        transmit(charts[0])
    finally:
        say(said="finally", sent=sent)


def amid_waiting(charts: list[NetworkedActiveObject]) -> None:
    """The main thread waits, and another one sends until its chart has stopped."""

    def send() -> None:
        with contextlib.suppress(StoppedError):
            transmit(charts[0])

    sending = threading.Thread(target=send, daemon=True)
    try:
        sending.start()
        threading.Event().wait()
    finally:
        say(said="finally")


def amid_stopping(charts: list[NetworkedActiveObject]) -> None:
    """The signal comes while the program stops its chart by itself."""
    for number in range(201):
        charts[0].transmit(Event(signal="number", payload=["first", number]))
    publisher: Any = node_of(charts[0]).peers.add(node_of(charts[0]).home)
    window, publisher._window = publisher._window, 0
    for number in range(201, 400):
        charts[0].transmit(Event(signal="number", payload=["first", number]))
    threading.Timer(1.0, lambda: setattr(publisher, "_window", window)).start()
    say(said="sending", sent={"first": 400})
    for chart in charts:
        chart.stop()


if __name__ == "__main__":
    moments: dict[str, Callable[[list[NetworkedActiveObject]], None]] = {
        each.__name__: each for each in (amid_sending, amid_waiting, amid_stopping)
    }
    stop_on_sigterm()
    charts = [NetworkedActiveObject(name) for name in ("first", "second")]
    for chart in charts:
        chart.start_at(only)
    moments[sys.argv[1]](charts)
