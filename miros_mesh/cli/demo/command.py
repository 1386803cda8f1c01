"""`miros-mesh demo`: two charts in two processes, their live trace, and the books at the end."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from miros_mesh.cli.demo.ergodic import ErgodicActiveObject, ErgodicFactory
from miros_mesh.cli.demo.ledger import Account, Ledger, table
from miros_mesh.cli.demo.live_trace import LiveTrace
from miros_mesh.cli.demo.player import Player, PlayerError
from miros_mesh.cli.options import (
    LONGEST_RUN_S,
    BrokerOption,
    Commands,
    add_broker,
    seconds_up_to,
    wants_color,
)
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import TraceError
from miros_mesh.observe.sequence.diagram import diagram
from miros_mesh.observe.sequence.page import page
from miros_mesh.observe.snoop.monitor import SnoopMonitor
from miros_mesh.wire.envelope import SnoopRecord
from miros_mesh.wire.keyring import generate_key

# What is under way when the talk ends may still arrive.
SETTLE_S = 1.0

Kind = Literal["ao", "fo"]
KINDS: tuple[Kind, Kind] = ("ao", "fo")


@dataclass(frozen=True)
class Part:
    """What a child process needs to play one of the two charts."""

    kind: Kind
    name: str
    routing_key: str
    config: MeshConfig


def add(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "demo",
        help="two statecharts in two processes talk, and you watch",
        description="Run the ergodic example as a NetworkedActiveObject and a NetworkedFactory in "
        "two processes, show their live trace, and count every event. Exit code 1 if one was lost. "
        "At the end the sequence diagram of the run is written into an HTML file in the folder for "
        "temporary files (TMPDIR), and its name is printed.",
    )
    add_broker(parser, "amqp://user:password@host/vhost, default: embedded")
    parser.add_argument(
        "--seconds",
        type=seconds_up_to(LONGEST_RUN_S),
        default=20.0,
        help="how long they talk (default %(default)g)",
    )
    parser.add_argument("--no-color", action="store_true", help="print without colours")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    color = wants_color(options)
    if options.broker or os.environ.get("MIROS_MESH_HOME", "").strip():
        return demo(_with_key(options.broker), seconds=options.seconds, color=color)
    # The user's own folder may hold the store of another version.
    with tempfile.TemporaryDirectory("", "miros-mesh-demo-", ignore_cleanup_errors=True) as home:
        return demo(MeshConfig(home=Path(home)), seconds=options.seconds, color=color)


def _with_key(broker: BrokerOption) -> MeshConfig:
    """Return settings with a key of this run's own, so that the user needs none."""
    if broker is None:
        # Named, as the folder is meant, whatever broker the environment names.
        return MeshConfig(home=MeshConfig().home_folder)
    return MeshConfig(broker_url=broker, mesh_encryption_key=generate_key())


def demo(config: MeshConfig, *, seconds: float, color: bool) -> int:
    """Let the two charts talk for so long; return 0 when every event arrived once, else 1."""
    parts = _parts(config)
    _introduce(parts, seconds)
    monitor = SnoopMonitor(config, networks=["snoop_trace"])
    # Before the charts begin, so that it misses nothing.
    trace = LiveTrace(monitor.watch(), blue=parts[0].name, color=color)
    with monitor:
        # The parent has a node of its own for the monitor, which sends nothing and is in no books.
        accounts = _talk(parts, trace, seconds)
    if accounts is None:
        return 1
    trace.finish()
    _say("\n" + table(accounts) + "\n")
    _draw(trace.records)
    return _conclude(accounts)


def _parts(config: MeshConfig) -> list[Part]:
    run = secrets.token_hex(3)
    return [
        Part(
            kind=kind,
            name=f"{secrets.token_hex(3)[:5]}_{kind}",
            routing_key=f"demo.{run}.man",
            config=config,
        )
        for kind in KINDS
    ]


def _talk(parts: list[Part], trace: LiveTrace, seconds: float) -> list[Account] | None:
    """Return the books of both directions; None, said on standard error, if a chart failed."""
    players = [Player(part.name, partial(_chart, part)) for part in parts]
    try:
        for player in players:
            player.ready()
        for player in players:
            player.talk(begins=True)
        trace.show(seconds)
        for player in players:
            player.talk(begins=False)
        trace.show(SETTLE_S)
        ao, fo = (player.books() for player in players)
    except PlayerError as error:
        sys.stdout.flush()
        sys.stderr.write(f"miros-mesh demo: {error}\n")
        return None
    finally:
        for player in players:
            # Also after a Ctrl-C: the children do not see it, and end when their pipe closes.
            player.close()
    return [Account.between(ao, fo), Account.between(fo, ao)]


def _chart(part: Part) -> ErgodicActiveObject | ErgodicFactory:
    """Make the chart, in the process that plays the part."""
    # Called in the child: a chart has threads and connections, which no process can pass on.
    make = ErgodicActiveObject if part.kind == "ao" else ErgodicFactory
    chart = make(
        part.name,
        config=part.config,
        tx_routing_key=part.routing_key,
        # The parent shows what both do.
        on_trace_rx=lambda _: None,
    )
    chart.ledger = Ledger(part.name)
    chart.enable_snoop_trace()
    return chart


def _introduce(parts: list[Part], seconds: float) -> None:
    ao, fo = parts
    brokers = ao.config.brokers
    where = brokers[0].redacted if brokers else "embedded, no server"
    _say(
        f"Two statecharts in two processes talk for {seconds:g} s.\n"
        f"  broker    {where}\n"
        f"  {ao.name}  a NetworkedActiveObject\n"
        f"  {fo.name}  a NetworkedFactory\n"
        "Their trace shows each change of a state. Events named other_* came over the\n"
        "mesh from the other chart; the others are a chart's own timers.\n"
    )


def _draw(records: Iterable[SnoopRecord]) -> None:
    """Write the sequence diagram of the talk and say where; the demo does not fail by it."""
    try:
        drawn = page(diagram(records))
        # It stays: the user opens it after the demo has ended.
        with tempfile.NamedTemporaryFile(
            "w", prefix="miros-mesh-demo-", suffix=".html", encoding="utf-8", delete=False
        ) as file:
            file.write(drawn)
    except (OSError, TraceError) as error:
        _say(f"There is no sequence diagram of this run:\n{error}\n")
        return
    _say(f"The sequence diagram of this run, for a browser:\n{file.name}\n")


def _conclude(accounts: list[Account]) -> int:
    if not all(account.transmitted for account in accounts):
        _say("Too short a time: a chart sent nothing while the other one listened.")
        return 1
    lost = sum(account.lost for account in accounts)
    doubled = sum(account.duplicates for account in accounts)
    if lost or doubled:
        _say(f"{lost} events were lost and {doubled} arrived twice.\nThis is a defect; report it.")
        return 1
    _say("Every event arrived once.")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    # A child prints to the same terminal: lines must come in the order in which they are written.
    sys.stdout.flush()
