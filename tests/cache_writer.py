"""A process that reads and writes a shared JSON file: `python cache_writer.py FILE NAME WRITES`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from miros import Event

from miros_mesh.discovery.cache_file import CacheFileChart
from miros_mesh.discovery.chart import on
from miros_mesh.discovery.signals import (
    CACHE_FILE_READ,
    CACHE_FILE_WRITE,
    CacheFileReadPayload,
    CacheWritePayload,
)

LIMIT_S = 600.0


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


def work(path: Path, name: str, writes: int) -> None:
    """Write keys of one's own so often, each time with a read, and check what is read."""
    chart = Patient(path)
    for number in range(1, writes + 1):
        update = {"processes": {name: {f"write_{number}": number}}}
        chart.ask(CACHE_FILE_WRITE, CacheWritePayload(update, str(path)))
        chart.ask(CACHE_FILE_READ, CacheFileReadPayload(str(path)))
        # A torn or foreign file would have been read as the default.
        mine = chart.read.data["processes"].get(name, {})
        assert len(mine) == number, f"{name} wrote {number} times and reads {len(mine)}"
    chart.stop()


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
