"""`miros-mesh demo`: two charts in two processes, their live trace, and the books at the end."""

from __future__ import annotations

import contextlib
import multiprocessing
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Literal, TypeVar

from miros_mesh.cli.ergodic import ErgodicActiveObject, ErgodicFactory
from miros_mesh.cli.ledger import Account, Ledger, table
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import MeshError, TraceError
from miros_mesh.observe.sequence import page
from miros_mesh.observe.sequence.model import diagram
from miros_mesh.observe.snoop.monitor import SnoopMonitor
from miros_mesh.wire.envelope import SnoopRecord

# Starting an interpreter on a busy machine takes seconds; a broker that does not answer, longer.
START_LIMIT_S = 60.0
END_LIMIT_S = 15.0
# What is under way when the talk ends may still arrive.
SETTLE_S = 1.0

Kind = Literal["ao", "fo"]


@dataclass(frozen=True)
class Part:
    """What a child process needs to play one of the two charts."""

    kind: Kind
    name: str
    routing_key: str
    config: MeshConfig
    prints: bool
    color: bool


def demo(config: MeshConfig, *, seconds: float, color: bool) -> int:
    """Let the two charts talk; 0 when every event arrived once."""
    run = secrets.token_hex(3)
    kinds: tuple[Kind, Kind] = ("ao", "fo")
    parts = [
        Part(
            kind=kind,
            name=f"{secrets.token_hex(3)[:5]}_{kind}",
            routing_key=f"demo.{run}.man",
            config=config,
            # Both print all they hear; one terminal needs it once.
            prints=kind == "ao",
            color=color,
        )
        for kind in kinds
    ]
    _introduce(parts, seconds)
    monitor = SnoopMonitor(config, networks=["snoop_trace"])
    seen = monitor.watch()
    with monitor:
        accounts = _talk(parts, seconds)
    if accounts is None:
        return 1
    _say("\n" + table(accounts) + "\n")
    _draw(item for item in seen if isinstance(item, SnoopRecord))
    return _conclude(accounts)


def _talk(parts: list[Part], seconds: float) -> list[Account] | None:
    """The books of both directions; None, said on standard error, when a chart could not talk."""
    players = [_Player(part) for part in parts]
    try:
        begin = max(player.ready() for player in players)
        time.sleep(seconds)
        end = time.time()
        time.sleep(SETTLE_S)
        ao, fo = (player.books() for player in players)
    except _PlayerError as error:
        sys.stdout.flush()
        sys.stderr.write(f"miros-mesh demo: {error}\n")
        return None
    finally:
        for player in players:
            player.close()
    return [Account.between(ao, fo, begin, end), Account.between(fo, ao, begin, end)]


def _introduce(parts: list[Part], seconds: float) -> None:
    where = (
        parts[0].config.brokers[0].redacted if parts[0].config.brokers else "embedded, no server"
    )
    _say(
        f"Two statecharts in two processes talk for {seconds:g} s ({where}).\n"
        f"  {parts[0].name}  a NetworkedActiveObject; its process prints this trace\n"
        f"  {parts[1].name}  a NetworkedFactory in another process\n"
        "Events named other_* came over the mesh; the others are each chart's own timers.\n"
    )


def _conclude(accounts: list[Account]) -> int:
    if not all(account.transmitted for account in accounts):
        _say("Too short a time: a chart sent nothing while the other one listened.")
        return 1
    lost = sum(account.lost for account in accounts)
    doubled = sum(account.duplicates for account in accounts)
    if lost or doubled:
        _say(f"{lost} events were lost and {doubled} arrived twice. This is a defect; report it.")
        return 1
    _say("Every event arrived once.")
    return 0


def _draw(records: Iterable[SnoopRecord]) -> None:
    """Write the sequence diagram of the talk and say where; the demo does not fail by it."""
    try:
        drawn = page(diagram(records))
        with tempfile.NamedTemporaryFile(
            "w", prefix="miros-mesh-demo-", suffix=".html", encoding="utf-8", delete=False
        ) as file:
            file.write(drawn)
    except (OSError, TraceError) as error:
        _say(f"There is no sequence diagram of this run: {error}\n")
        return
    _say(f"The sequence diagram of this run, for a browser: {file.name}\n")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class _PlayerError(Exception):
    """A child process could not play its part; sent by the child, raised in the parent."""


T = TypeVar("T")


class _Player:
    """A chart in a child process, seen from the parent."""

    def __init__(self, part: Part) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._name = part.name
        self._process = context.Process(target=play, args=(part, theirs), daemon=True)
        with _interrupts_held():
            self._process.start()
        theirs.close()

    def ready(self) -> float:
        """When the chart began to listen."""
        return self._answer(float)

    def books(self) -> Ledger:
        """End the talk and read the books."""
        with contextlib.suppress(ConnectionError):
            self._connection.send("stop")
        return self._answer(Ledger)

    def close(self) -> None:
        """Leave no process behind."""
        self._connection.close()
        self._process.join(END_LIMIT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self, expected: type[T]) -> T:
        try:
            answer = self._connection.recv() if self._connection.poll(START_LIMIT_S) else None
        except (EOFError, ConnectionError):
            raise _PlayerError(f"the process of {self._name} died") from None
        if isinstance(answer, _PlayerError):
            raise answer
        if not isinstance(answer, expected):
            raise _PlayerError(f"{self._name} did not answer within {START_LIMIT_S:g} s")
        return answer


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """What is started meanwhile never sees a Ctrl-C: its parent does, and ends it in good order."""
    # The tracker unblocks signals when it is started.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def play(part: Part, connection: Connection) -> None:
    """The child process: start a chart, let it talk until told to stop, send its books."""
    chart = _chart(part)
    try:
        chart.begin()
        connection.send(time.time())
        connection.recv()
        alive = chart.thread is not None and chart.thread.is_alive()
        chart.stop()
        connection.send(chart.ledger if alive else _PlayerError(f"chart {part.name} died"))
    except MeshError as error:
        with contextlib.suppress(ConnectionError):
            connection.send(_PlayerError(str(error)))
    except (EOFError, ConnectionError):
        # The parent has gone or was interrupted: there is nobody left to report to.
        chart.stop()


def _chart(part: Part) -> ErgodicActiveObject | ErgodicFactory:
    make = ErgodicActiveObject if part.kind == "ao" else ErgodicFactory
    chart = make(
        part.name,
        config=part.config,
        tx_routing_key=part.routing_key,
        on_trace_rx=None if part.prints else lambda _: None,
    )
    chart.ledger = Ledger(part.name)
    if part.color:
        chart.enable_snoop_trace()
    else:
        chart.enable_snoop_trace_no_color()
    return chart
