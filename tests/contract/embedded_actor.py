"""A process of its own for the tests of the embedded broker; what it has to say are lines."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from miros_mesh.embedded.transport import dial as embedded
from miros_mesh.errors import EmbeddedStoreError
from miros_mesh.private_files import prepare_home
from miros_mesh.wire.key_file import load_or_create_keys
from support.kombu_peer import Peer

DRAINS_PER_TURN = 64
TICK_S = 1.0


def say(**facts: Any) -> None:
    """One line for the test."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def hear() -> str:
    """Wait for a line of the test."""
    return sys.stdin.readline().strip()


def turn(peer: Peer) -> None:
    """One turn of the link's loop: wait for the file descriptor, then drain until it is empty."""
    select.select([peer.connection.connection.fileno()], (), (), TICK_S)
    with contextlib.suppress(TimeoutError):
        for _ in range(DRAINS_PER_TURN):
            peer.connection.drain_events(timeout=0)


def send(folder: Path, name: str, count: str, size: str) -> None:
    """Publish numbered messages as fast as possible."""
    peer = Peer(embedded(folder))
    say(ready=True)
    hear()
    began = time.perf_counter()
    for number in range(int(count)):
        peer.publish(f"{name} {number}".ljust(int(size)))
    say(rate=int(count) / (time.perf_counter() - began))
    peer.close()


def send_forever(folder: Path, name: str) -> None:
    """Publish numbered messages to the death, and say the number of each that was stored."""
    peer = Peer(embedded(folder))
    for number in range(sys.maxsize):
        peer.publish(f"{name} {number}")
        say(stored=number)


def receive(folder: Path, queue: str, count: str) -> None:
    """Consume, acknowledge between drains, and say in the end what came."""
    peer = Peer(embedded(folder))
    peer.consume(queue)
    say(ready=True)
    bodies: list[str] = []
    began = 0.0
    while len(bodies) < int(count):
        turn(peer)
        began = began or time.perf_counter() * bool(peer.received)
        bodies += peer.bodies()
        peer.ack()
    say(bodies=[body.strip() for body in bodies], rate=len(bodies) / (time.perf_counter() - began))
    peer.close()


def hold(
    folder: Path, queue: str, expires_s: str, count: str, acked: str, arguments: str = "{}"
) -> None:
    """Consume `count` messages, acknowledge the first few, and wait for the end."""
    peer = Peer(embedded(folder))
    peer.consume(queue, expires=float(expires_s), queue_arguments=json.loads(arguments))
    say(ready=True)
    bodies = peer.drain(int(count))
    for message in peer.received[: int(acked)]:
        message.ack()
    turn(peer)
    say(bodies=bodies)
    hear()


def answer_times(folder: Path, queue: str, count: str) -> None:
    """Say how long messages that carry their time were on their way."""
    peer = Peer(embedded(folder))
    delays: list[float] = []

    def note(message: Any) -> None:
        delays.append(time.time() - float(message.body))
        message.ack()

    peer.consume(queue, on_message=note)
    say(ready=True)
    while len(delays) < int(count):
        turn(peer)
        say(answered=len(delays))
    say(delays=delays)
    peer.close()


def idle(folder: Path, queue: str, seconds: str) -> None:
    """Consume a silent queue, and say how much CPU time that took."""
    peer = Peer(embedded(folder))
    peer.consume(queue)
    peer.turn(0)
    began, spent = time.monotonic(), time.process_time()
    while time.monotonic() - began < float(seconds):
        turn(peer)
    say(cpu_share=(time.process_time() - spent) / (time.monotonic() - began))
    peer.close()


def bind(folder: Path, name: str, count: str) -> None:
    """Declare and bind queues, all processes at once."""
    say(ready=True)
    hear()
    peer = Peer(embedded(folder))
    for number in range(int(count)):
        peer.declare(f"{name}-{number}", f"{name}.{number}")
    say(done=True)
    peer.close()


def make_key(folder: Path) -> None:
    """Make the key or find it, all processes at once."""
    say(ready=True)
    hear()
    say(key=load_or_create_keys(prepare_home(folder))[0].decode())


def lock(folder: Path) -> None:
    """Begin to write, and never end."""
    peer = Peer(embedded(folder))
    with peer.connection.connection.store._database.write():
        say(ready=True)
        hear()


def fork(folder: Path, queue: str) -> None:
    """Fork while consuming, let the child use the same connection object, and die before it."""
    peer = Peer(embedded(folder))
    peer.consume(queue)
    if os.fork():
        hear()
        os._exit(0)
    say(reconnects=not peer.connection.connected, pid=os.getpid())
    try:
        peer.publish("by the old channel")
    except peer.connection.connection_errors as error:
        say(refused=str(error))
    peer.connection.default_channel.queue_declare(queue="of-the-child")
    peer.connection.release()
    say(done=True)
    hear()


def as_user(folder: Path, uid: str) -> None:
    """Connect as another user with each line, and say what came of it; publish while connected."""
    os.setgid(int(uid))
    os.setuid(int(uid))
    peer: Peer | None = None
    say(ready=True)
    while hear():
        try:
            if peer is None:
                peer = Peer(embedded(folder))
                peer.consume("of-a-user", prefetch=0)
            peer.publish("from a user")
            say(came=len(peer.drain(len(peer.bodies()) + 1)))
        except EmbeddedStoreError as error:
            say(error=type(error).__name__, said=str(error))


ROLES: dict[str, Callable[..., None]] = {
    role.__name__: role
    for role in (
        send, send_forever, receive, hold, answer_times, idle, bind, make_key, lock, fork, as_user
    )
}  # fmt: skip


if __name__ == "__main__":
    ROLES[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
