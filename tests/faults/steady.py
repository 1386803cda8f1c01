"""The process of a node with the settings of production, and a diary of what it does.

steady.py send URL NODE STREAM FIRST PER_S FILE     transmits numbers until an empty line comes in
steady.py receive URL NODE FILE [EXPIRES_S]         handles them until a line comes in

URL may be a file that holds it. NODE is the node's name, or - for none; EXPIRES_S how long its
queue is kept. FILE gets a line for each event: the time, the stream, the number; FILE.links a line
for each thing that happened to the node's links. FILE.home is where its dead letters are. FILE.keys
holds its keys; it is read at each heartbeat, and at SIGHUP.

Another line is `.keys` (say the fingerprints of the keys that it has). Others for a sender: `large`
(transmit an event that is too large for many a broker), `poison NODE` (one that a receiver of this
name dies of, with its process), `settle` (put back the numbers that the broker has refused, drop
what else it has), `frames` (put back some of the frames that receivers could not open, drop the
others).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from miros import Event

from faults.roles import say
from faults.traffic import SIGNAL
from miros_mesh import MeshConfig, NetworkedActiveObject, Observer, reload_on_sighup
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.errors import SealedLetterError
from support.charts_at_work import Heard, alone, event

HEARTBEAT_S = 5.0
LINKS = ".links"
HOME = ".home"
KEYS = ".keys"
LARGE_BYTES = 200_000
POISON = "poison"
LARGE = "large"
SETTLE = "settle"
PUT_BACK = "frames"
# A busy RabbitMQ takes a quarter of a second for each.
MOST_PUT_BACK = 40


class Diary:
    """A file that several lives of a process append to."""

    def __init__(self, file: str) -> None:
        self._descriptor = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def write(self, when: float, *words: object) -> None:
        line = " ".join(map(str, (f"{when:.6f}", *words)))
        os.write(self._descriptor, f"{line}\n".encode())


class Links(Observer):
    """Writes down what happens to a node's links, and what is lost there."""

    def __init__(self, file: str) -> None:
        self._diary = Diary(file + LINKS)

    def peer_up(self, *, peer: str) -> None:
        self._note("publisher connected")

    def peer_down(self, *, peer: str, reason: str) -> None:
        self._note("publisher lost", reason)

    def blocked(self, *, peer: str) -> None:
        self._note("publisher blocked")

    def unblocked(self, *, peer: str) -> None:
        self._note("publisher unblocked")

    def subscribed(self, *, broker: str) -> None:
        self._note("subscriber connected")

    def unsubscribed(self, *, broker: str, reason: str) -> None:
        self._note("subscriber lost", reason)

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self._note("gap", sender, missing)

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        if reason not in ("duplicate", "stale"):
            self._note("dropped", reason, events)

    def publication_refused(self, *, peer: str, network: str, reason: str, events: int) -> None:
        self._note("refused", network, reason, events)

    def set_aside(self, *, chart: str, reason: str) -> None:
        self._note("set aside", chart, reason)

    def deaf(self, *, chart: str, reason: str) -> None:
        self._note("deaf", chart, reason)

    def hearing(self, *, chart: str) -> None:
        self._note("hearing", chart)

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        self._note("chart died", repr(error))
        os._exit(1)

    def _note(self, *words: object) -> None:
        self._diary.write(time.monotonic(), *words)


def config(url: str, node: str, file: str, expires_s: str = "") -> MeshConfig:
    """What a program would set, but for the heartbeat."""
    return MeshConfig(
        broker_url=url if "://" in url else SecretFile(Path(url)),
        mesh_encryption_key=SecretFile(Path(file + KEYS)),
        node_name=None if node == "-" else node,
        heartbeat_interval_s=HEARTBEAT_S,
        queue_expires_s=float(expires_s) if expires_s else None,
        home=Path(file + HOME),
        observers=(Links(file),),
    )


def receive(url: str, node: str, file: str, expires_s: str = "") -> None:
    """Handle events until a line comes in."""
    diary = Diary(file)

    def write(_: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == SIGNAL:
            diary.write(time.monotonic(), *received.payload)
        if (received.signal_name, received.payload) == (POISON, node):
            raise ValueError("poison")

    chart = NetworkedActiveObject("receiver", config=config(url, node, file, expires_s))
    chart.start_at(alone(write, spied=False))
    say("ready")
    while sys.stdin.readline().strip() == KEYS:
        _say_keys(chart)
    chart.stop()
    say("stopped")


def send(url: str, node: str, stream: str, first: str, per_s: str, file: str) -> None:
    """Transmit numbers until a line comes in."""
    diary, ending = Diary(file), threading.Event()
    settings = config(url, node, file)
    chart = NetworkedActiveObject("sender", config=settings)
    chart.start_at(alone(Heard(), spied=False))
    say("ready")
    threading.Thread(target=_obey, args=(chart, settings, ending), daemon=True).start()
    number, began = int(first), time.monotonic()
    due = began
    while not ending.wait(max(due - time.monotonic(), 0)):
        diary.write(time.monotonic(), stream, number)
        chart.transmit(event(SIGNAL, [stream, number]))
        number += 1
        due += 1 / float(per_s)
    say(f"left {chart.stop().left_over}")


def _obey(chart: NetworkedActiveObject, settings: MeshConfig, ending: threading.Event) -> None:
    try:
        while line := sys.stdin.readline().split():
            word, *rest = line
            if word == KEYS:
                _say_keys(chart)
            elif word == SETTLE:
                say(f"settled {_settle(settings)}")
            elif word == PUT_BACK:
                say(f"{PUT_BACK} {_put_back_frames(settings)}")
            else:
                chart.transmit(event(word, rest[0] if rest else "x" * LARGE_BYTES))
    finally:
        # Also when one of them fails, so that its answer is not waited for.
        ending.set()


def _say_keys(chart: NetworkedActiveObject) -> None:
    say(" ".join(chart.health().keys["mesh"]))


def _settle(settings: MeshConfig) -> int:
    with DeadLetters(settings) as letters:
        list(letters.drop_all(place="local", signal=LARGE))
        outcomes = list(letters.retry_all(place="local"))
    for outcome in outcomes:
        if outcome.error:
            raise outcome.error
    return len(outcomes)


def _put_back_frames(settings: MeshConfig) -> str:
    back, frames = 0, {"place": "broker", "reason": "undecryptable"}
    with DeadLetters(settings) as letters:
        found = [letter.id for letter in letters.list(**frames)]
        some = found[:: len(found) // MOST_PUT_BACK + 1]
        for outcome in letters.retry_all(id=some):
            # That is a copy which came late, of a key that went with an earlier rotation.
            if outcome.error and not isinstance(outcome.error, SealedLetterError):
                raise outcome.error
            back += not outcome.error
        dropped = len(list(letters.drop_all(**frames)))
    return f"{back} {dropped}"


if __name__ == "__main__":
    reload_on_sighup()
    roles: dict[str, Callable[..., Any]] = {"receive": receive, "send": send}
    roles[sys.argv[1]](*sys.argv[2:])
