"""`make bench ARGS=peers`: events from one process to another, beside other libraries' messages."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import peer_report
import report
import servers
import talks
from brokers import ROOT, Measured, embedded, plain_url, rabbitmq
from environment import environment, locked
from measure import MeasureError
from miros_mesh.cli.options import BrokerOption, add_broker
from options import file_to_write, from_to, names_of
from peer_report import (
    AIO_PIKA,
    BARE,
    DRAMATIQ,
    EMBEDDED,
    FASTSTREAM,
    KOMBU,
    MESH,
    NAMEKO,
    NATS,
    OWN,
    PROMISES,
    REDIS,
    STOCK,
)
from talks import Rounds, Talk

COMMAND = "peers"
_T = TypeVar("_T")
_S = TypeVar("_S", Measured, servers.Server)
SIZE = 100
WARM_UP_EVENTS = 500
# No round begins that would end after this, so that all of it stays below ten minutes.
LIMIT_S = 450.0
QUICK = 20
# Of nameko, as installed.
WORKERS = 10


class MissingError(Exception):
    """What a column needs is not on this machine; its text is the sentence that is printed."""


class Machine:
    """The servers and the environments, each begun when the first column needs it."""

    def __init__(self, stack: ExitStack, broker: BrokerOption) -> None:
        self._stack = stack
        self._broker = broker
        self._missing: dict[str, MissingError] = {}
        self.versions = [f"{name} {metadata.version(name)}" for name in ("miros", "kombu")]

    @cached_property
    def rabbitmq(self) -> Measured:
        """A private RabbitMQ, or the one that was given, whose processor time is not known."""
        return self._there("rabbitmq-server", rabbitmq(self._broker))

    @cached_property
    def embedded(self) -> Measured:
        """The embedded broker."""
        return self._there("SQLite", embedded())

    @cached_property
    def nats(self) -> servers.Server:
        """A private NATS."""
        return self._there("nats-server", servers.nats())

    @cached_property
    def redis(self) -> servers.Server:
        """A private Redis."""
        return self._there("redis-server", servers.redis())

    @cached_property
    def peers(self) -> Path:
        """The Python with the other libraries."""
        return self._made("peers", "aio-pika", "faststream", "dramatiq", "nats-py", "redis")

    @cached_property
    def nameko(self) -> Path:
        """The Python with nameko, which changes what the others rely on."""
        return self._made("nameko", "nameko")

    def _there(self, name: str, server: AbstractContextManager[_S | None]) -> _S:
        def start() -> _S:
            _say(f"starting {name} ...")
            found = self._stack.enter_context(server)
            if found is None:
                raise MissingError(f"there is no {name} here: sudo apt-get install {name}")
            self.versions.append(found.version)
            return found

        return self._once(name, start)

    def _made(self, group: str, *names: str) -> Path:
        def make() -> Path:
            _say(f"looking after the environment of {group} ...")
            try:
                found = environment(group)
            except MeasureError as error:
                raise MissingError(str(error)) from error
            self.versions += locked(group, *names)
            return found

        return self._once(group, make)

    def _once(self, name: str, get: Callable[[], _T]) -> _T:
        """What could not be had is not tried again for the next column."""
        if name in self._missing:
            raise self._missing[name]
        try:
            return get()
        except MissingError as error:
            self._missing[name] = error
            raise


@dataclass(frozen=True)
class Way:
    """How a column is opened, and how many events its burst has: about two seconds of work."""

    opens: Callable[[ExitStack, Machine], Talk]
    events: int


def _mesh(
    stack: ExitStack, broker: Measured, roles: Sequence[str] = ("receiver", "sender")
) -> Talk:
    settings = talks.mesh(broker)
    return Talk(stack, Path(sys.executable), "charts", roles, broker.pid, **settings)


def _stock(stack: ExitStack, _: Machine) -> Talk:
    return Talk(stack, Path(sys.executable), "charts", ["stock"])


def _kombu(stack: ExitStack, machine: Machine, *, confirmed: bool) -> Talk:
    broker = machine.rabbitmq
    return Talk(
        stack,
        Path(sys.executable),
        "kombu_peer",
        broker=broker.pid,
        url=plain_url(broker),
        confirmed=confirmed,
    )


def _amqp(stack: ExitStack, broker: Measured, python: Path, program: str, **settings: Any) -> Talk:
    url = plain_url(broker)
    return Talk(stack, python, program, broker=broker.pid, url=url, **settings)


def _other(stack: ExitStack, server: servers.Server, python: Path, program: str) -> Talk:
    return Talk(stack, python, program, broker=server.pid, url=server.url)


WAYS: dict[str, Way] = {
    STOCK: Way(_stock, 20_000),
    OWN: Way(lambda stack, machine: _mesh(stack, machine.embedded, ["own"]), 20_000),
    MESH: Way(lambda stack, machine: _mesh(stack, machine.rabbitmq), 20_000),
    EMBEDDED: Way(lambda stack, machine: _mesh(stack, machine.embedded), 20_000),
    NATS: Way(lambda stack, m: _other(stack, m.nats, m.peers, "nats_peer"), 20_000),
    REDIS: Way(lambda stack, m: _other(stack, m.redis, m.peers, "redis_peer"), 20_000),
    BARE: Way(partial(_kombu, confirmed=False), 5_000),
    KOMBU: Way(partial(_kombu, confirmed=True), 3_000),
    AIO_PIKA: Way(lambda stack, m: _amqp(stack, m.rabbitmq, m.peers, "aio_pika_peer"), 3_000),
    FASTSTREAM: Way(lambda stack, m: _amqp(stack, m.rabbitmq, m.peers, "faststream_peer"), 2_000),
    DRAMATIQ: Way(lambda stack, m: _amqp(stack, m.rabbitmq, m.peers, "dramatiq_peer"), 2_000),
    NAMEKO: Way(
        lambda stack, m: _amqp(stack, m.rabbitmq, m.nameko, "nameko_peer", workers=WORKERS), 2_000
    ),
}


@dataclass
class Column:
    """A library, its two programs, and what came of it."""

    name: str
    talk: Talk
    events: int
    idle: int
    rounds: Rounds = field(default_factory=Rounds)

    def measure(self) -> None:
        """Add a round."""
        burst = self.talk.burst(self.events, SIZE)
        latencies_s = self.talk.idle(self.idle, SIZE)
        self.rounds.bursts.append(burst)
        self.rounds.latencies_s.append(latencies_s)


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 when a column that could be opened did not come to its figures."""
    options = _options(arguments)
    with ExitStack() as stack:
        machine = Machine(stack, options.broker)
        columns, missing, failed = _opened(stack, machine, options)
        _measure(columns, options.runs, failed)
        where = report.machine(machine.versions)
    figures = {column.name: column.rounds for column in columns if column.name not in failed}
    if not figures:
        raise MeasureError("no column came to its figures: " + "; ".join(failed.values()))
    rounds = max(len(each.bursts) for each in figures.values())
    print(f"{where}\nMedians of {rounds} rounds, events of {SIZE} B; CPU is for 10,000 events.\n")
    parts = (peer_report.table, peer_report.ratios, peer_report.promises)
    print("\n\n".join([part(figures) for part in parts] + [peer_report.FRAMES]))
    for name, why in (missing | failed).items():
        print(f"\n{name} is left out: {why}")
    if options.json:
        text = json.dumps(_as_json(figures, where, missing | failed), indent=2)
        options.json.write_text(text + "\n")
    if options.write_docs:
        peer_report.write_docs(ROOT / "docs", figures, where)
    return 1 if failed else 0


