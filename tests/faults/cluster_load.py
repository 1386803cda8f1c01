"""Events that go through a cluster of brokers, and how soon they flow as before after a fault."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from faults.diaries import Course, Reader
from faults.steady import KEYS, LINKS
from faults.traffic import WARM, Account
from support.actor import Actor
from support.charts_at_work import KEY
from support.namespaces import Host
from support.secret_files import write_secret
from support.waiting import wait_until

STEADY = Path(__file__).with_name("steady.py")
PER_S = 200
KEPT, FREE = "kept", "free"
"""The receivers: one with a node name, whose queue is a quorum queue, and one without."""
# An event that takes longer from `transmit` to the handler shows that the flow is not as before.
USUAL_S = 0.5
JOIN_LIMIT_S = 60.0
ARRIVAL_LIMIT_S = 120.0


class Load:
    """A sender and two receivers, on one host: at the URLs of the sender, and of each receiver."""

    def __init__(
        self,
        stack: ExitStack,
        urls: Sequence[str],
        host: Host,
        folder: Path,
        *,
        patient: bool = False,
    ) -> None:
        of_sender, of_kept, of_free = urls
        self._host, self._folder, self._stack = host, folder, stack
        self._courses = {name: Course() for name in (KEPT, FREE)}
        self._handled = {name: Reader(folder / name) for name in (KEPT, FREE)}
        self._sent_at: list[float] = []
        self._sent = Reader(folder / "sender")
        self._start("receive", of_kept, KEPT, folder / KEPT)
        self._start("receive", of_free, "-", folder / FREE)
        sender = ("send", of_sender, "-", "numbers", 0, PER_S, folder / "sender")
        self._sender = self._start(*sender)
        limit_s = JOIN_LIMIT_S if patient else 30
        wait_until(lambda: all(self.handled(name) >= WARM for name in self._courses), limit_s)
        self.joined = max(min(course.handled) for course in self._courses.values())
        """The first number that both receivers have heard: before it they were not joined yet."""

    def handled(self, name: str) -> int:
        """How many events a receiver has handled."""
        for entry in self._handled[name].news():
            self._courses[name].add(entry)
        return len(self._courses[name].handled)

    @property
    def sent_at(self) -> list[float]:
        """When each number was transmitted."""
        self._sent_at += [entry.when for entry in self._sent.news()]
        return self._sent_at

    def for_(self, seconds: float) -> None:
        """Let it flow."""
        threading.Event().wait(seconds)

    def caught_up(self, name: str, limit_s: float = ARRIVAL_LIMIT_S) -> None:
        """Wait until a receiver has what is sent now."""
        now = len(self.sent_at)
        course = self._courses[name]
        wait_until(
            lambda: self.handled(name) and not course.missing(range(self.joined, now)),
            limit_s,
            message=f"{name} has handled {now} events",
        )

    def end(self) -> None:
        """Send no more, and wait until all has arrived or nothing more comes."""
        self._sender.tell()
        assert self._sender.heard() == {"said": "left 0"}
        for name in self._courses:
            self.caught_up(name)

    def account(self, name: str, first: int = 0) -> Account:
        """What became of all that was sent, from a number on."""
        return self._courses[name].account(range(first, len(self.sent_at)))

    def again(self, name: str, since: float, until: float = float("inf")) -> float:
        """Seconds from a fault until events flowed as before, looking at those sent until then.

        It is when the first one was handled in the usual time behind the one that took longest; 0
        when none took longer than that.
        """
        times = self._courses[name].handled
        took = {
            number: times[number] - sent
            for number, sent in enumerate(self.sent_at)
            if number >= self.joined and since - USUAL_S < sent < until
        }
        slowest = max(took, key=took.__getitem__)
        if took[slowest] <= USUAL_S:
            return 0.0
        usual = (n for n, seconds in took.items() if n > slowest and seconds <= USUAL_S)
        return times[next(usual, max(took))] - since

    def worst(self, name: str, since: float) -> float:
        """The longest that an event took which was sent after that time."""
        times = self._courses[name].handled
        sent_at = enumerate(self.sent_at)
        return max(times[number] - sent for number, sent in sent_at if sent > since)

    def links(self, since: float) -> str:
        """What happened to the links, in seconds since then."""
        lines = []
        for role in ("sender", KEPT, FREE):
            file = self._folder / f"{role}{LINKS}"
            for line in file.read_text().splitlines() if file.exists() else ():
                when, _, what = line.partition(" ")
                lines.append((float(when) - since, f"{role}: {what}"))
        return "\n".join(f"{when:8.2f} {what}" for when, what in sorted(lines) if when > 0)

    def _start(self, *arguments: object) -> Actor:
        file = arguments[-1]
        assert isinstance(file, Path)
        write_secret(file.with_name(file.name + KEYS), KEY.decode())
        with file.with_name(f"{file.name}.log").open("wb") as complaints:
            actor = Actor(STEADY, *arguments, place=self._host, complaints=complaints)
        self._stack.enter_context(actor)
        assert actor.heard() == {"said": "ready"}
        return actor
