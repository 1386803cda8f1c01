"""A process that Prometheus watches: two charts that talk until the input ends.

watched.py NAME        the settings come from the environment; says its port
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from miros import Event, return_status, signals, spy_on

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.observe.metrics.observer import MetricsObserver
from miros_mesh.observe.server import start_metrics_server

PERIOD_S = 0.02


@spy_on
def listening(chart: NetworkedActiveObject, event: Event) -> Any:
    """Take every tick."""
    if event.signal == signals.tick:
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


def tick(chart: NetworkedActiveObject, ended: threading.Event) -> None:
    """Transmit until the input has ended."""
    while not ended.wait(PERIOD_S):
        chart.transmit(Event(signal=signals.tick))


if __name__ == "__main__":
    name = sys.argv[1]
    config = MeshConfig.from_env(observers=(MetricsObserver(),))
    charts = [NetworkedActiveObject(f"{name}_{each}", config=config) for each in ("a", "b")]
    charts[0].enable_snoop_trace_no_color()
    with start_metrics_server(0) as server:
        # Before anything else is said there.
        print(server.port, file=sys.stderr, flush=True)
        for chart in charts:
            chart.start_at(listening)
        ended = threading.Event()
        ticking = threading.Thread(target=tick, args=(charts[0], ended))
        ticking.start()
        sys.stdin.read()
        ended.set()
        ticking.join()
        for chart in charts:
            chart.stop()
