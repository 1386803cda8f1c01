"""Cuts every connection of a sender's and of a receiver's node again and again.

flaps.py cut URL CUTS    warms up, cuts so often, and says after each how the nodes are
flaps.py nodes URL       the process of both nodes, which `cut` starts
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from miros import Event

from faults.relay import HOST, Relay
from faults.steady import HEARTBEAT_S
from faults.traffic import SIGNAL, Account
from miros_mesh import MeshConfig, NetworkedActiveObject, Observer
from miros_mesh.link import worker
from support.actor import Actor
from support.charts_at_work import KEY, Heard, alone, event
from support.rabbitmq_server import Place
from support.waiting import wait_until

CONNECTIONS = 4
PER_S = 200
# It takes that long until nothing asks for more: the allocator, and the last 10,000 frames by which
# a node knows its own.
WARM_CUTS = 200
WARM_EVENTS = 15_000
GROWTH_LIMIT_BYTES = 5 * 1024 * 1024
UP_LIMIT_S = 30.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
THIS = Path(__file__)
_LIBC = ctypes.CDLL("libc.so.6")


@dataclass(frozen=True)
class State:
    """What the process of the nodes holds, and what became of its events."""

    cuts: int
    memory_bytes: int
    """Without what the allocator keeps for later, which is more on a busy machine."""
    descriptors: int
    threads: int
    sent: int
    handled: int
    lost: int
    duplicated: int
    out_of_order: int

    @property
    def account(self) -> Account:
        """What became of the events."""
        return Account(self.sent, self.lost, self.duplicated, self.out_of_order)

    @property
    def warm(self) -> bool:
        """Whether it is to hold no more from now on."""
        return self.cuts >= WARM_CUTS and self.handled >= WARM_EVENTS

    def growth(self, warm: State) -> str:
        """What is held now and was held then, in words."""
        memory = (self.memory_bytes - warm.memory_bytes) / 1024 / 1024
        return (
            f"{self.cuts - warm.cuts:,} cuts: memory {memory:+.1f} MiB, "
            f"descriptors {warm.descriptors} to {self.descriptors}, "
            f"threads {warm.threads} to {self.threads}"
        )


class Flapping:
    """The process that cuts, started at a place; iterate over the states after each cut.

    It warms up first, and cuts so often afterwards.
    """

    def __init__(
        self, url: str, cuts: int, place: Place | None = None, complaints: IO[bytes] | None = None
    ) -> None:
        self._actor = Actor(THIS, "cut", url, cuts, place=place, complaints=complaints)
        self._cuts = cuts

    def __iter__(self) -> Iterator[State]:
        left = self._cuts
        with self._actor as actor:
            while left >= 0:
                state = State(**actor.heard())
                left -= state.warm
                yield state


class Ups(Observer):
    """Counts what has connected."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = threading.Condition()

    def peer_up(self, *, peer: str) -> None:
        self._up()

    def subscribed(self, *, broker: str) -> None:
        self._up()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.count >= count, UP_LIMIT_S), self.count

    def _up(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()


class Check:
    """Looks at each number as it is handled, and keeps only those that are missing."""

    def __init__(self) -> None:
        self.next = 0
        self.missing: set[int] = set()
        self.handled = self.duplicated = self.out_of_order = 0
        self._looking = threading.Lock()

    def __call__(self, _: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == SIGNAL:
            with self._looking:
                self._look(received.payload)

    def counts(self) -> dict[str, int]:
        """What became of everything up to the last number that has come."""
        with self._looking:
            return {
                "sent": self.next,
                "handled": self.handled,
                "lost": len(self.missing),
                "duplicated": self.duplicated,
                "out_of_order": self.out_of_order,
            }

    def _look(self, number: int) -> None:
        if number in self.missing:
            self.missing.discard(number)
            self.out_of_order += 1
        elif number < self.next:
            self.duplicated += 1
            return
        self.handled += 1
        self.missing.update(range(self.next, number))
        self.next = max(self.next, number + 1)


class Nodes:
    """Both nodes, a stream between them, and what the process holds."""

    def __init__(self, url: str) -> None:
        self._ups = Ups()
        self._check = Check()
        self._cuts = self._sent = 0
        self._ending = threading.Event()
        self._stream = threading.Thread(target=self._send)
        config = MeshConfig(
            broker_url=url,
            mesh_encryption_key=KEY,
            heartbeat_interval_s=HEARTBEAT_S,
            # What is kept to be sent again fills up to here while it warms up, and grows no more.
            repair_events=1_000,
            observers=(self._ups,),
        )
        receiving = config.overridden(node_name="receiver")
        self._receiver = NetworkedActiveObject("receiver", config=receiving)
        self._sender = NetworkedActiveObject("sender", config=config)

    def run(self) -> None:
        """Say how it is when all is connected, and again after each line that comes in."""
        self._receiver.start_at(alone(self._check, spied=False))
        self._sender.start_at(alone(Heard(), spied=False))
        self._stream.start()
        self._report()
        while sys.stdin.readline():
            self._cuts += 1
            self._report()
        self._ending.set()
        self._stream.join()
        self._sender.stop()
        self._receiver.stop()

    def _report(self) -> None:
        self._ups.wait(CONNECTIONS * (self._cuts + 1))
        # An event that was sent when all was connected shows that all works.
        due = self._sent
        wait_until(lambda: self._check.next > due, UP_LIMIT_S, message="events come again")
        print(json.dumps(asdict(self._state())), flush=True)

    def _state(self) -> State:
        gc.collect()
        _LIBC.malloc_trim(0)
        resident = int(Path("/proc/self/statm").read_text().split()[1])
        return State(
            cuts=self._cuts,
            memory_bytes=resident * PAGE_BYTES,
            descriptors=_entries("/proc/self/fd"),
            threads=_entries("/proc/self/task"),
            **self._check.counts(),
        )

    def _send(self) -> None:
        while not self._ending.wait(1 / PER_S):
            self._sender.transmit(event(SIGNAL, self._sent))
            self._sent += 1


def _entries(folder: str) -> int:
    return sum(1 for _ in Path(folder).iterdir())


def nodes(url: str) -> None:
    """The process of both nodes."""
    # Connections that break soon after they are made come back slowly, and this is to be quick.
    assert hasattr(worker, "_SHORT_LIFE_S")
    worker._SHORT_LIFE_S = 0.0
    Nodes(url).run()


def cut(url: str, cuts: str) -> None:
    """Cut until they are warm and so often again, and pass on what the nodes say."""
    broker = urlsplit(url)
    assert broker.hostname
    assert broker.port
    with Relay(broker.port, broker.hostname) as relay:
        relayed = url.replace(f"@{broker.netloc.rpartition('@')[2]}", f"@{HOST}:{relay.port}")
        with Actor(THIS, "nodes", relayed) as actor:
            left = int(cuts)
            while True:
                said = actor.heard()
                print(json.dumps(said), flush=True)
                left -= State(**said).warm
                if left < 0:
                    return
                relay.cut()
                actor.tell()


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {"cut": cut, "nodes": nodes}
    roles[sys.argv[1]](*sys.argv[2:])
