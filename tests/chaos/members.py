"""The processes of a mesh, and what they wrote down of its events."""

from __future__ import annotations

import signal
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Sequence
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
from support.namespaces import Host
from support.secret_files import write_secret

STEADY = Path(steady.__file__)
NAMELESS = "-"
DEATH_LIMIT_S = 60.0


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

    def write_keys(self, keys: Sequence[bytes]) -> None:
        """Let its file hold these keys, of which the first seals."""
        file = self.file.with_name(self.file.name + steady.KEYS)
        write_secret(file, "\n".join(key.decode() for key in keys))

    def read_keys(self) -> None:
        """Let it read its file at once."""
        assert self._actor
        self._actor.signal(signal.SIGHUP)

    def keys(self) -> Sequence[str]:
        """Which ones it has now, by their fingerprints, as its `health` says."""
        self.tell(steady.KEYS)
        return self._said().split()

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
        said = self._said()
        assert said == word, f"{self.name} said {said} where {word} was expected"

    def _said(self) -> str:
        assert self._actor
        return str(self._actor.heard()["said"])


class Sender(Member):
    """Numbers its events over all of its lives."""

    _last_word = "left 0"

    def __init__(self, host: Host, folder: Path, url: str, per_s: float, all_keys: KeyRing) -> None:
        super().__init__(host, folder)
        self._letters = letter_codec(all_keys, 10 * steady.LARGE_BYTES)
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
        letters = [self._letters.open(sealed)[0] for _, sealed in self._home.all()]
        return [each.event for each in letters if each.event and each.event.signal == signal]

    @property
    def has_letters(self) -> bool:
        return bool(self._home.all())

    def numbers_aside(self) -> set[int]:
        """The numbers that the broker has refused."""
        loads = MsgpackSerializer().loads
        return {loads(each.payload)[1] for each in self.refused(SIGNAL)}

    def settle(self, numbers: int) -> None:
        """Let it put so many numbers back, and drop what else is among its dead letters."""
        self.tell(steady.SETTLE)
        self._expect(f"settled {numbers}")

    def put_back_frames(self) -> int:
        """Let it put back frames that receivers could not open; how many there were.

        What is more than a few it drops.
        """
        self.tell(steady.PUT_BACK)
        said = self._said()
        word, *counts = said.split()
        assert word == steady.PUT_BACK, f"{self.name} said {said}"
        back, dropped = map(int, counts)
        assert back, f"{self.name} could put no frame back, and dropped {dropped}"
        return back + dropped

    @property
    def _home(self) -> LocalLetters:
        return LocalLetters(Path(f"{self.file}{steady.HOME}"))

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
