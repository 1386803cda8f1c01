"""What a process and its children have taken of the processor, and of memory at most."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Of the fields after the name of the program, counted from 0.
_PARENT, _USER, _SYSTEM = 1, 11, 12
_FORGET_PEAK = "5"


def cpu_s(pid: int | None) -> float:
    """Return the seconds of user and system time of a process and those below it; 0 of none."""
    if pid is None:
        return 0.0
    processes = {number: fields for number in _numbers() if (fields := _fields(number))}
    family, grown = {pid}, True
    while grown:
        more = {n for n, fields in processes.items() if int(fields[_PARENT]) in family} - family
        family |= more
        grown = bool(more)
    return sum(_ticks(processes[each]) for each in family if each in processes) / _TICKS_PER_S


def forget_peak(pid: int) -> None:
    """Begin to look for the most memory anew."""
    (PROC / str(pid) / "clear_refs").write_text(_FORGET_PEAK)


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had at once since then."""
    status = (PROC / str(pid) / "status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _numbers() -> list[int]:
    return [int(each.name) for each in PROC.iterdir() if each.name.isdigit()]


def _fields(pid: int) -> list[str]:
    # It may end meanwhile; and its name may have spaces and brackets in it.
    with suppress(OSError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return []


def _ticks(fields: list[str]) -> int:
    return int(fields[_USER]) + int(fields[_SYSTEM])
