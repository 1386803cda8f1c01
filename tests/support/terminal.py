"""A shell on a `Machine` of a test, into which blocks of a page are pasted one after another."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

from support import lan_guard, playbooks
from support.doc_pages import ROOT
from support.machine import Machine
from support.waiting import wait_until

# `miros-mesh keys` waits for half a minute, and RabbitMQ starts on a machine that is busy.
_LIMIT_S = 300.0
_PYTHON = Path(sys.executable).parent


class Terminal:
    """Lives from block to block, in a checkout, and ends at the first that fails.

    It is root's, so that `sudo` runs what it is given. `programs` are found before all others.
    """

    def __init__(self, host: Machine, home: Path, programs: Path | None = None) -> None:
        self._home = home
        self._numbers = itertools.count(1)
        home.mkdir(exist_ok=True)
        self._screen = home / "screen"
        settings = {
            "HOME": str(home),
            "PATH": ":".join(map(str, filter(None, [programs, _PYTHON, playbooks.PATH]))),
            "LANG": "C.UTF-8",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            lan_guard.VARIABLE: lan_guard.OFF,
        }
        with self._screen.open("w") as screen:
            self._shell = subprocess.Popen(
                host.command("env", "-i", *(f"{n}={v}" for n, v in settings.items()), "sh", "-e"),
                stdin=subprocess.PIPE,
                stdout=screen,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._type('sudo() { "$@"; }')
        self._type(f"cd {ROOT}")

    def paste(self, script: str) -> str:
        """Run a block, in this shell; what was printed."""
        number = next(self._numbers)
        file, end = self._home / f"block-{number}", f"# end of block {number}\n"
        file.write_text(script)
        before = len(self._screen.read_text())
        # No program of it reads what is typed after it.
        self._type(f". {file} < /dev/null; echo '{end.strip()}'")
        wait_until(lambda: self._ended or end in self._screen.read_text(), _LIMIT_S, message=script)
        printed = self._screen.read_text()[before:]
        assert printed.endswith(end), f"{script}\n{printed}"
        return printed.removesuffix(end)

    def close(self) -> None:
        """Hang up. What it left running ends with its machine."""
        self._shell.communicate(timeout=_LIMIT_S)

    @property
    def _ended(self) -> bool:
        return self._shell.poll() is not None

    def _type(self, line: str) -> None:
        assert self._shell.stdin
        self._shell.stdin.write(f"{line}\n")
        self._shell.stdin.flush()
