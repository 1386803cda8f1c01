"""Processes: each is a node with one chart, and every chart hears all others."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from miros import Event, return_status, signals, spy_on

from brokers import Measured
from measure import Child, MeasureError
from miros_mesh import CHART_UP, MeshConfig, NetworkedActiveObject
from processes import cpu_s
from scale import units
from scale.actors import ANSWER_LIMIT_S, START_LIMIT_S, Book, Burst, Heard, Rest, hear
from scale.axes import Axis, Take
from scale.growth import Metric, Point

# Together, of all charts.
DELIVERIES = 16_000
MOST_EVENTS, FEWEST_EVENTS = 4_000, 10
REST, REST_TOLD = Rest(3.0), Rest(1.0)
# What a node says of its charts, it repeats so often: one that starts as the others do may miss
# what they say first. The default is 5 s, which would hide what grows.
HEARTBEAT_S = 1


@dataclass(frozen=True)
class Join:
    """A mesh to become a node of."""

    config: MeshConfig
    topic: str
    number: int
    others: int


@dataclass(frozen=True)
class Joined:
    """A node that knows all others."""

    started_ns: int
    complete_ns: int


@dataclass(frozen=True)
class Spoken:
    """What one node has sent and heard."""

    first_ns: int
    heard: Heard


@spy_on
def meeting(chart: Any, event: Event) -> Any:
    """The one state: counts the other charts, and their events."""
    if event.signal == signals.bench:
        chart.tally.count(event.payload)
        return return_status.HANDLED
    if event.signal_name == CHART_UP:
        chart.known.add(event.payload.node)
        if len(chart.known) == chart.others:
            chart.complete_ns = time.monotonic_ns()
            chart.complete.set()
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


def be_one_of_many(connection: Connection) -> None:
    """Be a node of one mesh after the other, as long as there are any."""
    connection.send("ready")
    while join := connection.recv():
        _take_part(connection, join)


def _take_part(connection: Connection, join: Join) -> None:
    chart: Any = NetworkedActiveObject("chart", config=join.config, tx_routing_key=join.topic)
    chart.known, chart.others, chart.complete = set(), join.others, threading.Event()
    chart.start_at(meeting)
    started_ns = time.monotonic_ns()
    if join.config.tell_charts:
        if not chart.complete.wait(START_LIMIT_S):
            raise MeasureError(f"{len(chart.known)} of {join.others} other charts are known")
        connection.send(Joined(started_ns, chart.complete_ns))
    else:
        connection.send(Joined(started_ns, started_ns))
    book = Book(0, 0)
    while task := connection.recv():
        # What comes twice may come after the last one.
        book.check()
        if isinstance(task, Rest):
            connection.send(task.share())
            continue
        chart.tally = book = Book(join.others, task.events)
        spent_s = time.process_time()
        connection.send("listening")
        # Once all others listen.
        connection.recv()
        first_ns = task.send(chart.transmit, join.number)
        connection.send(Spoken(first_ns, hear({join.topic: book}, spent_s)))
    chart.stop()
    connection.send("stopped")


@contextmanager
def opened(counts: tuple[int, ...]) -> Iterator[Take]:
    """As many processes as the largest point has, which live as long as the axis."""
    with ExitStack() as stack:
        children = [stack.enter_context(Child(be_one_of_many)) for _ in range(max(counts))]
        for child in children:
            child.answer(START_LIMIT_S)
        yield lambda broker, processes: _measured(broker, children[:processes])


def _measured(broker: Measured, children: Sequence[Child]) -> Point:
    told = broker.config.overridden(tell_charts=True, heartbeat_interval_s=HEARTBEAT_S)
    with _mesh(told, children) as (began_ns, joined):
        complete_s = (max(each.complete_ns for each in joined) - began_ns) / 1e9
        idle_told = _rest(children, REST_TOLD)
    with _mesh(broker.config, children) as (began_ns, joined):
        start_s = (max(each.started_ns for each in joined) - began_ns) / 1e9
        spoken = _all_speak(broker, children)
        idle = _rest(children, REST)
    return {
        "start_s": start_s,
        "complete_s": complete_s,
        **spoken,
        "idle": idle,
        "idle_told": idle_told,
    }


@contextmanager
def _mesh(config: MeshConfig, children: Sequence[Child]) -> Iterator[tuple[int, list[Joined]]]:
    """A mesh of these processes; gives when it was begun, and what each of them says."""
    topic, began_ns = f"bench.{secrets.token_hex(4)}", time.monotonic_ns()
    for number, child in enumerate(children):
        child.tell(Join(config, topic, number, len(children) - 1))
    yield began_ns, _answers(children)
    # Each stops its chart, and is there for the next mesh.
    _tell(children, None)
    _answers(children)


def _all_speak(broker: Measured, children: Sequence[Child]) -> Point:
    pairs = len(children) * (len(children) - 1)
    burst = Burst(max(min(DELIVERIES // pairs, MOST_EVENTS), FEWEST_EVENTS))
    _tell(children, burst)
    _answers(children)
    before_s = cpu_s(broker.pid)
    _tell(children, "begin")
    spoken: list[Spoken] = _answers(children)
    first_ns = min(each.first_ns for each in spoken)
    last_ns = max(each.heard.last_ns for each in spoken)
    deliveries = pairs * burst.events
    of_broker = {"broker_s": (cpu_s(broker.pid) - before_s) / deliveries} if broker.pid else {}
    return of_broker | {
        "per_s": deliveries / ((last_ns - first_ns) / 1e9),
        "cpu_s": sum(each.heard.cpu_s for each in spoken) / deliveries,
    }


def _rest(children: Sequence[Child], rest: Rest) -> float:
    _tell(children, rest)
    shares: list[float] = _answers(children)
    return sum(shares)


def _tell(children: Sequence[Child], task: object) -> None:
    for child in children:
        child.tell(task)


def _answers(children: Sequence[Child]) -> list[Any]:
    return [child.answer(ANSWER_LIMIT_S) for child in children]


AXIS = Axis(
    name="processes",
    what="processes of a mesh",
    counts=(2, 3, 5, 10, 20, 30),
    quick=(2, 3, 5),
    metrics=(
        Metric("start_s", "all have started", units.SECONDS),
        Metric("complete_s", "all know all", units.SECONDS, plotted=True),
        Metric("per_s", "deliveries/s, all hear all", units.NUMBER, good=True, plotted=True),
        Metric("cpu_s", "CPU of a delivery", units.MICROSECONDS, plotted=True),
        Metric("broker_s", "  of the broker", units.MICROSECONDS),
        Metric("idle", "idle, of all, share of a core", units.PERCENT, plotted=True),
        Metric("idle_told", "  told of all, each second", units.PERCENT),
    ),
    limit_s=110.0,
    open=opened,
)
