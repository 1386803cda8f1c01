"""A broker and the nodes that meet there; faults happen to them one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from chaos.laps import Lap
from chaos.members import Member, Receiver, Sender
from chaos.user import User
from miros_mesh.wire.keyring import KeyRing, generate_key
from support.namespaces import Network
from support.rabbitmq_server import RabbitServer

SENDERS = RECEIVERS = 2
CALM_S = 2.0
LOOK_EVERY_S = 0.1
RECOVERY_LIMIT_S = 60.0
ARRIVAL_LIMIT_S = 30.0


@dataclass(frozen=True)
class Harmed:
    """What is to be known of a harm that is mended."""

    mended: float | None = None
    """When; None: just now."""
    ended: Receiver | None = None
    """The receiver that did not live through it."""
    aside: int = 0
    """Events that receivers set aside."""


Harm = Callable[["Mesh"], Harmed | None]
"""Does harm and mends it."""


def plan(name: str, number: int) -> dict[str, list[str]]:
    """The hosts of a mesh: the broker's, and one for each node."""
    nodes = [f"{name}-sender{n}" for n in range(SENDERS)]
    nodes += [f"{name}-receiver{n}" for n in range(RECEIVERS)]
    return {host: [f"10.7.{number}.{n}/24"] for n, host in enumerate([name, *nodes], 1)}


class Interrupted(Exception):  # noqa: N818 - nothing is wrong
    """The run is to end."""


@dataclass
class _Began:
    """How things stood when a lap began."""

    next: Mapping[str, int]
    copies: Mapping[str, int]
    out_of_order: int


