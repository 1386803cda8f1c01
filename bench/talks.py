"""Two programs of which one sends to the other, and what that took of each and of the broker."""

from __future__ import annotations

import secrets
import statistics
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import processes
from brokers import Measured, plain_url
from foreign import Foreign
from miros_mesh.wire.keyring import generate_key

PAUSE_S = 0.02
# The receiver first: its queue is there when the first event comes.
BOTH = ("receiver", "sender")
# What is confirmed and acknowledged after the last event belongs to the work as well.
_SETTLE_S = 0.25
_PER_EVENTS = 10_000


@dataclass(frozen=True)
class Burst:
    """One burst: what it took, and what of that is of each process, for 10,000 events."""

    events_per_s: float
    sender_cpu_s: float
    receiver_cpu_s: float
    broker_cpu_s: float
    sender_peak_bytes: int

    @property
    def cpu_s(self) -> float:
        """Of all of them together."""
        return self.sender_cpu_s + self.receiver_cpu_s + self.broker_cpu_s


@dataclass
class Rounds:
    """What a column came to, a burst a round, and the way of each event that was sent idle."""

    bursts: list[Burst] = field(default_factory=list)
    latencies_s: list[list[float]] = field(default_factory=list)

    def median(self, name: str) -> float:
        """Return the median of the bursts; one of `Burst`'s names."""
        values: list[float] = [getattr(burst, name) for burst in self.bursts]
        return statistics.median(values)

    def latency_s(self) -> float:
        """Return the median of the rounds' medians."""
        return statistics.median(statistics.median(each) for each in self.latencies_s)

    def p99_s(self) -> float:
        """Return that of all events of all rounds."""
        return statistics.quantiles([s for each in self.latencies_s for s in each], n=100)[98]

    def as_json(self) -> dict[str, Any]:
        """Everything, and the medians."""
        names = [each.name for each in fields(Burst)] + ["cpu_s"]
        figures: dict[str, Any] = {"median": {n: self.median(n) for n in names if self.bursts}}
        if self.latencies_s:
            figures["median"] |= {"latency_s": self.latency_s(), "latency_p99_s": self.p99_s()}
        return figures | {
            "bursts": [asdict(burst) for burst in self.bursts],
            "latency_medians_s": [statistics.median(each) for each in self.latencies_s],
        }


class Talk:
    """A sender and a receiver, or one program that is both; both live until the stack ends."""

    def __init__(
        self,
        stack: ExitStack,
        python: Path,
        program: str,
        roles: Sequence[str] = BOTH,
        broker: int | None = None,
        of_roles: Mapping[str, Mapping[str, Any]] | None = None,
        **settings: Any,
    ) -> None:
        """`of_roles` has settings of the mesh that a role has besides those of all."""
        topic = f"bench_{secrets.token_hex(4)}"
        made = []
        for role in roles:
            own = {"role": role, "topic": topic, "own": (of_roles or {}).get(role, {})}
            made.append(stack.enter_context(Foreign(python, program, **own, **settings)))
            made[-1].wait()
        self._receiver, self._sender = made[0], made[-1]
        self._broker = broker

    def burst(self, events: int, size: int) -> Burst:
        """Send as fast as it goes."""
        processes.forget_peak(self._sender.pid)
        before = self._spent_s()
        first_ns, result = self._run(events, size, 0.0)
        threading.Event().wait(_SETTLE_S)
        sender_s, receiver_s, broker_s = (
            (now - then) * _PER_EVENTS / events
            for now, then in zip(self._spent_s(), before, strict=True)
        )
        rate = events / ((result["last_ns"] - first_ns) / 1e9)
        peak = processes.peak_bytes(self._sender.pid)
        return Burst(rate, sender_s, receiver_s, broker_s, peak)

    def idle(self, events: int, size: int) -> list[float]:
        """Send one at a time; how long each was on its way."""
        _, result = self._run(events, size, PAUSE_S)
        return [each / 1e9 for each in result["latencies_ns"]]

    def _run(self, events: int, size: int, pause_s: float) -> tuple[int, dict[str, Any]]:
        task = {"events": events, "size": size, "pause_s": pause_s}
        if self._receiver is self._sender:
            self._sender.tell(**task)
            result = self._sender.wait()
            return result["first_ns"], result
        self._receiver.tell(**task)
        self._receiver.wait()
        self._sender.tell(**task)
        first_ns = self._sender.wait()["first_ns"]
        return first_ns, self._receiver.wait()

    def _spent_s(self) -> tuple[float, float, float]:
        alone = self._receiver is self._sender
        return (
            processes.cpu_s(self._sender.pid),
            0.0 if alone else processes.cpu_s(self._receiver.pid),
            processes.cpu_s(self._broker),
        )


def mesh(broker: Measured) -> dict[str, Any]:
    """Return what a program with charts is told of a broker: settings that every version has."""
    if broker.config.home is not None:
        return {"mesh": {"home": str(broker.config.home)}}
    key = generate_key().decode()
    return {"mesh": {"broker_url": plain_url(broker), "mesh_encryption_key": key}}
