"""The process of a sender or of a receiver that a test restarts or kills.

roles.py receive URL NODE FILE      writes the number of each event that it has handled
roles.py die URL NODE FILE NUMBER   does as that, and is gone as soon as its chart dies of a number
roles.py send URL NODE FIRST LAST   transmits the numbers and stops
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

from miros import Event

from faults.conftest import PATIENT, settings
from faults.traffic import SIGNAL
from miros_mesh import MeshConfig, NetworkedActiveObject, Observer
from support.charts_at_work import Handle, Heard, alone, event


def receive(url: str, node: str, file: str) -> None:
    """Handle events until a line comes in."""
    serve(settings(url, node_name=node, max_deliveries=1, **PATIENT), writer(file))


def die(url: str, node: str, file: str, fatal: str) -> None:
    """Handle events until a line comes in, or the one that is fatal."""
    write = writer(file)

    def handle(chart: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == SIGNAL and received.payload == int(fatal):
            raise ValueError("fatal")
        write(chart, received)

    class Gone(Observer):
        def chart_died(self, *, chart: str, error: BaseException) -> None:
            os._exit(1)

    serve(settings(url, node_name=node, observers=(Gone(),), **PATIENT), handle)


def writer(file: str) -> Handle:
    """Write the numbers of events to a file."""
    descriptor = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def write(_: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == SIGNAL:
            os.write(descriptor, f"{received.payload}\n".encode())

    return write


def serve(config: MeshConfig, handle: Handle) -> None:
    """Let a chart handle events until a line comes in."""
    chart = NetworkedActiveObject("receiver", config=config)
    chart.start_at(alone(handle, spied=False))
    say("ready")
    sys.stdin.readline()
    chart.stop()
    say("stopped")


def send(url: str, node: str, first: str, last: str) -> None:
    """Transmit numbers."""
    chart = NetworkedActiveObject("sender", config=settings(url, node_name=node, **PATIENT))
    chart.start_at(alone(Heard(), spied=False))
    for number in range(int(first), int(last)):
        chart.transmit(event(SIGNAL, number))
    say(f"left {chart.stop().left_over}")


def say(what: str) -> None:
    """Tell the test."""
    print(json.dumps({"said": what}), flush=True)


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {"receive": receive, "die": die, "send": send}
    roles[sys.argv[1]](*sys.argv[2:])