class Mesh:
    """Only the thread that runs it touches it; others read `doing`, `sent` and `delivered`."""

    def __init__(
        self,
        name: str,
        network: Network,
        server: RabbitServer,
        *,
        folder: Path,
        per_s: float,
        seed: str,
        ending: threading.Event,
        tell: Callable[[str], None],
    ) -> None:
        self.name = name
        self.network = network
        self.server = server
        self.random = Random(seed)
        self.vhost = server.new_vhost()
        self.doing = "calm"
        self.sent = self.delivered = 0
        self.laps: list[Lap] = []
        self.user = User(server, self.vhost, folder / "url")
        self._key = generate_key()
        # All keys of the run, for dead letters stay under the one that they were sealed with.
        self._all_keys = KeyRing([self._key])
        self.per_s = per_s
        self._ending = ending
        self._tell = tell
        url = str(self.user.file)
        self.senders = [
            Sender(network[f"{name}-sender{n}"], folder, url, per_s / SENDERS, self._all_keys)
            for n in range(SENDERS)
        ]
        self.receivers = [
            # The last one has no name, and so a classic queue.
            Receiver(network[f"{name}-receiver{n}"], folder, url, named=n < RECEIVERS - 1)
            for n in range(RECEIVERS)
        ]
        self._began = self._stand()

    @property
    def members(self) -> Sequence[Member]:
        return [*self.receivers, *self.senders]

    @property
    def hosts(self) -> list[str]:
        """Whose cable can be harmed."""
        return [self.name, *(member.name for member in self.members)]

    def start(self) -> None:
        """Start all nodes; whoever listens first misses nothing."""
        for member in self.members:
            member.write_keys([self._key])
            member.start()

    def close(self) -> None:
        for member in self.members:
            member.close()

    def next_key(self) -> tuple[bytes, bytes]:
        """The key until now, and a new one that is to take its place."""
        old, self._key = self._key, generate_key()
        self._all_keys.add(self._key)
        return old, self._key

    def for_(self, seconds: float) -> None:
        """Let time pass. Raises `Interrupted`."""
        self._wait(lambda: False, seconds)

    def until(self, done: Callable[[], bool], limit_s: float, what: str) -> None:
        """Wait for it. Raises `Interrupted`, or an `AssertionError` that says what did not come."""
        self._wait(done, limit_s)
        assert done(), f"not within {limit_s} s: {what}"

    def lap(self, fault: str, harm: Harm) -> None:
        """One fault, from a calm to a calm."""
        self._began = self._stand()
        self.doing = "calm"
        self.for_(CALM_S)
        harmed, mended = self.suffer(fault, harm)
        sent = self.arrive()
        recovered = self._recovered(mended)
        seconds = [] if recovered is None else [recovered - mended]
        self._write_down(fault, sent, seconds, harmed)

    def suffer(self, fault: str, harm: Harm) -> tuple[Harmed, float]:
        """Let it happen, until traffic flows again and nothing is refused; and when it was mended.

        What was set aside meanwhile is put back, and counted with what the harm says itself.
        """
        self.doing = fault
        harmed = harm(self) or Harmed()
        mended = harmed.mended or time.monotonic()
        self.doing = f"recovering from: {fault}"
        self._wait(lambda: self._recovered(mended) is not None, RECOVERY_LIMIT_S)
        self.doing = f"collecting after: {fault}"
        return replace(harmed, aside=harmed.aside + self._settle()), mended

    def arrive(self) -> Mapping[str, range]:
        """Let all arrive that was sent in this lap so far, half a minute at most; what it was."""
        began = self._began.next
        sent = {sender.name: range(began[sender.name], sender.next) for sender in self.senders}
        self._wait(lambda: not self._lost(sent), ARRIVAL_LIMIT_S)
        return sent

    def _write_down(
        self, fault: str, sent: Mapping[str, range], seconds: Sequence[float], harmed: Harmed
    ) -> None:
        began, now = self._began, self._stand()
        events = sum(map(len, sent.values()))
        lost = self._lost(sent)
        copies = {name: count - began.copies[name] for name, count in now.copies.items()}
        lap = Lap(
            fault,
            events,
            events * len(self.receivers) - lost,
            lost,
            sum(copies.values()),
            now.out_of_order - began.out_of_order,
            seconds,
            copies[harmed.ended.name] if harmed.ended else 0,
            aside=harmed.aside,
        )
        self.laps.append(lap)
        self._tell(f"{self.name}: {lap}{'   <-- HARM' if lap.harmed else ''}")

    def _settle(self) -> int:
        """Put back what the broker has refused, when it refuses no more; how much that was."""
        count = 0
        for sender in self.senders:
            if not sender.has_letters:
                continue
            numbers = sender.numbers_aside()
            for receiver in self.receivers:
                receiver.course(sender).put_back |= numbers
            sender.settle(len(numbers))
            count += len(numbers)
        return count

    def _stand(self) -> _Began:
        self._look()
        return _Began(
            {sender.name: sender.next for sender in self.senders},
            {each.name: sum(course.copies for course in each.courses) for each in self.receivers},
            sum(course.out_of_order for each in self.receivers for course in each.courses),
        )

    def _recovered(self, mended: float) -> float | None:
        """When the last of the streams had come again."""
        latest = mended
        for sender in self.senders:
            first = sender.first_after(mended)
            if first is None:
                return None
            for receiver in self.receivers:
                again = receiver.course(sender).again(first, mended)
                if again is None:
                    return None
                latest = max(latest, again)
        return latest

    def _lost(self, sent: Mapping[str, range]) -> int:
        return sum(
            receiver.course(sender).missing(sent[sender.name])
            for sender in self.senders
            for receiver in self.receivers
        )

    def _wait(self, done: Callable[[], bool], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not done() and (left := deadline - time.monotonic()) > 0:
            if self._ending.wait(min(LOOK_EVERY_S, left)):
                raise Interrupted
            self._look()

    def _look(self) -> None:
        for member in self.members:
            member.look()
        self.sent = sum(sender.next for sender in self.senders)
        self.delivered = sum(
            len(course.handled) for each in self.receivers for course in each.courses
        )