def _opened(
    stack: ExitStack, machine: Machine, options: argparse.Namespace
) -> tuple[list[Column], dict[str, str], dict[str, str]]:
    """Open the columns; also why one is missing, or could not be opened though it is there."""
    columns, missing, failed = [], dict[str, str](), dict[str, str]()
    for name, way in WAYS.items():
        if name in options.without or (options.only and name not in options.only):
            continue
        _say(f"starting {name} ...")
        try:
            talk = way.opens(stack, machine)
        except MissingError as error:
            missing[name] = str(error)
            continue
        except MeasureError as error:
            failed[name] = str(error)
            continue
        events = way.events // QUICK if options.quick else way.events
        columns.append(Column(name, talk, events, options.idle))
    return columns, missing, failed


def _measure(columns: Sequence[Column], rounds: int, failed: dict[str, str]) -> None:
    """All take turns in each round, so that a slow moment of the machine is everyone's.

    Why a column has failed goes into `failed`, and the others go on without it.
    """
    for column in columns:
        _attempt(column, lambda each: each.talk.burst(WARM_UP_EVENTS, SIZE), failed)
    began = time.monotonic()
    done = 0
    while done < rounds and (time.monotonic() - began) * (done + 1) <= LIMIT_S * max(done, 1):
        done += 1
        for column in columns:
            if _attempt(column, Column.measure, failed):
                _say(f"round {done} of {rounds}: {_brief(column)}")
    if done < rounds:
        _say(f"stopping after {done} of {rounds} rounds: more would take over {LIMIT_S:g} s")


def _attempt(column: Column, measure: Callable[[Column], object], failed: dict[str, str]) -> bool:
    if column.name not in failed:
        try:
            measure(column)
        except MeasureError as error:
            failed[column.name] = str(error)
            _say(f"{column.name}: {error}")
    return column.name not in failed


def _as_json(
    figures: Mapping[str, Rounds], where: str, left_out: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "machine": where,
        "bytes": SIZE,
        "columns": {
            name: {"promises": asdict(PROMISES[name]), **rounds.as_json()}
            for name, rounds in figures.items()
        },
        "left_out": dict(left_out),
    }


def _brief(column: Column) -> str:
    burst, way_s = column.rounds.bursts[-1], statistics.median(column.rounds.latencies_s[-1])
    figures = f"{peer_report.rate(burst.events_per_s)} events/s"
    return f"{column.name.ljust(20)}  {figures}, {peer_report.milliseconds(way_s)}"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    if set(options.only or WAYS) <= set(options.without):
        parser.error("--without leaves no column to measure")
    if options.write_docs and (options.quick or options.only or options.without):
        parser.error("--write-docs takes a whole run, without --quick, --only or --without")
    if options.quick:
        options.runs, options.idle = min(options.runs, 2), min(options.idle, 20)
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench ARGS=peers", description=__doc__)
    add = parser.add_argument
    add_broker(parser, "a RabbitMQ to take, default: a private one")
    # A name may have a comma in it.
    names = names_of(WAYS, ";")
    add("--runs", type=from_to(1, 100), default=5, help="how many rounds (default %(default)d)")
    add(
        "--idle",
        type=from_to(2, 2_000),
        default=100,
        help="events sent idle, a round (default %(default)d)",
    )
    add("--quick", action="store_true", help="two rounds and a twentieth of the events")
    add("--only", type=names, default=(), metavar="NAME;...", help="these columns alone")
    add("--without", type=names, default=(), metavar="NAME;...", help="not these")
    add("--json", type=file_to_write, metavar="FILE", help="write every figure there, too")
    add("--write-docs", action="store_true", help="write tables and charts into docs/, too")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
