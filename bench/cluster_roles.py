"""A process of `make bench ARGS=cluster`: a chart that counts, or one that sends.

cluster_roles.py count URL NODE                    NODE is the node's name, or - for none
cluster_roles.py send URL NODE FRAME_EVENTS
cluster_roles.py idle URL NAMED NODES CHARTS       does nothing, with so many nodes

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
TOPIC = "count"


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
        # What is sent to be kept at the broker has to get there.
        drain_timeout_s=300.0,
    )
    hears, says = (TOPIC, "none") if role == "count" else ("none", TOPIC)
    chart = NetworkedActiveObject(role, config=config, rx_routing_key=hears, tx_routing_key=says)
    count = Count()
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


def idle(url: str, named: str, nodes: str, charts: str) -> None:
    """Have so many nodes with so many charts each, which are silent, until the input ends."""
    key, running = os.environ["CLUSTER_BENCH_KEY"], []
    for number in range(int(nodes)):
        config = MeshConfig(
            broker_url=url,
            mesh_encryption_key=key,
            node_name=f"idle{number}" if named == "1" else None,
            # No two of equal settings share a node.
            outbox_events=100_000 - number,
        )
        for chart in range(int(charts)):
            running.append(NetworkedActiveObject(f"chart{chart}", config=config))
            running[-1].start_at(Count().state)
    _say()
    sys.stdin.readline()
    for each in running:
        each.stop()


def _say() -> None:
    print(json.dumps({"at": time.monotonic(), "cpu": time.process_time()}), flush=True)


if __name__ == "__main__":
    (idle if sys.argv[1] == "idle" else main)(*sys.argv[1 + (sys.argv[1] == "idle") :])
