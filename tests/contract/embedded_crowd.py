"""Processes of the embedded broker by the dozen, forked from one that has no connection.

embedded_crowd.py ROLE FOLDER ...        what came of it is one line of JSON
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from miros_mesh.embedded.transport import dial
from support.kombu_peer import Peer

# Longer than a process needs to connect and to publish some: a kill may come at any moment of that.
_LIFE_S = 0.02
_LIMIT_S = 60.0
_SEED = 20_261_129


def fork(work: Callable[[int], None]) -> tuple[int, int]:
    """A child that works with the writing end of a pipe; its number, and the reading end."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        return child, reading
    os.close(reading)
    code = 1
    try:
        work(writing)
        code = 0
    finally:
        # What the parent has is not ours to end.
        os._exit(code)


def lines(reading: int) -> list[str]:
    """All whole lines until the end."""
    with os.fdopen(reading, "rb") as pipe:
        return [line.decode().strip() for line in pipe if line.endswith(b"\n")]


def killed(folder: Path, rounds: str) -> None:
    """Kill a publisher at a moment of chance, again and again; say what had been confirmed."""
    chance = random.Random(_SEED)
    confirmed: list[list[int]] = []
    for turn in range(int(rounds)):

        def publish(writing: int, turn: int = turn) -> None:
            peer = Peer(dial(folder))
            peer.declare("queue")
            for number in range(sys.maxsize):
                peer.publish(f"{turn} {number}")
                os.write(writing, f"{number}\n".encode())

        child, reading = fork(publish)
        # Half of them from the moment when they begin to write, the others while they connect too.
        if turn % 2:
            select.select([reading], (), (), _LIMIT_S)
        select.select((), (), (), chance.uniform(0, _LIFE_S))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if status != signal.SIGKILL:
            sys.exit(f"process {turn} ended by itself: {status}")
        confirmed.append([int(line) for line in lines(reading)])
    print(json.dumps(confirmed))


def crowd(folder: Path, processes: str, count: str) -> None:
    """Let all publish to all at once; say who missed something, got it twice or out of order."""
    start, go = os.pipe()
    senders = range(int(processes))

    def talk(me: int, writing: int) -> None:
        os.close(go)
        peer = Peer(dial(folder))
        peer.consume(f"queue-{me}")
        os.write(writing, b"ready\n")
        # Its end is the sign for all.
        os.read(start, 1)
        for number in range(int(count)):
            peer.publish(f"{me} {number}")
            while peer.turn(0):
                pass
        deadline, bodies = time.monotonic() + _LIMIT_S, list[str]()
        while len(bodies) < len(senders) * int(count) and time.monotonic() < deadline:
            peer.turn(0.2)
            bodies += peer.bodies()
            peer.ack()
        bodies += peer.settle_down()
        for sender in senders:
            own = [body for body in bodies if body.startswith(f"{sender} ")]
            if own != [f"{sender} {number}" for number in range(int(count))]:
                os.write(writing, f"{me} heard {own} of {sender}\n".encode())
        peer.close()

    children = [fork(lambda writing, me=me: talk(me, writing)) for me in senders]  # type: ignore[misc]
    for _, reading in children:
        assert select.select([reading], (), (), _LIMIT_S)[0]
    os.close(go)
    wrong = [line for _, reading in children for line in lines(reading) if line != "ready"]
    codes = [os.waitpid(child, 0)[1] for child, _ in children]
    print(json.dumps({"wrong": wrong, "failed": sum(map(bool, codes))}))


if __name__ == "__main__":
    {"killed": killed, "crowd": crowd}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
