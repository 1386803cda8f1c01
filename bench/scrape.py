"""How long Prometheus waits for a process with many charts, asked as Prometheus asks."""

from __future__ import annotations

import http.client
import re
import statistics
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from miros import Event

from chart import silent
from measure import Child
from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.observe.metrics.observer import MetricsObserver
from miros_mesh.observe.server import start_metrics_server

HOST = "127.0.0.1"
WARM_UP = 5
ACCEPT = {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "gzip"}
_LIMIT_S = 30.0
_HANDED_OVER = re.compile(rb"^miros_mesh_handed_over_events_total\{.*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Scrape:
    """The figures of some scrapes of one process."""

    charts: int
    lines: int
    median_s: float
    p99_s: float


def measure_scrape(config: MeshConfig, charts: int, times: int) -> Scrape:
    """Scrape a process in which every chart has transmitted and heard something."""
    with Child(be_scraped, config, charts) as child:
        port, lines = child.answer()
        for _ in range(WARM_UP):
            _scrape_s(port)
        seconds = [_scrape_s(port) for _ in range(times)]
    return Scrape(
        charts, lines, statistics.median(seconds), statistics.quantiles(seconds, n=100)[98]
    )


def be_scraped(connection: Connection, config: MeshConfig, charts: int) -> None:
    """Charts that all know each other, and the server of their metrics."""
    observer = MetricsObserver()
    watched = config.overridden(observers=(observer,))
    topic = "bench.scrape"
    made = [
        NetworkedActiveObject(f"chart_{number}", config=watched, tx_routing_key=topic)
        for number in range(charts)
    ]
    for chart in made:
        chart.start_at(silent)
    for chart in made:
        chart.transmit(Event(signal="hello"))
    with start_metrics_server(0) as server:
        _wait_until_calm(server.port, charts)
        connection.send((server.port, _get(server.port).count(b"\n")))
        connection.recv()
    for chart in made:
        chart.stop()


def _wait_until_calm(port: int, charts: int) -> None:
    """Until every chart has heard all others."""
    pause, deadline = threading.Event(), time.monotonic() + _LIMIT_S
    expected = charts * (charts - 1)
    while (heard := sum(map(float, _HANDED_OVER.findall(_get(port))))) < expected:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{heard:g} of {expected} events were heard in {_LIMIT_S:g} s")
        pause.wait(0.05)


def _scrape_s(port: int) -> float:
    began = time.perf_counter()
    _get(port, ACCEPT)
    return time.perf_counter() - began


def _get(port: int, headers: dict[str, str] | None = None) -> bytes:
    connection = http.client.HTTPConnection(HOST, port, timeout=_LIMIT_S)
    try:
        connection.request("GET", "/metrics", headers=headers or {})
        return connection.getresponse().read()
    finally:
        connection.close()
