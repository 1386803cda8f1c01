"""What every kind of request is measured by: one at a time, then with many on their way."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol, Self, cast

from measure import Child, MeasureError
from miros_mesh.systems import readable

ANSWER_LIMIT_S = 60.0
_END_LIMIT_S = 10.0


@dataclass(frozen=True)
class Requests:
    """So many one at a time, then so many of which some are on their way at once."""

    alone: int
    sustained: int
    in_flight: int


@dataclass(frozen=True)
class Asked:
    """What came of them; the median is that of the round trips of those that were alone."""

    median_s: float
    p99_s: float
    per_s: float


class Contender(Protocol):
    """One way of asking, with a server and a client in processes of their own."""

    def ask(self, requests: Requests) -> Asked:
        """Send requests, and wait for the answers."""


class Pair:
    """A client and a server that are played by this program."""

    def __init__(self, server: Child, client: Child) -> None:
        self._client = client
        server.answer()
        client.answer()

    def ask(self, requests: Requests) -> Asked:
        """Have the client send requests."""
        self._client.tell(requests)
        asked: Asked = self._client.answer()
        return asked


class Foreign:
    """Another program under another Python: it gets and gives a line of JSON for each round."""

    def __init__(self, python: Path, program: Path, **settings: Any) -> None:
        # Nothing of ours is found there by accident, and no password is in a list of processes.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        self._process = subprocess.Popen(  # noqa: S603 - a Python that we made, a program of ours
            [str(python), str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self._what = f"{program.name}, as {settings['role']},"
        self._output = cast("IO[str]", self._process.stdout)
        self._say(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The end of its input is the end of its work.
        try:
            self._process.communicate(timeout=_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def wait(self) -> dict[str, Any]:
        """Return what it says next."""
        # A line an answer, so nothing of the next one is in the buffer of this end.
        if not readable((self._output.fileno(),), ANSWER_LIMIT_S):
            raise MeasureError(f"{self._what} did not answer within {ANSWER_LIMIT_S:g} s")
        line = self._output.readline()
        if not line:
            _, errors = self._process.communicate(timeout=_END_LIMIT_S)
            last = errors.strip().splitlines()[-1:] or ["without a word"]
            raise MeasureError(f"{self._what} ended: {last[0]}")
        return dict(json.loads(line))

    def ask(self, requests: Requests) -> Asked:
        """Have it send requests."""
        self._say(asdict(requests))
        return Asked(**self.wait())

    def _say(self, words: dict[str, Any]) -> None:
        inbox = cast("IO[str]", self._process.stdin)
        inbox.write(json.dumps(words) + "\n")
        inbox.flush()


def summary(round_trips_s: list[float], sustained: int, took_s: float) -> Asked:
    """Make the figures of a round."""
    return Asked(
        statistics.median(round_trips_s),
        statistics.quantiles(round_trips_s, n=100)[98],
        sustained / took_s,
    )
