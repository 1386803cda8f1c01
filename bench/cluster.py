"""`make bench ARGS=cluster`: what queues cost one RabbitMQ, and a cluster of three.

A sender and a receiver, each a process; servers and processes are on hosts of a private network.
The four kinds take turns, so that a slow minute of the machine is every one's.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import report
from brokers import SCRATCH, BrokerError
from miros_mesh.wire.keyring import generate_key
from options import from_to
from support.actor import Actor
from support.namespaces import Host, Network, why_not
from support.rabbitmq_cluster import Cluster
from support.rabbitmq_server import RabbitServer, find_programs

COMMAND = "cluster"
ROLES = Path(__file__).with_name("cluster_roles.py")
SERVERS = ("ada", "bob", "cyd")
ALONE, NODES = "eve", "dan"
PLAN = {name: [f"10.7.0.{n}/24"] for n, name in enumerate((*SERVERS, ALONE, NODES), 1)}
# Events of a burst, by their size in bytes.
BURSTS = {100: 10_000, 1024: 5_000, 65_536: 300}
WHERE = ("one server", "three servers")
KINDS = tuple(itertools.product(WHERE, ("classic", "quorum")))
HEAD = (
    f"{'servers':<14}{'queue':<9}{'bytes':>7}"
    f"{'events/s':>10}{'sender':>9}{'receiver':>9}{'broker':>9}"
)
WAITING = 20_000
# A server keeps what waits in memory for a moment, and tells of it every five seconds.
_SETTLE_S = 6.0
_IDLE_S = 8.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """One burst."""

    per_s: float
    sender_us: float
    receiver_us: float
    broker_us: float


@dataclass(frozen=True)
class Place:
    """Where a burst goes."""

    servers: Sequence[RabbitServer]
    cluster: Cluster | None
    nodes: Host

    def new_url(self) -> str:
        """The URLs of a virtual host that nothing has used."""
        vhost = self.servers[0].new_vhost()
        return self.cluster.urls(vhost) if self.cluster else self.servers[0].url(vhost)

    @property
    def cpu_s(self) -> float:
        """The processor time that its servers have had."""
        return sum(_cpu_s(server.pid) for server in self.servers)


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=cluster", description=__doc__)
    parser.add_argument(
        "--runs", type=from_to(1, 100), default=3, help="how many rounds (default %(default)d)"
    )
    parser.add_argument(
        "--frame-events",
        type=from_to(1, 10_000),
        default=100,
        help="most events of a frame (default %(default)d)",
    )
    parser.add_argument("--waiting", action="store_true", help="measure what waits, instead")
    parser.add_argument("--nodes", action="store_true", help="measure idle nodes, instead")
    options = parser.parse_args(arguments)
    os.environ["CLUSTER_BENCH_KEY"] = generate_key().decode()
    with ExitStack() as stack:
        alone = options.waiting or options.nodes
        places = stack.enter_context(_places(("one server",) if alone else WHERE))
        if options.waiting:
            _show_waiting(places["one server"])
        elif options.nodes:
            _show_nodes(places["one server"])
        else:
            _show_bursts(places, options.runs, options.frame_events)
    return 0


@contextmanager
def _places(wanted: Sequence[str]) -> Iterator[dict[str, Place]]:
    """One server, and a cluster of three, where that is wanted."""
    programs, reason = find_programs(), why_not()
    if programs is None or reason:
        raise BrokerError(reason or "there is no rabbitmq-server on this machine")
    SCRATCH.mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=SCRATCH))
        )
        network = stack.enter_context(Network(PLAN))
        alone = network[ALONE].rabbitmq(folder / ALONE, programs)
        stack.callback(alone.close)
        alone.start()
        places = {"one server": Place([alone], None, network[NODES])}
        if "three servers" not in wanted:
            yield places
            return
        cluster = Cluster(folder, programs, [network[name] for name in SERVERS])
        stack.callback(cluster.close)
        cluster.start()
        yield {**places, "three servers": Place(cluster.servers, cluster, network[NODES])}


def _show_bursts(places: dict[str, Place], rounds: int, frame_events: int) -> None:
    samples: defaultdict[tuple[str, str, int], list[Sample]] = defaultdict(list)
    with ExitStack() as stack:
        pairs = {
            (where, queue): stack.enter_context(_Pair(places[where], queue, frame_events))
            for where, queue in KINDS
        }
        idle = _idle(places)
        for number, size in itertools.product(range(rounds), BURSTS):
            for (where, queue), pair in pairs.items():
                sample = pair.burst(BURSTS[size], size, idle[where])
                samples[where, queue, size].append(sample)
                print(number, where, queue, size, f"{sample.per_s:.0f}/s", file=sys.stderr)
    print(f"{report.machine([])}\nMedians of {rounds} runs; microseconds of processor an event.")
    print(HEAD)
    for (where, queue, size), each in samples.items():
        figures = [
            statistics.median(getattr(sample, name) for sample in each)
            for name in ("per_s", "sender_us", "receiver_us", "broker_us")
        ]
        print(f"{where:<14}{queue:<9}{size:>7}{figures[0]:>10,.0f}", end="")
        print("".join(f"{figure:>9.0f}" for figure in figures[1:]))


def _show_nodes(place: Place) -> None:
    """What it costs one server that nodes are there and do nothing."""
    server, count = place.servers[0], 20
    print(f"{'a node':<24}{'connections':>12}{'channels':>10}{'queues':>8}{'memory, KiB':>13}")
    for title, named, charts in (
        ("of one chart", 0, 1),
        ("of ten charts", 0, 10),
        ("named, one chart", 1, 1),
    ):
        url = place.new_url()
        vhost = f'<<"{url.rpartition("/")[2]}">>'
        before, _ = _held(server)
        with Actor(ROLES, "idle", url, named, count, charts, place=place.nodes) as idle:
            idle.heard()
            after, _ = _held(server)
            figures = [
                int(server.eval(f"length({what})")) / count
                for what in (
                    "rabbit_networking:connections()",
                    "rabbit_channel:list()",
                    f"rabbit_amqqueue:list_names({vhost})",
                )
            ]
            cpu = place.cpu_s
            threading.Event().wait(10)
            share = (place.cpu_s - cpu) / 10 / count
        print(f"{title:<24}{figures[0]:>12.1f}{figures[1]:>10.1f}{figures[2]:>8.1f}", end="")
        print(f"{(after - before) / count / 1024:>13,.0f}   {share:.2%} of a core")


def _show_waiting(place: Place) -> None:
    """What it costs one server that events wait for a chart."""
    server = place.servers[0]
    print(
        f"{'queue':<9}{'bytes':>7}{'frames':>8}{'memory, bytes':>15}{'disk, bytes':>13}  an event"
    )
    for queue, size, frame_events in itertools.product(("quorum",), (100, 1024), (1, 100)):
        url = place.new_url()
        with _Pair(place, queue, frame_events, url) as pair:
            pair.burst(100, size)
            pair.leave()
            before, disk = _held(server)
            pair.send(WAITING, size)
            after, disk_after = _held(server)
        memory, written = (after - before) / WAITING, (disk_after - disk) / WAITING
        print(f"{queue:<9}{size:>7}{frame_events:>8}{memory:>15,.0f}{written:>13,.0f}")


def _held(server: RabbitServer) -> tuple[int, int]:
    """The memory that the server has, and the bytes in its folder."""
    threading.Event().wait(_SETTLE_S)
    server.eval("[garbage_collect(P) || P <- erlang:processes()]")
    return int(server.eval("erlang:memory(total)")), server.disk_bytes()


def _idle(places: dict[str, Place]) -> dict[str, float]:
    """How many cores the servers of each place take while nothing happens."""
    threading.Event().wait(_SETTLE_S)
    before = {where: place.cpu_s for where, place in places.items()}
    threading.Event().wait(_IDLE_S)
    idle = {where: (place.cpu_s - before[where]) / _IDLE_S for where, place in places.items()}
    print("idle:", *(f"{where} {share:.2%}" for where, share in idle.items()), file=sys.stderr)
    return idle


class _Pair:
    """A sender and a receiver at one place."""

    def __init__(self, place: Place, queue: str, frame_events: int, url: str = "") -> None:
        self._place = place
        name = f"counts-{queue}" if queue == "quorum" else "-"
        url = url or place.new_url()
        self._receiver = Actor(ROLES, "count", url, name, place=place.nodes)
        self._receiver.heard()
        self._sender = Actor(ROLES, "send", url, "-", frame_events, place=place.nodes)
        self._sender.heard()
        self._sent = 0

    def burst(self, number: int, size: int, idle: float = 0.0) -> Sample:
        """Send a burst, and wait until it is handled; of `idle` cores the servers would be anyway.

        On a machine that has much to do a burst takes long, and that share would be its own.
        """
        self._sent += number
        self._receiver.tell(str(self._sent))
        start = time.monotonic()
        broker, receiver = self._place.cpu_s, _cpu_s(self._receiver.pid)
        sender = _cpu_s(self._sender.pid)
        self._sender.tell(f"{number} {size}")
        began = self._sender.heard()
        ended = self._receiver.heard()
        # Acknowledgements and what the servers do behind them belong to it.
        threading.Event().wait(0.2)
        spent = (
            _cpu_s(self._sender.pid) - sender,
            _cpu_s(self._receiver.pid) - receiver,
            self._place.cpu_s - broker - idle * (time.monotonic() - start),
        )
        return Sample(number / (ended["at"] - began["at"]), *(s / number * 1e6 for s in spent))

    def leave(self) -> None:
        """Let the receiver stop; its queue keeps what comes."""
        self._receiver.tell("0")
        self._receiver.heard()

    def send(self, number: int, size: int) -> None:
        """Send to a queue that is not consumed, and return when the broker has it."""
        self._sender.tell(f"{number} {size}")
        self._sender.heard()
        self._sender.tell("0")
        self._sender.heard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in (self._sender, self._receiver):
            actor.__exit__(None, None, None)


def _cpu_s(pid: int | None) -> float:
    """The processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
