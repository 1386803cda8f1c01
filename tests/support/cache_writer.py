"""Processes that read and write a shared JSON file: `python cache_writer.py FILE WRITES NAME...`.

One process for each name, forked from one that has imported all it takes: two hundred Pythons that
import it would take longer than what is to be tested.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from miros import Event

from miros_mesh.discovery.chart import on
from miros_mesh.discovery.signals import (
    CACHE_FILE_READ,
    CACHE_FILE_WRITE,
    CacheFileReadPayload,
    CacheWritePayload,
)
from miros_mesh.discovery.sources.cache_file import CacheFileChart

LIMIT_S = 300.0
# So many of its last writes each process keeps there. A lost one would be missed at each of the
# next reads, and the file stays small.
KEPT = 5


class Patient(CacheFileChart):
    """Lets a thread wait without looking again and again, which 200 processes could not afford."""

    def __init__(self, path: Path) -> None:
        self.done = threading.Event()
        self.read: Any = None
        super().__init__(path, default_json='{"processes": {}}')

    @on("file_write", "write_successful", to="file_access_waiting")
    def written(self, event: Event) -> str:
        self.done.set()
        return self.write_successful(event)

    @on("file_read", "read_successful", to="file_access_waiting")
    def was_read(self, event: Event) -> str:
        self.read = event.payload
        self.done.set()
        return self.read_successful(event)

    def ask(self, signal: str, payload: Any) -> None:
        """Let the chart do this, and wait for it."""
        self.done.clear()
        self.tell(signal, payload)
        assert self.done.wait(LIMIT_S), f"{signal} was not done within {LIMIT_S} s"


def kept(writes: int) -> dict[str, int]:
    """What a process has in the file after so many writes."""
    return {str(number % KEPT): number for number in range(max(writes - KEPT, 0) + 1, writes + 1)}


def work(path: Path, name: str, writes: int) -> None:
    """Write so often, each time with a read, and check what is read."""
    chart = Patient(path)
    for number in range(1, writes + 1):
        update = {"processes": {name: {str(number % KEPT): number}}}
        chart.ask(CACHE_FILE_WRITE, CacheWritePayload(update, str(path)))
        chart.ask(CACHE_FILE_READ, CacheFileReadPayload(str(path)))
        # A torn or foreign file would have been read as the default.
        mine = chart.read.data["processes"].get(name)
        assert mine == kept(number), f"{name} wrote {number} times and reads {mine}"
    chart.stop()


def fork(path: Path, name: str, writes: int) -> int:
    """Let a process of its own work; its id."""
    if child := os.fork():
        return child
    code = 1
    try:
        work(path, name, writes)
        code = 0
    except Exception:  # noqa: BLE001 - told, and then its code is not zero
        traceback.print_exc()
    finally:
        # Without the parent's ways to end.
        os._exit(code)


if __name__ == "__main__":
    at_work = [fork(Path(sys.argv[1]), name, int(sys.argv[2])) for name in sys.argv[3:]]
    sys.exit(any(os.waitpid(process, 0)[1] for process in at_work))
