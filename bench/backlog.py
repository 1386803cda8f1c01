"""`make bench ARGS=backlog`: what waits while a receiver is away, or the broker, and then goes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from miros import Event, signals

import report
from brokers import Measured, embedded, private_rabbitmq
from chart import counting
from measure import Child, MeasureError
from miros_mesh import MeshConfig, NetworkedActiveObject
from options import file_to_write, from_to

# The folder of the tests is on the path since `brokers` is imported.
# isort: split
from support.rabbitmq_server import RabbitServer

COMMAND = "backlog"
EVENTS = 100_000
LARGEST = 1_000_000
# An event is about 130 bytes on its way; the limit is for all of them, and then some.
FILLER = "x" * 40
BYTES_EACH = 400
# A sender that is faster than its broker waits, before its outbox has to drop anything.
PATIENT_EVENTS = 50_000
# For a thousandth of the largest backlog it is more than a second, on a machine that is busy.
LIMIT_S = 1_500.0
# Without a handled event for so long, the rest is lost.
SILENCE_S = 60.0
_LOOK_AGAIN_S = 0.02
_CHECK_EVERY = 1_000
NOTES = """\
Accumulate: the calls of `transmit`, and the confirms where there is a broker. Memory: the peak of
the process above what it had when idle. Drain: from the first to the last handler. CPU: of the
sender's process, and of the receiver's, for an event.
docs/benchmarks.md says what is measured."""


@dataclasses.dataclass
class Backlog:
    """What one backlog took."""

    broker: str
    away: str
    """Who was: `receiver` or `broker`."""
    events: int
    accumulated_per_s: float = 0.0
    sender_us: float = 0.0
    """CPU of the sender's process for an event."""
    sender_mib: float = 0.0
    """The sender's peak above idle."""
    stored_mib: float | None = None
    """The embedded broker's files at the end of it."""
    drained_per_s: float = 0.0
    receiver_us: float = 0.0
    """CPU of the receiver's process for an event."""
    receiver_mib: float = 0.0
    """The receiver's peak above idle."""
    lost: int = 0
    doubled: int = 0
    late: int = 0
    """Events that came after a later one."""


class Ledger:
    """Counts what is handled, on the chart's thread."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._seen = bytearray(expected + 1)
        self._last = 0
        self.handled = 0
        self.doubled = 0
        self.late = 0
        self.first_s = 0.0
        self.last_s = 0.0
        self.complete = threading.Event()

    def count(self, payload: list[Any]) -> None:
        """Handle one event."""
        number = payload[0]
        self.last_s = time.monotonic()
        self.first_s = self.first_s or self.last_s
        if self._seen[number]:
            self.doubled += 1
            return
        self._seen[number] = 1
        self.late += number < self._last
        self._last = max(self._last, number)
        self.handled += 1
        if self.handled == self._expected:
            self.complete.set()

    def wait(self) -> None:
        """Wait until all came, or nothing has for a while."""
        before = -1
        while not self.complete.wait(SILENCE_S) and before != self.handled:
            before = self.handled

    @property
    def figures(self) -> dict[str, float]:
        """What was measured."""
        return {
            "drained_per_s": self.handled / max(self.last_s - self.first_s, 1e-9),
            "lost": self._expected - self.handled,
            "doubled": self.doubled,
            "late": self.late,
        }


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 when an event was lost, doubled or out of order."""
    options = _parser().parse_args(arguments)
    backlogs, versions = list[Backlog](), list[str]()
    for measured in measure(options.events, versions.append):
        backlogs.append(measured)
        _say(", ".join(f"{name} {value}" for name, value in _shown(measured).items()))
    print(f"{report.machine(versions)}\n\n{table(backlogs)}\n\n{NOTES}")
    if options.json:
        options.json.write_text(json.dumps([*map(dataclasses.asdict, backlogs)], indent=2) + "\n")
    return int(any(each.lost or each.doubled or each.late for each in backlogs))


def measure(
    events: int, say_version: Callable[[str], object] = lambda _: None
) -> Iterator[Backlog]:
    """Measure each backlog in turn; those at RabbitMQ only where it is installed."""
    with embedded() as broker:
        say_version(broker.version)
        yield receiver_away(broker, events)
    with private_rabbitmq() as (server, broker):
        if server is not None and broker is not None:
            say_version(broker.version)
            yield receiver_away(broker, events)
            yield broker_away(server, broker, events)


def receiver_away(broker: Measured, events: int) -> Backlog:
    """A named node is away, and its broker keeps what is for it."""
    backlog = Backlog(broker.title, "receiver", events)
    with _pair(broker.config, events) as (sender, receiver):
        # It was there once: its queue is.
        with receiver() as known:
            known.answer(LIMIT_S)
        _accumulate(backlog, sender)
        home = broker.config.home
        backlog.stored_mib = _size(home) if home else None
        with receiver() as back:
            back.answer(LIMIT_S)
            _drain(backlog, back)
    return backlog


def broker_away(server: RabbitServer, broker: Measured, events: int) -> Backlog:
    """The sender's broker is away, and its outbox keeps what is for it."""
    backlog = Backlog(broker.title, "broker", events)
    with _pair(broker.config, events) as (sender, receiver), receiver() as there:
        there.answer(LIMIT_S)
        server.stop()
        try:
            _accumulate(backlog, sender)
        finally:
            server.start()
        _drain(backlog, there)
    return backlog


