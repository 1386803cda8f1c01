"""Doors as a service: what deploy/ runs in a container, in a pod and under systemd.

Settings come from the environment. A door opens for two seconds when another one knocks; the first
one of this process knocks. The service answers /metrics, /live and /ready, reads its files of keys
at SIGHUP, and ends in good order at SIGTERM.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from miros import Event, return_status, signals, spy_on

from miros_mesh import (
    MeshConfig,
    NetworkedActiveObject,
    notify_systemd,
    reload_on_sighup,
    stop_on_sigterm,
)
from miros_mesh.observe.logs import configure_json, log_snoop
from miros_mesh.observe.metrics import MetricsObserver
from miros_mesh.observe.server import start_metrics_server

OPEN_S = 2

logger = logging.getLogger("doors")


@spy_on
def closed(door: NetworkedActiveObject, event: Event) -> Any:
    """Wait for a knock."""
    if event.signal == signals.knock:
        return door.trans(opened)
    door.temp.fun = door.top
    return return_status.SUPER


@spy_on
def opened(door: NetworkedActiveObject, event: Event) -> Any:
    """Stay open for a moment."""
    if event.signal == signals.ENTRY_SIGNAL:
        door.post_fifo(Event(signal=signals.shut), times=1, period=OPEN_S, deferred=True)
        return return_status.HANDLED
    if event.signal == signals.shut:
        return door.trans(closed)
    door.temp.fun = door.top
    return return_status.SUPER


def knock(door: NetworkedActiveObject, every_s: float) -> None:
    """Knock at the other doors until the program ends."""
    pause = threading.Event()
    while not pause.wait(every_s):
        door.transmit(Event(signal=signals.knock, payload={"by": door.name}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Be a house with doors until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of the doors; else one, named as its node is")
    parser.add_argument("--address", default="127.0.0.1", help="where it answers Prometheus")
    parser.add_argument("--port", type=int, default=9464, help="and at which port")
    parser.add_argument("--log", type=Path, help="a file for its JSON lines; else standard output")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between knocks")
    options = parser.parse_args(arguments)

    started = threading.Event()
    stop_on_sigterm()
    reload_on_sighup()
    notify_systemd(started.is_set)
    configure_json(options.log or sys.stdout, service="doors")
    config = MeshConfig.from_env(observers=(MetricsObserver(),))
    names = options.names or [config.node_name or "door"]
    # What is entered last ends first: the doors, then the server that says how they are.
    with ExitStack() as stack:
        # Before the charts start, so that probes are answered while the node connects.
        stack.enter_context(start_metrics_server(options.port, options.address))
        doors = [
            NetworkedActiveObject(
                name, config=config, tx_routing_key="house.door", on_trace_rx=log_snoop
            )
            for name in names
        ]
        logger.info("%s begins, and knocks every %g s", names[0], options.every)
        for door in doors:
            door.enable_snoop_trace_no_color()
            stack.callback(door.stop)
            door.start_at(closed)
        started.set()
        knock(doors[0], options.every)


if __name__ == "__main__":
    main()
