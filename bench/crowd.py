"""`make bench ARGS=charts`: what an event costs among many idle charts, and how soon they start."""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import report
from brokers import Measured, embedded, rabbitmq
from chart import Tally, Task, counting, silent
from measure import Child, MeasureError
from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.cli.options import add_broker

COMMAND = "charts"
COUNTS = (1, 100, 1_000)
WARM_UP = 50
LIMIT_S = 110.0
# On a machine that others use as well.
START_LIMIT_S = 300.0
_HANDLING_LIMIT_S = 60.0
NOTES = """\
x is the ratio to the process with one chart. CPU is that of the sending and the receiving process;
it has that of the idle charts in it, whose share of a core without events stands below.
docs/benchmarks.md says what is measured."""


@dataclass(frozen=True)
class Rest:
    """Nothing to do for a while."""

    seconds: float


@dataclass
class Crowd:
    """One process with charts, of which one is talked to, and what was measured of it."""

    broker: str
    charts: int
    start_s: float = 0.0
    start_cpu_s: float = 0.0
    cpu_s: list[float] = field(default_factory=list)
    """Of one event, in each round."""
    wall_s: list[float] = field(default_factory=list)
    """From `transmit` to the handler: the median of each round."""
    idle_share: float = 0.0
    """Of a core, while no event is sent."""