def speak(connection: Connection, config: MeshConfig, topic: str, events: int) -> None:
    """Send as many events as fast as the outbox has room for them."""
    chart: Any = NetworkedActiveObject(
        "sender", config=config, tx_routing_key=topic, rx_routing_key=f"{topic}.none"
    )
    chart.start_at(counting)
    connection.send("ready")
    while away := connection.recv():
        idle_mib, pause = _memory_mib("VmRSS"), threading.Event()
        began, spent_s = time.monotonic(), time.process_time()
        for number in range(1, events + 1):
            chart.transmit(Event(signal=signals.bench, payload=[number, FILLER]))
            while (
                away == "receiver"
                and number % _CHECK_EVERY == 0
                and chart.health().outbox_events > PATIENT_EVENTS
            ):
                pause.wait(_LOOK_AGAIN_S)
        if away == "receiver":
            _wait(lambda: chart.health().outbox_events == 0)
        seconds = time.monotonic() - began
        each_us = (time.process_time() - spent_s) / events * 1e6
        connection.send((events / seconds, each_us, _memory_mib("VmHWM") - idle_mib))
    chart.stop()


def hear(connection: Connection, config: MeshConfig, topic: str, events: int) -> None:
    """Handle what has waited, and what still comes."""
    chart: Any = NetworkedActiveObject(
        "receiver", config=config, tx_routing_key=f"{topic}.none", rx_routing_key=topic
    )
    chart.tally = ledger = Ledger(events)
    idle_mib = _memory_mib("VmRSS")
    chart.start_at(counting)
    connection.send("ready")
    spent_s = time.process_time()
    if connection.recv():
        ledger.wait()
        each_us = (time.process_time() - spent_s) / events * 1e6
        peak_mib = _memory_mib("VmHWM") - idle_mib
        # A second copy would come at once.
        chart.stop()
        connection.send(
            {**ledger.figures, "receiver_us": each_us, "receiver_mib": peak_mib},
        )
        connection.recv()
    else:
        chart.stop()


def table(backlogs: Sequence[Backlog]) -> str:
    """A row for each backlog."""
    shown = [_shown(each) for each in backlogs]
    rows = [list(shown[0]), *(list(each.values()) for each in shown)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index > 1 else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


@contextmanager
def _pair(config: MeshConfig, events: int) -> Iterator[tuple[Child, Callable[[], Child]]]:
    """A sender, and what makes a receiver of a named node; in processes of their own."""
    topic = f"bench.{secrets.token_hex(4)}"
    sends = config.overridden(
        outbox_events=max(2 * events, config.outbox_events),
        outbox_bytes=max(events * BYTES_EACH, config.outbox_bytes),
    )
    hears = config.overridden(node_name=f"backlog-{topic[-8:]}")
    with Child(speak, sends, topic, events) as sender:
        sender.answer(LIMIT_S)
        yield sender, lambda: Child(hear, hears, topic, events)


def _accumulate(backlog: Backlog, sender: Child) -> None:
    sender.tell(backlog.away)
    took = sender.answer(LIMIT_S)
    backlog.accumulated_per_s, backlog.sender_us, backlog.sender_mib = took


def _drain(backlog: Backlog, receiver: Child) -> None:
    receiver.tell("drain")
    for name, value in receiver.answer(LIMIT_S).items():
        setattr(backlog, name, value)


def _wait(done: Callable[[], bool]) -> None:
    until, pause = time.monotonic() + LIMIT_S, threading.Event()
    while not done():
        if time.monotonic() > until:
            raise MeasureError(f"not confirmed within {LIMIT_S:g} s")
        pause.wait(_LOOK_AGAIN_S)


def _shown(backlog: Backlog) -> dict[str, str]:
    stored = "" if backlog.stored_mib is None else f"{backlog.stored_mib:.0f} MiB"
    return {
        "broker": backlog.broker,
        "away": backlog.away,
        "events": f"{backlog.events:,}",
        "accumulate": f"{backlog.accumulated_per_s:,.0f}/s",
        "CPU": f"{backlog.sender_us:.0f} us",
        "sender": f"{backlog.sender_mib:.0f} MiB",
        "stored": stored,
        "drain": f"{backlog.drained_per_s:,.0f}/s",
        "its CPU": f"{backlog.receiver_us:.0f} us",
        "receiver": f"{backlog.receiver_mib:.0f} MiB",
        "lost": str(backlog.lost),
        "doubled": str(backlog.doubled),
        "late": str(backlog.late),
    }


def _memory_mib(name: str) -> float:
    """What the system says of this process alone; the peak that `getrusage` has is its parent's."""
    status = Path("/proc/self/status").read_text()
    (line,) = [each for each in status.splitlines() if each.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024


def _size(folder: Path) -> float:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file()) / 2**20


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench ARGS=backlog", description=__doc__)
    add = parser.add_argument
    add(
        "--events",
        type=from_to(1, LARGEST),
        default=EVENTS,
        help="how many wait (default %(default)d)",
    )
    add("--json", type=file_to_write, metavar="FILE", help="write every figure there, too")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
