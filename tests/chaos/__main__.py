"""`make chaos`: random faults under steady traffic, and what became of every event."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from chaos.harms import HARMS
from chaos.laps import Lap, table
from chaos.mesh import SENDERS, Interrupted, Mesh, plan
from faults.flaps import GROWTH_LIMIT_BYTES, WARM_CUTS, Flapping, State
from faults.steady import LARGE_BYTES
from support.namespaces import Network, why_not
from support.rabbitmq_server import RabbitServer, find_programs

NAMES = ("alpha", "beta")
TELL_EVERY_S = 5.0
BEGIN, END = "<!-- made by make chaos -->", "<!-- end -->"
TELL_CUTS = 100
SETTINGS = f"max_message_size = {LARGE_BYTES // 2}\n"
INTERRUPTED = 130
DESCRIPTION = f"""\
Puts faults on two meshes of miros_mesh, one after the other and in random order, while events flow,
and ends with a table of what became of every event. Each mesh has a RabbitMQ of its own, {SENDERS}
senders and 2 receivers, each on a host of its own: network namespaces that are joined by a bridge
and by nothing else. Each receiver gets each event: where 100 are sent, 200 are delivered.
"""
EPILOGUE = """\
The same seed gives the same faults, in the same order, at the same places, for as long; which
packets are lost is chance. Exit status: 0 when every event arrived once and in order, 1 when not,
2 when the machine cannot do it, 130 after Ctrl-C.
"""

logger = logging.getLogger("chaos")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and print; 1 when an event was lost, doubled or out of order."""
    options = _parser().parse_args(arguments)
    programs = find_programs()
    lacking = why_not() or (None if programs else "needs rabbitmq-server: make rabbitmq")
    if lacking or not programs:
        _say(f"chaos {lacking}")
        return 2
    os.environ["MIROS_MESH_LAN"] = "off"
    folder = Path(tempfile.mkdtemp(prefix="mesh-chaos-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    status = INTERRUPTED
    with contextlib.suppress(KeyboardInterrupt):
        status = int(Run(options, folder, programs).all())
    if status == 1:
        _say(f"\nWhat the nodes and the brokers wrote down is in {folder}")
    else:
        shutil.rmtree(folder)
    return status


class Run:
    """Two meshes, the faults, the reconnects, the table."""

    def __init__(self, options: argparse.Namespace, folder: Path, programs: Path) -> None:
        self._options = options
        self._folder = folder
        self._programs = programs
        self._ending = threading.Event()
        self._began = time.monotonic()
        self._laps: list[Lap] = []
        self._growth = ""
        self._grown = False

    def all(self) -> bool:
        """Everything; whether something was harmed."""
        options = self._options
        _say(
            f"chaos: seed {options.seed}, {options.seconds:g} s of faults, then "
            f"{options.reconnects:,} reconnects; {options.rate:g} events/s"
        )
        with self._meshes() as meshes:
            self._harm(meshes)
            for mesh in meshes:
                mesh.close()
            if options.reconnects:
                self._reconnect(meshes[0])
            for mesh in meshes:
                self._laps += mesh.laps
            self._show(_machine(meshes[0].server))
        return self._grown or any(lap.harmed for lap in self._laps)

    @contextlib.contextmanager
    def _meshes(self) -> Iterator[list[Mesh]]:
        hosts: dict[str, list[str]] = {}
        for number, name in enumerate(NAMES, 1):
            hosts |= plan(name, number)
        with ExitStack() as stack, ThreadPoolExecutor() as pool:
            network = stack.enter_context(Network(hosts))
            servers = [self._server(stack, network, name) for name in NAMES]
            _all(pool, [server.start for server in servers])
            meshes = [self._mesh(network, server) for server in servers]
            for mesh in meshes:
                stack.callback(mesh.close)
            _all(pool, [mesh.start for mesh in meshes])
            self._tell("two brokers and eight nodes are up")
            yield meshes
            self._tell("everything ends")

    def _server(self, stack: ExitStack, network: Network, name: str) -> RabbitServer:
        server = network[name].rabbitmq(self._folder / name, self._programs, SETTINGS)
        stack.callback(server.close)
        return server

    def _mesh(self, network: Network, server: RabbitServer) -> Mesh:
        options = self._options
        name = next(name for name in NAMES if network[name].host == server.host)
        folder = self._folder / f"{name}-nodes"
        folder.mkdir()
        return Mesh(
            name,
            network,
            server,
            folder=folder,
            per_s=options.rate / len(NAMES),
            seed=f"{options.seed} {name}",
            ending=self._ending,
            tell=self._tell,
        )

    def _harm(self, meshes: Sequence[Mesh]) -> None:
        until = time.monotonic() + self._options.seconds
        with ThreadPoolExecutor() as pool:
            runs = [pool.submit(_laps, mesh, until) for mesh in meshes]
            try:
                while not all(run.done() for run in runs):
                    wait(runs, TELL_EVERY_S)
                    self._progress(meshes)
            except KeyboardInterrupt:
                _say("\nmending, and ending")
                self._ending.set()
                raise
            for run in runs:
                run.result()

    def _progress(self, meshes: Sequence[Mesh]) -> None:
        doing = "; ".join(f"{mesh.name}: {mesh.doing}" for mesh in meshes)
        sent = sum(mesh.sent for mesh in meshes)
        delivered = sum(mesh.delivered for mesh in meshes)
        self._tell(f"sent {sent:,}, delivered {delivered:,}; {doing}")

    def _reconnect(self, mesh: Mesh) -> None:
        times, states = [time.monotonic()], []
        url = mesh.server.url(mesh.server.new_vhost())
        with (self._folder / "reconnects.log").open("wb") as complaints:
            for state in Flapping(url, self._options.reconnects, mesh.senders[0].host, complaints):
                times.append(time.monotonic())
                states.append(state)
                if state.cuts % TELL_CUTS == 0:
                    self._tell(f"all connections cut {state.cuts} times: {_held(state)}")
        warm, last = next(state for state in states if state.warm), states[-1]
        account = last.account
        self._laps.append(
            Lap(
                "all connections cut",
                account.sent,
                last.handled,
                account.lost,
                account.duplicated,
                account.out_of_order,
                [later - earlier for earlier, later in pairwise(times[1:])],
                times=last.cuts,
            )
        )
        self._growth = f"All connections cut, after {warm.cuts} to warm up: {last.growth(warm)}."
        held = (last.descriptors, last.threads) == (warm.descriptors, warm.threads)
        self._grown = not held or last.memory_bytes - warm.memory_bytes > GROWTH_LIMIT_BYTES

    def _show(self, machine: str) -> None:
        options = self._options
        words = (
            f"Seed {options.seed}, {options.seconds:g} s of faults, {options.rate:g} events/s, "
            f"{machine}."
        )
        text = "\n\n".join(filter(None, (words, table(self._laps), self._growth)))
        _say(f"\n{text}\n")
        if options.write:
            _write(options.write, text)

    def _tell(self, what: str) -> None:
        _say(f"[{time.monotonic() - self._began:5.0f} s] {what}")


def _laps(mesh: Mesh, until: float) -> None:
    """Every fault once in random order, then again, until the time is over."""
    deck: list[str] = []
    fault = ""
    try:
        while time.monotonic() < until:
            if not deck:
                deck = sorted(HARMS)
                mesh.random.shuffle(deck)
            fault = deck.pop()
            mesh.lap(fault, HARMS[fault])
    except Interrupted:
        return
    except Exception:
        logger.exception("%s ends, it cannot go on after: %s", mesh.name, mesh.doing)
        mesh.laps.append(Lap(fault, 0, 0, 0, 0, 0, []))
    mesh.doing = "done"


def _all(pool: ThreadPoolExecutor, jobs: Sequence[Callable[[], None]]) -> None:
    started: list[Future[None]] = [pool.submit(job) for job in jobs]
    for job in started:
        job.result()


def _held(state: State) -> str:
    memory = state.memory_bytes / 1024 / 1024
    return (
        f"memory {memory:.1f} MiB, descriptors {state.descriptors}, threads {state.threads}, "
        f"lost {state.lost}, duplicated {state.duplicated}, out of order {state.out_of_order}"
    )


def _machine(server: RabbitServer) -> str:
    cores = len(os.sched_getaffinity(0))
    version = server.rabbitmqctl("version")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{cores} cores, Linux {platform.machine()}, {python}, RabbitMQ {version}"


def _page(name: str) -> Path:
    file = Path(name)
    _, found, rest = (file.read_text() if file.is_file() else "").partition(BEGIN)
    if not (found and END in rest):
        raise argparse.ArgumentTypeError(f"{file} has no place for the table: {BEGIN} ... {END}")
    return file


def _write(file: Path, text: str) -> None:
    before, _, rest = file.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    file.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _say(what: str) -> None:
    print(what, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make chaos",
        description=DESCRIPTION,
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="no fault begins after this time (600)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=random.SystemRandom().randrange(10_000),
        help="what decides on the faults; printed at the start (random)",
    )
    parser.add_argument(
        "--rate", type=float, default=400.0, help="events sent in a second, all told (400)"
    )
    parser.add_argument(
        "--reconnects",
        type=int,
        default=1000,
        help=f"of the last phase, after {WARM_CUTS} or more to warm up; 0 leaves it out (1000)",
    )
    parser.add_argument(
        "--write", type=_page, metavar="FILE", help=f"put the table there, after {BEGIN}"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
