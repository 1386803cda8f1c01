"""Sends to a named chart that is away, and ends as at a power cut once all is confirmed.

cut_off.py COUNT
"""

from __future__ import annotations

import os
import sys

from miros_mesh import MeshConfig, NetworkedActiveObject, Observer
from support.charts_at_work import Heard, alone, event
from support.waiting import wait_until


class Confirmed(Observer):
    """Counts what the broker confirmed."""

    def __init__(self) -> None:
        self.mesh_events = 0

    def published(
        self, *, network: str, peer: str, events: int, size_bytes: int, seconds: float
    ) -> None:
        """Something was confirmed."""
        self.mesh_events += events * (network == "mesh")


def run(count: int) -> None:
    """Leave the numbers in the queue of `right`, and everything as it is."""
    receiver = NetworkedActiveObject("receiver", config=MeshConfig.from_env(node_name="right"))
    receiver.start_at(alone(Heard()))
    receiver.stop()
    confirmed = Confirmed()
    config = MeshConfig.from_env(node_name="left", observers=(confirmed,))
    sender = NetworkedActiveObject("sender", config=config)
    sender.start_at(alone(Heard()))
    for number in range(count):
        sender.transmit(event("NUMBER", number))
    wait_until(lambda: confirmed.mesh_events >= count)
    os._exit(0)


if __name__ == "__main__":
    run(int(sys.argv[1]))
