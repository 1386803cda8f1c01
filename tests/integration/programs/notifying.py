"""A program that tells systemd how it is; each line of its input is something to do.

notifying.py KIND        "chart", "late", "client" or "async"; settings are of the environment
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from typing import Any

from miros import Event, return_status, signals, spy_on

from miros_mesh import (
    AsyncMeshClient,
    MeshClient,
    NetworkedActiveObject,
    notify_systemd,
    reload_on_sighup,
    stop_on_sigterm,
)
from support.charts_at_work import node_of


@spy_on
def mortal(chart: NetworkedActiveObject, event: Event) -> Any:
    """Die of the event `poison`."""
    if event.signal == signals.poison:
        raise ValueError("by a bug")
    chart.temp.fun = chart.top
    return return_status.SUPER


def end_worker(chart: NetworkedActiveObject) -> None:
    """Have an error of the library end the thread that receives."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    subscriber: Any = node_of(chart).subscriber
    subscriber._lost = subscriber._turn = fail
    subscriber.wake()


def fork() -> None:
    """End a child that has inherited everything, as an orchestrator ends its parent."""
    if not (child := os.fork()):
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(1)
    os.waitpid(child, 0)


def be_chart() -> None:
    """Start a chart at the first line, and do what the others say."""
    started = threading.Event()
    if sys.argv[1] == "late":
        notify_systemd(started.is_set)
    chart = NetworkedActiveObject("door")
    sys.stdin.readline()
    chart.start_at(mortal)
    for line in sys.stdin:
        match line.strip():
            case "die":
                chart.post_fifo(Event(signal=signals.poison))
            case "end_worker":
                end_worker(chart)
            case "fork":
                fork()
            case "start":
                started.set()
            case "leave":
                chart.stop()


def be_client() -> None:
    """Be on the mesh from the first line to the next."""
    sys.stdin.readline()
    with MeshClient(), MeshClient():
        sys.stdin.readline()


async def be_async() -> None:
    """Be on the mesh until SIGTERM."""
    async with AsyncMeshClient():
        await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig()
    stop_on_sigterm()
    reload_on_sighup()
    if sys.argv[1] != "late":
        notify_systemd()
        notify_systemd()
    match sys.argv[1]:
        case "chart" | "late":
            be_chart()
        case "client":
            be_client()
        case "async":
            sys.stdin.readline()
            asyncio.run(be_async())
