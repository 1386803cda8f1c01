"""Requests over the mesh: an event to a chart under one topic, and one back under another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from miros import Event, return_status, signals, spy_on

from asking import ANSWER_LIMIT_S, Asked, Requests, summary
from chart import FILLER
from miros_mesh import MeshConfig, NetworkedActiveObject

Asks = Callable[[int], None]


@spy_on
def answering(chart: Any, event: Event) -> Any:
    """Answer in the handler."""
    if event.signal == signals.question:
        chart.transmit(Event(signal=signals.answer, payload=event.payload))
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


@spy_on
def asking(chart: Any, event: Event) -> Any:
    """Hear the answers, and ask the next question in the handler."""
    if event.signal == signals.answer:
        chart.round.answered(event.payload[0])
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


def answer(connection: Connection, config: MeshConfig, topic: str) -> None:
    """A chart that answers until the parent ends."""
    chart = NetworkedActiveObject(
        "server", config=config, tx_routing_key=f"{topic}.a", rx_routing_key=f"{topic}.q"
    )
    chart.start_at(answering)
    connection.send("ready")
    connection.recv()
    chart.stop()


def ask(connection: Connection, config: MeshConfig, topic: str) -> None:
    """A chart that asks when it is told to."""
    chart: Any = NetworkedActiveObject(
        "client", config=config, tx_routing_key=f"{topic}.q", rx_routing_key=f"{topic}.a"
    )
    chart.round = Round(lambda _: None, 0, 0)
    chart.start_at(asking)

    def send(number: int) -> None:
        chart.transmit(Event(signal=signals.question, payload=[number, FILLER]))

    def run(count: int, in_flight: int) -> Round:
        chart.round = Round(send, count, in_flight)
        return chart.round.run()

    connection.send("ready")
    while requests := connection.recv():
        connection.send(_run(run, requests))
    chart.stop()


class Round:
    """Questions of which so many are on their way at once; each answer asks the next one."""

    def __init__(self, send: Asks, count: int, in_flight: int) -> None:
        self._send = send
        self._count = count
        self._in_flight = in_flight
        self._began: dict[int, float] = {}
        self._complete = threading.Event()
        self.took_s: list[float] = []
        self.seconds = 0.0

    def run(self) -> Round:
        """Ask the first ones, and wait for all answers."""
        began = time.perf_counter()
        # The answers come on another thread, on which all others are asked.
        for number in range(min(self._in_flight, self._count)):
            self._ask(number)
        if not self._complete.wait(ANSWER_LIMIT_S):
            raise TimeoutError(f"{len(self.took_s)} of {self._count} requests were answered")
        self.seconds = time.perf_counter() - began
        return self

    def answered(self, number: int) -> None:
        """Hear an answer, once a question."""
        self.took_s.append(time.perf_counter() - self._began.pop(number))
        following = number + self._in_flight
        if following < self._count:
            self._ask(following)
        elif len(self.took_s) == self._count:
            self._complete.set()

    def _ask(self, number: int) -> None:
        self._began[number] = time.perf_counter()
        self._send(number)


def _run(run: Callable[[int, int], Round], requests: Requests) -> Asked:
    alone = run(requests.alone, 1)
    many = run(requests.sustained, requests.in_flight)
    return summary(alone.took_s, requests.sustained, many.seconds)
