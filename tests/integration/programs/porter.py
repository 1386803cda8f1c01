"""A service of two charts, `python -m porter`: one notes numbers, the other one comes to harm."""

from __future__ import annotations

import logging
import re
import signal
import threading
from pathlib import Path
from typing import Any

from miros import Event, return_status, signals, spy_on

from miros_mesh import (
    MeshConfig,
    NetworkedActiveObject,
    notify_systemd,
    reload_on_sighup,
    stop_on_sigterm,
)
from miros_mesh.private_files import prepare_home

DIARY, HUNG = Path("diary"), Path("hung")
EFFORT_S = 0.005
# Matches at no end that anybody lives to see, and lets no other thread run meanwhile.
HARD = re.compile(r"(a+)+$"), "a" * 60 + "b"


@spy_on
def noting(chart: NetworkedActiveObject, event: Event) -> Any:
    """Note each number, and say so."""
    if event.signal == signals.number:
        threading.Event().wait(EFFORT_S)
        with DIARY.open("a") as diary:
            diary.write(f"{event.payload}\n")
        chart.transmit(Event(signal=signals.noted, payload=event.payload))
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


@spy_on
def suffering(chart: NetworkedActiveObject, event: Event) -> Any:
    """Die, or hold up the whole process, which the next one does not any more."""
    if event.signal == signals.die:
        raise ValueError("by a bug")
    if event.signal == signals.hang and not HUNG.exists():
        HUNG.touch()
        HARD[0].match(HARD[1])
    chart.temp.fun = chart.top
    return return_status.SUPER


if __name__ == "__main__":
    logging.basicConfig()
    stop_on_sigterm()
    reload_on_sighup()
    started = threading.Event()
    notify_systemd(started.is_set)
    for name, state in {"porter": noting, "mortal": suffering}.items():
        NetworkedActiveObject(name).start_at(state)
    started.set()
    # Where the library keeps what it has in files can be used.
    prepare_home(MeshConfig.from_env().home_folder)
    while True:
        signal.pause()
