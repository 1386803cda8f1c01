"""The ancestor's two example programs run as they were, but for the line that imports the library.

`ancestor/` tells them in our own words. Their timers draw from 2 to 7 s, so who drives whom is
chance; the order in which the programs are started here makes sure that each is driven once.

When the timers of both fire within a millisecond, the two chase each other in and out for ever. The
ancestor warns of it, and it happens in 3 of 100 runs. The charts start a timer each time and cancel
only some, so that miros soon ends them. Such a run proves as much of the mesh as any other.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.rabbitmq_server import USER, RabbitServer
from support.waiting import wait_until

ANCESTOR = Path(__file__).parent / "ancestor"
# The programs' own timers ring after seconds; a busy machine adds some.
TIMER_LIMIT_S = 60.0
END_LIMIT_S = 120.0
SECONDS = "time.sleep(20)"
OUT_OF_TIMERS = "ActiveObjectOutOfPostedEventResources"
LINE = re.compile(
    r" \[\+t\] \[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\] "
    r"\[\x1b\[(?P<color>\d+)m(?P<name>\w{5}_[af]o)\x1b\[0m\] "
    r"e->(?P<signal>\w+)\(\) (?P<states>\w+->\w+)"
)


class Program:
    """One example program in a process of its own, and what it has printed so far."""

    def __init__(self, script: str, server: RabbitServer, seconds: int) -> None:
        text = (ANCESTOR / script).read_text()
        assert SECONDS in text
        self._process = subprocess.Popen(
            [sys.executable, "-c", text.replace(SECONDS, f"time.sleep({seconds})")],
            env={**os.environ, "RABBIT_PORT": str(server.port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.lines.append(line.removesuffix("\n"))

    @property
    def name(self) -> str:
        """Its chart's own name, in the colour of own names."""
        return next(name for color, name, _, _ in self.seen() if color == "94")

    def seen(self) -> list[tuple[str, ...]]:
        return [found.groups() for line in self.lines if (found := LINE.fullmatch(line))]

    def own(self) -> list[str]:
        """The signals that moved its own chart, in order."""
        return [signal for color, _, signal, _ in self.seen() if color == "94"]

    @property
    def driven(self) -> bool:
        """Whether an event of another program moved its chart."""
        return any(signal.startswith("other_") for signal in self.own())

    def await_own(self, *signals: str) -> None:
        wait_until(
            lambda: set(signals) & set(self.own()),
            TIMER_LIMIT_S,
            message=f"{signals} in {self.lines}",
        )

    def end(self) -> None:
        """It ends by itself, with nothing to complain about."""
        self._process.wait(END_LIMIT_S)
        self._reader.join(END_LIMIT_S)
        assert self._process.stderr
        complaints = self._process.stderr.read()
        assert self._process.returncode == 0
        assert complaints == "" or OUT_OF_TIMERS in complaints

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream
            stream.close()


@pytest.fixture
def both_users(rabbitmq: RabbitServer) -> Iterator[RabbitServer]:
    """A RabbitMQ with the users of both programs on its first virtual host."""
    rabbitmq.start()
    assert USER == "peter"
    rabbitmq.add_user("bob", "dobbs")
    rabbitmq.set_permissions("bob", "/")
    yield rabbitmq
    rabbitmq.delete_user("bob")


def test_the_two_programs_drive_each_other_over_a_rabbitmq(both_users: RabbitServer) -> None:
    with ExitStack() as running:

        def run(script: str, seconds: int) -> Program:
            program = Program(script, both_users, seconds)
            running.callback(program.close)
            return program

        # Given the active object, gone to its inner state by its own timer
        active_object = run("active_object.py", 30)
        active_object.await_own("to_inner")
        # When the factory starts and asks everybody to come out
        factory = run("factory.py", 31)
        # Then the active object comes out
        active_object.await_own("other_to_outer")
        # And the factory is drawn in; if it went in by itself, the next to start drives it out
        factory.await_own("to_inner", "other_to_inner")
        programs = [active_object, factory]
        if not factory.driven:
            programs.append(run("active_object.py", 1))
        wait_until(lambda: factory.driven, TIMER_LIMIT_S, message=f"driven in {factory.lines}")
        for program in programs:
            program.end()
    # And each terminal showed both charts, its own in one colour and the other in another
    for program, other in ((active_object, factory), (factory, active_object)):
        assert ("94", program.name, "start_at", "top->outer") in program.seen()
        assert other.name in {name for color, name, _, _ in program.seen() if color == "95"}
