"""The process of a node with the settings of production, and a diary of what it does.

steady.py send URL NODE STREAM FIRST PER_S FILE     transmits numbers until a line comes in
steady.py receive URL NODE FILE                     handles them until a line comes in

NODE is the node's name, or - for none. FILE gets a line for each event: the time, the stream, the
number; FILE.links a line for each thing that happened to the node's links.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from miros import Event

from faults.roles import say
from faults.traffic import SIGNAL
from miros_mesh import MeshConfig, NetworkedActiveObject, Observer
from support.charts_at_work import KEY, Heard, alone, event

HEARTBEAT_S = 5.0
LINKS = ".links"


class Diary:
    """A file that several lives of a process append to."""

    def __init__(self, file: str) -> None:
        self._descriptor = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def write(self, when: float, *words: object) -> None:
        line = " ".join(map(str, (f"{when:.6f}", *words)))
        os.write(self._descriptor, f"{line}\n".encode())


class Links(Observer):
    """Writes down what happens to a node's links, and what is lost there."""

    def __init__(self, file: str) -> None:
        self._diary = Diary(file + LINKS)

    def peer_up(self, *, peer: str) -> None:
        self._note("publisher connected")

    def peer_down(self, *, peer: str, reason: str) -> None:
        self._note("publisher lost", reason)

    def blocked(self, *, peer: str) -> None:
        self._note("publisher blocked")

    def unblocked(self, *, peer: str) -> None:
        self._note("publisher unblocked")

    def subscribed(self, *, broker: str) -> None:
        self._note("subscriber connected")

    def unsubscribed(self, *, broker: str, reason: str) -> None:
        self._note("subscriber lost", reason)

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self._note("gap", sender, missing)

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        if reason not in ("duplicate", "stale"):
            self._note("dropped", reason, events)

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        self._note("chart died", repr(error))

    def _note(self, *words: object) -> None:
        self._diary.write(time.monotonic(), *words)


def config(url: str, node: str, file: str) -> MeshConfig:
    """What a program would set, but for the heartbeat."""
    return MeshConfig(
        broker_url=url,
        mesh_encryption_key=KEY,
        node_name=None if node == "-" else node,
        heartbeat_interval_s=HEARTBEAT_S,
        observers=(Links(file),),
    )


def receive(url: str, node: str, file: str) -> None:
    """Handle events until a line comes in."""
    diary = Diary(file)

    def write(_: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == SIGNAL:
            diary.write(time.monotonic(), *received.payload)

    chart = NetworkedActiveObject("receiver", config=config(url, node, file))
    chart.start_at(alone(write, spied=False))
    say("ready")
    sys.stdin.readline()
    chart.stop()
    say("stopped")


def send(url: str, node: str, stream: str, first: str, per_s: str, file: str) -> None:
    """Transmit numbers until a line comes in."""
    diary, ending = Diary(file), threading.Event()
    chart = NetworkedActiveObject("sender", config=config(url, node, file))
    chart.start_at(alone(Heard(), spied=False))
    say("ready")
    threading.Thread(target=_await_line, args=(ending,), daemon=True).start()
    number, began = int(first), time.monotonic()
    due = began
    while not ending.wait(max(due - time.monotonic(), 0)):
        diary.write(time.monotonic(), stream, number)
        chart.transmit(event(SIGNAL, [stream, number]))
        number += 1
        due += 1 / float(per_s)
    say(f"left {chart.stop().left_over}")


def _await_line(ending: threading.Event) -> None:
    sys.stdin.readline()
    ending.set()


if __name__ == "__main__":
    roles: dict[str, Callable[..., Any]] = {"receive": receive, "send": send}
    roles[sys.argv[1]](*sys.argv[2:])
