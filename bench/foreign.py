"""Another program, under whatever Python: it gets and gives a line of JSON for each thing to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, Self, cast

from environment import bare
from measure import MeasureError
from miros_mesh.systems import readable

PROGRAMS = Path(__file__).with_name("programs")
# Longer than any limit inside a program, so that the program says what went wrong.
ANSWER_LIMIT_S = 100.0
_END_LIMIT_S = 15.0
_LAST_BYTES = 4_000


class Foreign:
    """A program of the folder `programs`; the end of the block is the end of its input."""

    def __init__(self, python: Path, program: str, **settings: Any) -> None:
        # No password is in a list of processes: the settings go into its input.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - until the end of the block
        self._process = subprocess.Popen(  # noqa: S603 - a Python that we made, a program of ours
            [str(python), str(PROGRAMS / f"{program}.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=bare() | _sources(python),
            text=True,
        )
        self._what = f"{program}, as {settings['role']},"
        self._output = cast("IO[str]", self._process.stdout)
        self.tell(**settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._errors.close()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def tell(self, **words: Any) -> None:
        """Give it something to do."""
        inbox = cast("IO[str]", self._process.stdin)
        try:
            inbox.write(json.dumps(words) + "\n")
            inbox.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def wait(self) -> dict[str, Any]:
        """Return what it says next."""
        # A line an answer, so nothing of the next one is in the buffer of this end.
        if not readable((self._output.fileno(),), ANSWER_LIMIT_S):
            raise MeasureError(f"{self._what} did not answer within {ANSWER_LIMIT_S:g} s")
        line = self._output.readline()
        if not line:
            raise self._ended()
        words = dict(json.loads(line))
        if "wrong" in words:
            raise MeasureError(f"{self._what} {words['wrong']}")
        return words

    def _ended(self) -> MeasureError:
        self._process.wait(_END_LIMIT_S)
        self._errors.seek(0)
        lines = self._errors.read()[-_LAST_BYTES:].decode(errors="replace").strip().splitlines()
        return MeasureError(f"{self._what} ended: {(lines or ['without a word'])[-1]}")


def _sources(python: Path) -> dict[str, str]:
    """Have this Python find the library where it does now; any other one has its own, or none."""
    path = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": path} if path and python == Path(sys.executable) else {}
