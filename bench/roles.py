"""What the child processes do: a chart that posts to itself, one that sends, one that receives."""

from __future__ import annotations

import threading
from multiprocessing.connection import Connection
from typing import Any

from miros import ActiveObject, Event

from chart import Send, Tally, counting
from miros_mesh import MeshConfig, NetworkedActiveObject

HANDLING_LIMIT_S = 30.0
# miros overwrites what does not fit into the 500 places of a FIFO, and does not say so.
SLICE = 200
_LOOK_AGAIN_S = 0.0002


def post_locally(connection: Connection) -> None:
    """A miros chart without any network; the main thread posts into its FIFO."""
    chart: Any = ActiveObject("local")
    chart.start_at(counting)
    connection.send("ready")
    while task := connection.recv():
        chart.tally = tally = Tally(task.events)
        first_ns = task.run(_careful_post(chart, tally))
        connection.send((first_ns, tally.result(HANDLING_LIMIT_S)))
    chart.stop()


def transmit(connection: Connection, config: MeshConfig, topic: str) -> None:
    """A chart on the mesh that sends when it is told to, and hears nothing."""
    chart = NetworkedActiveObject(
        "sender", config=config, tx_routing_key=topic, rx_routing_key=f"{topic}.nobody"
    )
    chart.start_at(counting)
    connection.send("ready")
    while task := connection.recv():
        connection.send(task.run(chart.transmit))
    chart.stop()


def receive(connection: Connection, config: MeshConfig, topic: str) -> None:
    """A chart on the mesh that counts what the other one sends."""
    chart: Any = NetworkedActiveObject(
        "receiver", config=config, tx_routing_key=f"{topic}.nobody", rx_routing_key=topic
    )
    chart.start_at(counting)
    connection.send("ready")
    while task := connection.recv():
        chart.tally = tally = Tally(task.events)
        connection.send("listening")
        connection.send(tally.result(HANDLING_LIMIT_S))
    chart.stop()


def _careful_post(chart: Any, tally: Tally) -> Send:
    """`post_fifo` that lets the FIFO run neither full nor dry."""
    posted = 0
    pause = threading.Event()

    def post(event: Event) -> None:
        nonlocal posted
        if posted % SLICE == 0:
            while posted - tally.handled > SLICE:
                pause.wait(_LOOK_AGAIN_S)
        posted += 1
        chart.post_fifo(event)

    return post