class Talk:
    """A crowd and the one that sends to it."""

    def __init__(self, stack: ExitStack, broker: Measured, charts: int) -> None:
        topic = f"bench.{secrets.token_hex(4)}"
        self.crowd = Crowd(broker.title, charts)
        self.receiver = stack.enter_context(Child(be_a_crowd, broker.config, topic, charts))
        self.crowd.start_s, self.crowd.start_cpu_s = self.receiver.answer(START_LIMIT_S)
        self._sender = stack.enter_context(Child(speak, broker.config, topic))
        self._sender.answer()

    def run(self, events: int) -> tuple[float, float]:
        """Send events one by one; returns the CPU of one, and the median of its way."""
        task = Task(events, paced=True)
        self.receiver.tell(task)
        self.receiver.answer()
        self._sender.tell(task)
        spent = self._sender.answer()
        result, heard = self.receiver.answer()
        if isinstance(result, str):
            raise MeasureError(f"{self.crowd.broker}, {self.crowd.charts} charts: {result}")
        return (spent + heard) / events, statistics.median(result.latencies_ns) / 1e9

    def measure(self, events: int) -> None:
        """Run once more, and note it."""
        cpu_s, wall_s = self.run(events)
        self.crowd.cpu_s.append(cpu_s)
        self.crowd.wall_s.append(wall_s)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 when something could not be measured."""
    options = _parser().parse_args(arguments)
    with ExitStack() as stack:
        _say("looking for RabbitMQ ...")
        server = stack.enter_context(rabbitmq(options.broker))
        makers: list[Callable[[], Measured]] = [lambda: stack.enter_context(embedded())]
        if server:
            makers.append(lambda: server)
        started = [_started_only(make(), options.started) for make in makers]
        talks = [_talk(stack, make(), count) for make in makers for count in options.counts]
        rounds = _measure(talks, options.runs, options.events)
        _rest(talks, options.rest)
        versions = [makers[0]().version, *([server.version] if server else [])]
    crowds = sorted([*started, *(talk.crowd for talk in talks)], key=lambda crowd: crowd.charts)
    print(f"{report.machine(versions)}\nMedians of {rounds} rounds.\n\n{table(crowds)}\n\n{NOTES}")
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in crowds], indent=2) + "\n")
    return 0


def be_a_crowd(connection: Connection, config: MeshConfig, topic: str, charts: int) -> None:
    """Start charts of which the first is talked to, and say what that and each task took."""
    began, spent = time.monotonic(), time.process_time()
    made: list[Any] = [
        NetworkedActiveObject(
            f"chart_{number}",
            config=config,
            tx_routing_key=f"{topic}.nobody",
            rx_routing_key=f"{topic}.{number}",
        )
        for number in range(charts)
    ]
    for chart in made:
        chart.start_at(silent if chart is not made[0] else counting)
    connection.send((time.monotonic() - began, time.process_time() - spent))
    while task := connection.recv():
        spent = time.process_time()
        if isinstance(task, Rest):
            threading.Event().wait(task.seconds)
            connection.send((time.process_time() - spent) / task.seconds)
            continue
        made[0].tally = tally = Tally(task.events)
        connection.send("listening")
        result = tally.result(_HANDLING_LIMIT_S)
        connection.send((result, time.process_time() - spent))
    for chart in made:
        chart.stop()


def speak(connection: Connection, config: MeshConfig, topic: str) -> None:
    """Send to the first chart of a crowd, and say how much CPU that took."""
    chart = NetworkedActiveObject(
        "sender", config=config, tx_routing_key=f"{topic}.0", rx_routing_key=f"{topic}.nobody"
    )
    chart.start_at(silent)
    connection.send("ready")
    while task := connection.recv():
        spent = time.process_time()
        task.run(chart.transmit)
        connection.send(time.process_time() - spent)
    chart.stop()


def table(crowds: Sequence[Crowd]) -> str:
    """A row for each number of charts and broker."""
    rows = [["broker", "charts", "CPU of an event", "its way", "idle", "start", "CPU of it"]]
    for broker in dict.fromkeys(crowd.broker for crowd in crowds):
        own = [crowd for crowd in crowds if crowd.broker == broker]
        rows += [_row(crowd, own[0]) for crowd in own]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(crowd: Crowd, one: Crowd) -> list[str]:
    return [
        crowd.broker,
        f"{crowd.charts:,}",
        _compared(crowd.cpu_s, one.cpu_s),
        _compared(crowd.wall_s, one.wall_s),
        f"{crowd.idle_share:.1%}" if crowd.cpu_s else "",
        f"{crowd.start_s:.2f} s",
        f"{crowd.start_cpu_s:.2f} s",
    ]


def _compared(values_s: Sequence[float], of_one_s: Sequence[float]) -> str:
    if not values_s:
        return ""
    median_s, one_s = statistics.median(values_s), statistics.median(of_one_s)
    return f"{median_s * 1000:.2f} ms  x {median_s / one_s:.2f}"


def _started_only(broker: Measured, charts: int) -> Crowd:
    with ExitStack() as stack:
        return _talk(stack, broker, charts).crowd


def _talk(stack: ExitStack, broker: Measured, charts: int) -> Talk:
    talk = Talk(stack, broker, charts)
    _say(f"{broker.title}: {charts:,} charts started in {talk.crowd.start_s:.2f} s")
    return talk


def _measure(talks: Sequence[Talk], rounds: int, events: int) -> int:
    """Measure all in turns, so that a slow moment of the machine is everyone's; returns how often.

    No round begins that would end after the limit.
    """
    for talk in talks:
        talk.run(WARM_UP)
    began = time.monotonic()
    done = 0
    while done < rounds and (time.monotonic() - began) * (done + 1) <= LIMIT_S * max(done, 1):
        for talk in talks:
            talk.measure(events)
        done += 1
        _say(f"round {done} of {rounds}: " + ", ".join(_brief(talk.crowd) for talk in talks))
    return done


def _rest(talks: Sequence[Talk], seconds: float) -> None:
    """Let all have nothing to do for a while, and note what they do all the same."""
    for talk in talks:
        talk.receiver.tell(Rest(seconds))
    for talk in talks:
        talk.crowd.idle_share = talk.receiver.answer()


def _brief(crowd: Crowd) -> str:
    return f"{crowd.broker} {crowd.charts:,}: {crowd.cpu_s[-1] * 1000:.2f} ms"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench ARGS=charts", description=__doc__)
    add = parser.add_argument
    add_broker(parser, "a RabbitMQ to take, default: a private one")
    add("--runs", type=int, default=7, help="how many rounds (default %(default)d)")
    add("--events", type=int, default=100, help="of a round (default %(default)d)")
    add("--counts", type=_numbers, default=COUNTS, help="of charts (default 1,100,1000)")
    add("--started", type=int, default=300, help="only started, besides (default %(default)d)")
    add("--rest", type=float, default=6.0, help="seconds without events (default %(default)g)")
    add("--json", type=Path, metavar="FILE", help="write every figure there, too")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in text.split(","))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
