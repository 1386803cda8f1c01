"""Requests over the mesh: a chart or a client asks a chart, which replies in its handler."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from miros import Event, return_status, signals, spy_on

from asking import summary
from chart import FILLER
from foreign import ANSWER_LIMIT_S
from miros_mesh import MeshClient, MeshConfig, Message, NetworkedActiveObject


@spy_on
def answering(chart: Any, event: Event) -> Any:
    """Answer in the handler."""
    if event.signal == signals.question:
        chart.reply(Event(signal=signals.answer, payload=event.payload))
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


@spy_on
def asking(chart: Any, event: Event) -> Any:
    """Hear the answers, and ask the next question in the handler."""
    if event.signal == signals.answer:
        chart.round.answered(chart.received.reply_to)
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


def answer(connection: Connection, config: MeshConfig, topic: str) -> None:
    """A chart that answers until the parent ends."""
    chart = NetworkedActiveObject(
        "server", config=config, tx_routing_key=f"{topic}.none", rx_routing_key=topic
    )
    chart.start_at(answering)
    connection.send("ready")
    connection.recv()
    chart.stop()


def ask(connection: Connection, config: MeshConfig, topic: str) -> None:
    """A chart that asks when it is told to."""
    chart: Any = NetworkedActiveObject(
        "client", config=config, tx_routing_key=topic, rx_routing_key=f"{topic}.none"
    )
    chart.start_at(asking)

    def send() -> str:
        event = Event(signal=signals.question, payload=FILLER)
        return str(chart.request(event, timeout_s=ANSWER_LIMIT_S))

    connection.send("ready")
    while requests := connection.recv():
        alone = Round(send, requests.alone, 1)
        many = Round(send, requests.sustained, requests.in_flight)
        for chart.round in (alone, many):
            chart.round.run()
        connection.send(summary(alone.took_s, requests.sustained, many.seconds))
    chart.stop()


def ask_as_client(connection: Connection, config: MeshConfig, topic: str) -> None:
    """Code that is no chart, which asks when it is told to: a thread for each request in flight."""
    asked = Message("question", FILLER)
    with MeshClient(config, tx_routing_key=topic) as client:

        def ask_in_turn(count: int) -> list[float]:
            took_s = []
            for _ in range(count):
                began = time.perf_counter()
                client.request(asked, ANSWER_LIMIT_S)
                took_s.append(time.perf_counter() - began)
            return took_s

        connection.send("ready")
        while requests := connection.recv():
            alone_s = ask_in_turn(requests.alone)
            each = requests.sustained // requests.in_flight
            with ThreadPoolExecutor(requests.in_flight) as pool:
                began = time.perf_counter()
                list(pool.map(ask_in_turn, [each] * requests.in_flight))
                seconds = time.perf_counter() - began
            connection.send(summary(alone_s, each * requests.in_flight, seconds))


class Round:
    """Requests of which so many are on their way at once; each answer sends the next one."""

    def __init__(self, send: Callable[[], str], count: int, in_flight: int) -> None:
        self._send = send
        self._left = count
        self._in_flight = in_flight
        self._began: dict[str, float] = {}
        self._complete = threading.Event()
        # A reply may come, on the chart's thread, before the call that asks for it has returned.
        self._lock = threading.Lock()
        self.took_s: list[float] = []
        self.seconds = 0.0

    def run(self) -> None:
        """Send the first ones, and wait for all answers."""
        began = time.perf_counter()
        for _ in range(self._in_flight):
            self._ask()
        if not self._complete.wait(ANSWER_LIMIT_S):
            raise TimeoutError(f"{len(self._began)} requests were not answered")
        self.seconds = time.perf_counter() - began

    def answered(self, request: str) -> None:
        """Hear the answer to a request; one that nothing waits for is a fault."""
        with self._lock:
            self.took_s.append(time.perf_counter() - self._began.pop(request))
        self._ask()

    def _ask(self) -> None:
        with self._lock:
            if self._left:
                self._left -= 1
                began = time.perf_counter()
                self._began[self._send()] = began
            elif not self._began:
                self._complete.set()
