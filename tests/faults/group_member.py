"""The process of one member of a group, which a test kills.

group_member.py URL NODE KIND FILE PAUSE     handles events until a line comes in

URL is empty for the embedded broker. KIND is standby, share or partition_by. For each event that it
has handled it writes a line: when, its number, and 1 if it was told that it may have been handled
before.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from miros import Event

from faults.conftest import settings
from faults.traffic import SIGNAL
from miros_mesh import NetworkedActiveObject
from support.charts_at_work import alone
from support.group_members import GROUP, TOPIC

KEYS = 50


def key_of(event: Event) -> int:
    """What an event is about: numbers go in turn to so many keys."""
    return int(event.payload) % KEYS


def main(url: str, node: str, kind: str, file: str, pause: str) -> None:
    descriptor = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    never, pause_s = threading.Event(), float(pause)

    def write(chart: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == SIGNAL and (told := chart.received):
            if pause_s:
                never.wait(pause_s)
            line = f"{time.monotonic()} {received.payload} {told.redelivered:d}\n"
            os.write(descriptor, line.encode())

    chart = NetworkedActiveObject(
        "payment",
        rx_routing_key=TOPIC,
        tx_routing_key="paid",
        config=settings(url or None, node_name=node),
        group=GROUP,
        group_mode="standby" if kind == "standby" else "share",
        partition_by=key_of if kind == "partition_by" else None,
    )
    chart.start_at(alone(write, spied=False))
    print(json.dumps({"said": "ready"}), flush=True)
    sys.stdin.readline()
    chart.stop()
    print(json.dumps({"said": "stopped"}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
