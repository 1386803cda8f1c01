"""`examples/doors.py` as a container or a pod runs it: its environment, its files, its probes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.doc_pages import ROOT
from support.rabbitmq_server import HOST, free_ports
from support.waiting import wait_until

PROGRAM = ROOT / "examples" / "doors.py"
LIMIT_S = 60.0


class Door:
    """One that runs while its `with` block does; `mounts` has a folder for each path of the image.

    Only its port is another one than in the image, and it knocks more often.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        mounts: Mapping[str, Path] | None = None,
    ) -> None:
        (self.port,) = free_ports(1)
        self._mounts = mounts or {}
        self._arguments = [self._here(each) for each in arguments]
        self._environment = {name: self._here(value) for name, value in environment.items()}

    def __enter__(self) -> Self:
        own = ["--port", str(self.port), "--every", "0.2"]
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *self._arguments, *own],
            env={**os.environ, **self._environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate(timeout=LIMIT_S)

    def ask(self, path: str) -> tuple[int, str]:
        """The status and the body of a page."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def wait_for(self, path: str, status: int = 200) -> dict[str, Any]:
        """Ask until that is the status; the JSON of the answer."""
        answer = wait_until(
            lambda: found if (found := self.ask(path))[0] == status or self.ended else None,
            LIMIT_S,
            message=f"{path} is answered with {status}",
        )
        assert answer[0] == status, self.output()
        return dict(json.loads(answer[1]))

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def reload(self) -> None:
        """Have it read its files of keys, as `systemctl reload` does."""
        self._process.send_signal(signal.SIGHUP)

    def terminate(self, limit_s: float) -> list[str]:
        """End it as an engine does, within so many seconds; what it printed."""
        self._process.terminate()
        output, _ = self._process.communicate(timeout=limit_s)
        assert self._process.returncode == 0, output
        return output.splitlines()

    def output(self) -> str:
        """What it printed until it ended."""
        return self._process.communicate(timeout=LIMIT_S)[0]

    def _here(self, text: str) -> str:
        paths = sorted(map(re.escape, self._mounts), reverse=True)
        named = rf"(?<![\w/])({'|'.join(paths)})\b"
        return re.sub(named, lambda at: str(self._mounts[at[1]]), text) if paths else text
