"""A process with charts that hear, and one with a chart that speaks to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from chart import counting, silent
from measure import Child
from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.link.ports import Broker
from scale.actors import (
    ANSWER_LIMIT_S,
    CONNECT_LIMIT_S,
    START_LIMIT_S,
    Book,
    Burst,
    Heard,
    Rest,
    hear,
    resident_bytes,
)

# isort: split
# The folder of the tests is on the path since `brokers` is imported.
from support.charts_at_work import node_of

_END_LIMIT_S = 60.0


@dataclass(frozen=True)
class Start:
    """What a start has taken, and what is there after it."""

    start_s: float
    start_cpu_s: float
    threads: float
    memory: float


@dataclass(frozen=True)
class Sent:
    """What was sent."""

    first_ns: int


class CpuTime:
    """Asks what CPU time a process has taken until now."""


class Crowd:
    """A process of charts that hear."""

    def __init__(self, stack: ExitStack, config: MeshConfig, topic: str, charts: int) -> None:
        self._child = stack.enter_context(Child(be_a_crowd, config, topic, charts))

    def started(self) -> Start:
        """Wait until all charts have started."""
        start: Start = self._child.answer(START_LIMIT_S)
        return start

    def listen(self, burst: Burst, *, all_of_it: bool = True) -> None:
        """Let it expect a burst; returns when it does."""
        self._child.tell((burst, all_of_it))
        self._child.answer()

    def heard(self) -> Heard:
        """Wait until it has heard the burst, each event once and in order."""
        heard: Heard = self._child.answer(ANSWER_LIMIT_S)
        return heard

    def rest(self, rest: Rest) -> float:
        """Let it have nothing to do; returns the share of a core that this took."""
        self._child.tell(rest)
        share: float = self._child.answer()
        return share

    def end(self) -> None:
        """Stop all charts, which takes a while where each has a queue of its own."""
        self._child.tell(None)
        self._child.answer(_END_LIMIT_S)


class Speaker:
    """A process with a chart that sends, to its own broker and to others."""

    def __init__(
        self, stack: ExitStack, config: MeshConfig, topic: str, peers: Sequence[Broker] = ()
    ) -> None:
        self._child = stack.enter_context(Child(speak, config, topic, peers))

    def started(self) -> Start:
        """Wait until the chart has started, and all peers are there."""
        start: Start = self._child.answer(START_LIMIT_S)
        return start

    def send(self, burst: Burst, *, to_all: bool = True) -> None:
        """Let it send to all charts, or to the first of each crowd."""
        self._child.tell((burst, to_all))

    def sent(self) -> Sent:
        """Wait until it has handed over all that it was to send."""
        sent: Sent = self._child.answer(ANSWER_LIMIT_S)
        return sent

    def cpu_s(self) -> float:
        """What CPU time the process has taken until now."""
        self._child.tell(CpuTime())
        spent_s: float = self._child.answer()
        return spent_s

    def rest(self, rest: Rest) -> float:
        """Let it have nothing to do; returns the share of a core that this took."""
        self._child.tell(rest)
        share: float = self._child.answer()
        return share


def spoken(
    speaker: Speaker, crowds: Sequence[Crowd], burst: Burst, *, to_all: bool = True
) -> tuple[Sent, list[Heard]]:
    """Have the speaker send to the crowds, and all of it heard."""
    for crowd in crowds:
        crowd.listen(burst, all_of_it=to_all)
    speaker.send(burst, to_all=to_all)
    sent = speaker.sent()
    return sent, [crowd.heard() for crowd in crowds]


def be_a_crowd(connection: Connection, config: MeshConfig, topic: str, charts: int) -> None:
    """Start charts that hear a topic, of which the first hears one more; say what all takes."""
    began = _Began()
    made: list[Any] = [
        NetworkedActiveObject(
            f"chart_{number}",
            config=config,
            tx_routing_key=f"{topic}.unheard",
            rx_routing_key=(topic, f"{topic}.first") if number == 0 else topic,
        )
        for number in range(charts)
    ]
    for chart in made:
        chart.start_at(counting)
    connection.send(began.start())
    books: dict[str, Book] = {}
    while task := connection.recv():
        # What comes twice may come after the last one.
        _check(books.values())
        if isinstance(task, Rest):
            connection.send(task.share())
            continue
        burst, to_all = task
        books = {}
        for chart in made if to_all else made[:1]:
            chart.tally = books[chart.name] = Book(1, burst.events)
        spent_s = time.process_time()
        connection.send("listening")
        connection.send(hear(books, spent_s))
    _check(books.values())
    for chart in made:
        chart.stop()
    connection.send("stopped")
    connection.recv()


def speak(connection: Connection, config: MeshConfig, topic: str, peers: Sequence[Broker]) -> None:
    """Send to all charts of the crowds, or to the first of each, and say what that took."""
    began = _Began()
    chart = NetworkedActiveObject(
        "speaker", config=config, tx_routing_key=topic, rx_routing_key=f"{topic}.unheard"
    )
    chart.start_at(silent)
    # What discovery does, without its search.
    for publisher in [node_of(chart).peers.add(peer) for peer in peers]:
        publisher.wait_ready(CONNECT_LIMIT_S)
    connection.send(began.start())
    while task := connection.recv():
        if isinstance(task, Rest):
            connection.send(task.share())
            continue
        if isinstance(task, CpuTime):
            connection.send(time.process_time())
            continue
        burst, to_all = task
        key = topic if to_all else f"{topic}.first"
        connection.send(Sent(burst.send(partial(chart.transmit, routing_key=key))))
    chart.stop()


class _Began:
    """When something began, and what the process had taken until then."""

    def __init__(self) -> None:
        self._memory = resident_bytes()
        self._spent_s = time.process_time()
        self._at = time.monotonic()

    def start(self) -> Start:
        """Say what has been taken since."""
        return Start(
            start_s=time.monotonic() - self._at,
            start_cpu_s=time.process_time() - self._spent_s,
            threads=threading.active_count(),
            memory=resident_bytes() - self._memory,
        )


def _check(books: Iterable[Book]) -> None:
    for book in books:
        book.check()
