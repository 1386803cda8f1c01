"""The processes of a mesh, and what they wrote down of its events."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import IO

from faults import steady
from faults.diaries import Course, Reader
from faults.traffic import SIGNAL
from miros_mesh.networks.letters.letter import letter_codec
from miros_mesh.networks.letters.local import LocalLetters
from miros_mesh.wire.envelope import Envelope
from miros_mesh.wire.keyring import KeyRing
from miros_mesh.wire.serializer import MsgpackSerializer
from support.actor import Actor
from support.charts_at_work import KEY
from support.namespaces import Host

STEADY = Path(steady.__file__)
NAMELESS = "-"
DEATH_LIMIT_S = 60.0
LETTERS = letter_codec(KeyRing([KEY]), 10 * steady.LARGE_BYTES)


class Member:
    """A node on a host of its own, in a process that may end and come back."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.name = host.name
        self.file = folder / host.name
        self._reader = Reader(self.file)
        self._complaints: IO[bytes] = (folder / f"{host.name}.log").open("ab")
        self._actor: Actor | None = None

    def start(self) -> None:
        """Return when it is on the mesh."""
        self._begin()
        self._expect("ready")

    def kill(self) -> None:
        """End it in the middle of what it does."""
        if self._actor:
            self._actor.__exit__(None, None, None)
        self._actor = None

    def stop(self) -> None:
        """Let it end as a program ends."""
        assert self._actor
        self._actor.tell()
        self._expect(self._last_word)
        self.kill()

    def tell(self, what: str) -> None:
        """Give it a line."""
        assert self._actor
        self._actor.tell(what)

    def close(self) -> None:
        self.kill()
        self._complaints.close()

    def look(self) -> None:
        """Read what it has written since."""
        raise NotImplementedError

    @property
    def _last_word(self) -> str:
        raise NotImplementedError

    def _role(self) -> tuple[object, ...]:
        raise NotImplementedError

    def _begin(self) -> None:
        self._actor = Actor(
            STEADY, *self._role(), place=self.host, complaints=self._complaints
        ).__enter__()

    def _expect(self, word: str) -> None:
        assert self._actor
        heard = self._actor.heard()
        assert heard == {"said": word}, f"{self.name} said {heard} where {word} was expected"


class Sender(Member):
    """Numbers its events over all of its lives."""

    _last_word = "left 0"

    def __init__(self, host: Host, folder: Path, url: str, per_s: float) -> None:
        super().__init__(host, folder)
        self._url = url
        self._per_s = per_s
        self._times: list[float] = []

    @property
    def next(self) -> int:
        """The number of the event that it sends next, as far as it was looked."""
        return len(self._times)

    def first_after(self, when: float) -> int | None:
        """The number of the first event that it sent after that time."""
        number = bisect_left(self._times, when)
        return number if number < self.next else None

    def look(self) -> None:
        self._times += [entry.when for entry in self._reader.news()]

    def refused(self, signal: str) -> list[Envelope]:
        """The events of that signal among its dead letters."""
        home = LocalLetters(Path(f"{self.file}{steady.HOME}"))
        letters = [LETTERS.open(sealed)[0] for _, sealed in home.all()]
        return [each.event for each in letters if each.event and each.event.signal == signal]

    def numbers_aside(self) -> set[int]:
        """The numbers that the broker has refused."""
        loads = MsgpackSerializer().loads
        return {loads(each.payload)[1] for each in self.refused(SIGNAL)}

    def settle(self, numbers: int) -> None:
        """Let it put so many numbers back, and drop what else is among its dead letters."""
        self.tell(steady.SETTLE)
        self._expect(f"settled {numbers}")

    def _role(self) -> tuple[object, ...]:
        self.look()
        return ("send", self._url, self.name, self.name, self.next, self._per_s, self.file)


class Receiver(Member):
    """Keeps a course for each stream, over all of its lives."""

    _last_word = "stopped"

    def __init__(self, host: Host, folder: Path, url: str, *, named: bool) -> None:
        super().__init__(host, folder)
        self._url = url
        self.named = named
        self.queue_expires_s: float | None = None
        self._courses: defaultdict[str, Course] = defaultdict(Course)

    def course(self, sender: Sender) -> Course:
        """What became of a sender's events here."""
        return self._courses[sender.name]

    @property
    def courses(self) -> Collection[Course]:
        return self._courses.values()

    def die(self, times: int) -> None:
        """Wait until it has died so often, and start it each time."""
        for _ in range(times):
            assert self._actor
            self._actor.wait(DEATH_LIMIT_S)
            self.kill()
            # It may die again before it says anything.
            self._begin()
        self._expect("ready")

    def look(self) -> None:
        for entry in self._reader.news():
            self._courses[entry.stream].add(entry)

    def _role(self) -> tuple[object, ...]:
        name = self.name if self.named else NAMELESS
        return ("receive", self._url, name, self.file, self.queue_expires_s or "")
