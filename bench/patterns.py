"""`make bench ARGS=patterns`: requests and their answers, beside raw Kombu and nameko."""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial

import mesh_asking
import raw_kombu
import report
from asking import Asked, Contender, Pair, Program, Requests
from brokers import BrokerError, Measured, plain_url, rabbitmq
from chart import FILLER
from environment import environment
from foreign import Foreign
from measure import Child
from miros_mesh.cli.options import add_broker
from options import file_to_write, from_to, names_of

COMMAND = "patterns"
IN_FLIGHT = 64
WARM_UP = Requests(200, 500, IN_FLIGHT)
# No round begins that would end after this.
LIMIT_S = 110.0
# More of nameko's workers do not answer more: measured with 10, its default, and with 64.
NAMEKO_WORKERS = 10

RAW, NAMEKO, CHART, CLIENT = "raw Kombu", "nameko", "chart.request", "MeshClient"
GUARANTEES = {
    RAW: "RabbitMQ's direct reply-to: not confirmed, acknowledged, stored or encrypted",
    NAMEKO: "RPC as it is installed: confirmed, stored, acknowledged; not encrypted",
    CHART: "answered in a handler: confirmed, acknowledged, in order, encrypted",
    CLIENT: "answered by the same chart: the same; a thread waits for each request",
}

Opens = Callable[[ExitStack, Measured], Contender]


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 when something could not be measured."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if set(GUARANTEES) <= set(options.without):
        parser.error("--without leaves no column to measure")
    requests = Requests(options.alone, options.sustained, IN_FLIGHT)
    with ExitStack() as stack:
        _say("looking for RabbitMQ ...")
        broker = stack.enter_context(rabbitmq(options.broker))
        if broker is None:
            raise BrokerError("there is no rabbitmq-server on this machine: make rabbitmq")
        contenders = _opened(stack, broker, options.without)
        columns = _measure(contenders, options.runs, requests)
        where = report.machine([broker.version])
    rounds = len(next(iter(columns.values())))
    print(f"{where}\nMedians of {rounds} rounds.\n\n{table(columns)}\n\n{notes(columns)}")
    if options.json:
        options.json.write_text(json.dumps(_figures(columns, requests, where), indent=2) + "\n")
    return 0


def table(columns: Mapping[str, Sequence[Asked]]) -> str:
    """Medians of the rounds, with the lowest and the highest round below."""
    rows = [["", *columns]]
    for title, field, show in (
        ("round trip, median", "median_s", _milliseconds),
        ("round trip, p99", "p99_s", _milliseconds),
        (f"requests/s, {IN_FLIGHT} in flight", "per_s", _rate),
    ):
        values = [[getattr(asked, field) for asked in column] for column in columns.values()]
        rows.append([title, *(show(statistics.median(each)) for each in values)])
        rows.append(["  lowest to highest", *(f"{show(min(v))} to {show(max(v))}" for v in values)])
    return report.laid_out(rows)


def notes(columns: Mapping[str, Sequence[Asked]]) -> str:
    """The ratios, and what each column promises."""
    lines = []
    for name, column in columns.items():
        compared = []
        if RAW in columns and name != RAW:
            times = _median(column, "median_s") / _median(columns[RAW], "median_s")
            compared.append(f"{times:.2f} x the round trip of {RAW}")
        if NAMEKO in columns and name != NAMEKO:
            times = _median(column, "per_s") / _median(columns[NAMEKO], "per_s")
            compared.append(f"{times:.1f} x the requests/s of {NAMEKO}")
        lines.append(f"{name}: {', '.join(compared)}\n  {GUARANTEES[name]}")
    return "\n".join(lines)


def _opened(stack: ExitStack, broker: Measured, without: Sequence[str]) -> dict[str, Contender]:
    ways: dict[str, Opens] = {
        RAW: _raw,
        NAMEKO: _nameko,
        CHART: partial(_mesh, mesh_asking.ask),
        CLIENT: partial(_mesh, mesh_asking.ask_as_client),
    }
    contenders = {}
    for name, opens in ways.items():
        if name not in without:
            _say(f"starting {name} ...")
            contenders[name] = opens(stack, broker)
            contenders[name].ask(WARM_UP)
    return contenders


def _raw(stack: ExitStack, broker: Measured) -> Contender:
    queue = f"bench.{secrets.token_hex(4)}"
    address = broker.config.brokers[0]
    server = stack.enter_context(Child(raw_kombu.answer, address, queue))
    # The queue is the server's: it is there when the first request comes.
    return Pair(server, stack.enter_context(Child(raw_kombu.ask, address, queue)))


def _nameko(stack: ExitStack, broker: Measured) -> Contender:
    python = environment("nameko")
    settings = {"url": plain_url(broker), "workers": NAMEKO_WORKERS, "filler": FILLER}
    server = stack.enter_context(Foreign(python, "nameko_peer", role="server", **settings))
    server.wait()
    client = stack.enter_context(Foreign(python, "nameko_peer", role="client", **settings))
    client.wait()
    return Program(client)


def _mesh(asks: Callable[..., None], stack: ExitStack, broker: Measured) -> Contender:
    topic = f"bench.{secrets.token_hex(4)}"
    server = stack.enter_context(Child(mesh_asking.answer, broker.config, topic))
    return Pair(server, stack.enter_context(Child(asks, broker.config, topic)))


def _measure(
    contenders: Mapping[str, Contender], rounds: int, requests: Requests
) -> dict[str, list[Asked]]:
    """All take turns in each round, so that a slow moment of the machine is everyone's."""
    columns: dict[str, list[Asked]] = {name: [] for name in contenders}
    began = time.monotonic()
    done = 0
    while done < rounds and (time.monotonic() - began) * (done + 1) <= LIMIT_S * max(done, 1):
        for name, contender in contenders.items():
            columns[name].append(contender.ask(requests))
        done += 1
        _say(
            f"round {done} of {rounds}: " + "; ".join(_brief(n, c[-1]) for n, c in columns.items())
        )
    return columns


def _figures(
    columns: Mapping[str, Sequence[Asked]], requests: Requests, where: str
) -> dict[str, object]:
    return {
        "machine": where,
        "requests": asdict(requests),
        "columns": {
            name: {
                "promises": GUARANTEES[name],
                "rounds": [asdict(asked) for asked in column],
                "median": {f: _median(column, f) for f in asdict(column[0])},
            }
            for name, column in columns.items()
        },
    }


def _median(column: Sequence[Asked], field: str) -> float:
    values: list[float] = [getattr(asked, field) for asked in column]
    return statistics.median(values)


def _brief(name: str, asked: Asked) -> str:
    return f"{name} {_milliseconds(asked.median_s)}, {_rate(asked.per_s)}/s"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f} ms"


def _rate(per_s: float) -> str:
    return f"{round(per_s, -1):,.0f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench ARGS=patterns", description=__doc__)
    add = parser.add_argument
    add_broker(parser, "a RabbitMQ to take, default: a private one")
    add("--runs", type=from_to(1, 100), default=7, help="how many rounds (default %(default)d)")
    add(
        "--alone",
        type=from_to(2, 100_000),
        default=1_000,
        help="one at a time, a round (default %(default)d)",
    )
    add(
        "--sustained",
        type=from_to(IN_FLIGHT, 100_000),
        default=2_000,
        help=f"by {IN_FLIGHT}, a round (default %(default)d)",
    )
    add(
        "--without",
        type=names_of(GUARANTEES),
        default=(),
        metavar="NAME,...",
        help="columns to leave out",
    )
    add("--json", type=file_to_write, metavar="FILE", help="write every figure there, too")
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
