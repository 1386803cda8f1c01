"""Processes that take part in a test: started with a role, spoken to in lines."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from support.rabbitmq_server import Place

END_LIMIT_S = 20.0
# For an answer on a machine that is very busy; one that never comes is found out all the same.
HEARD_LIMIT_S = 300.0


class Actor:
    """A script running in a process of its own; it is dead when the `with` block ends."""

    def __init__(
        self,
        script: Path,
        *arguments: object,
        place: Place | None = None,
        complaints: IO[bytes] | None = None,
    ) -> None:
        argv = [sys.executable, str(script), *map(str, arguments)]
        self._process = subprocess.Popen(
            place.command(*argv) if place else argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            # Nothing that was said waits in a buffer, where `select` would not see it.
            bufsize=0,
        )

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def heard(self) -> dict[str, Any]:
        """The next line that it says."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], HEARD_LIMIT_S)
        assert ready, f"the process said nothing for {HEARD_LIMIT_S:g} s"
        line = self._process.stdout.readline()
        assert line, f"the process ended with {self._process.wait(END_LIMIT_S)} and said nothing"
        said: dict[str, Any] = json.loads(line)
        return said

    def lines_until_end(self) -> list[dict[str, Any]]:
        """All complete lines that it said before it ended."""
        assert self._process.stdout is not None
        return [json.loads(line) for line in self._process.stdout if line.endswith(b"\n")]

    def tell(self, what: str = "") -> None:
        """Give it a line; an empty one lets it go on."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n".encode())

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, limit_s: float) -> int:
        """The code with which it ends."""
        return self._process.wait(limit_s)

    def kill(self) -> None:
        """End it as the kernel does when memory runs out; returns when it is gone."""
        self._process.kill()
        self._process.wait(END_LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
