"""A process of `make bench ARGS=cluster`: a chart that counts, or one that sends.

cluster_roles.py count URL NODE                    NODE is the node's name, or - for none
cluster_roles.py send URL NODE FRAME_EVENTS

Each line that comes in is a number: of events to await in all, or of events to send, and for a
sender their size. The answer is when, by the monotonic clock, and the processor time so far.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

from miros import Event, return_status, signals

from miros_mesh import MeshConfig, NetworkedActiveObject

SIGNAL = "cluster_bench"


class Count:
    """The state of a chart, which counts what it hears."""

    def __init__(self) -> None:
        self._number = self._awaited = 0
        self._reached = threading.Event()

    def state(self, chart: Any, event: Event) -> int:
        """Count an event."""
        if signals.is_inner_signal(event.signal_name) or event.signal_name != SIGNAL:
            chart.temp.fun = chart.top
            return int(return_status.SUPER)
        self._number += 1
        if self._number == self._awaited:
            self._reached.set()
        return int(return_status.HANDLED)

    def wait(self, number: int) -> None:
        """Wait until so many have come in all."""
        self._awaited = number
        if self._number < number:
            self._reached.wait()
        self._reached.clear()


def main(role: str, url: str, node: str, frame_events: str = "100") -> None:
    """Obey until the input ends."""
    config = MeshConfig(
        broker_url=url,
        mesh_encryption_key=os.environ["CLUSTER_BENCH_KEY"],
        node_name=None if node == "-" else node,
        frame_events=int(frame_events),
    )
    topics = {"rx_routing_key": "count"} if role == "count" else {"tx_routing_key": "count"}
    silent = {"rx_routing_key": "none"} if role == "send" else {"tx_routing_key": "none"}
    chart, count = NetworkedActiveObject(role, config=config, **topics, **silent), Count()
    chart.start_at(count.state)
    _say()
    for line in sys.stdin:
        number, *size = map(int, line.split())
        if not number:
            break
        if role == "count":
            count.wait(number)
            _say()
            continue
        _say()
        payload = b"x" * size[0] if size else b""
        for _ in range(number):
            chart.transmit(Event(signal=SIGNAL, payload=payload))
    chart.stop()
    _say()


def _say() -> None:
    print(json.dumps({"at": time.monotonic(), "cpu": time.process_time()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
