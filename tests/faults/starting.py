"""A chart that starts at a broker which hangs, until SIGTERM comes.

starting.py main|daemon        the thread that starts it; the settings come from the environment
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading

from miros_mesh import NetworkedActiveObject, stop_on_sigterm
from miros_mesh.errors import StoppedError
from support.charts_at_work import Heard, alone

if __name__ == "__main__":
    stop_on_sigterm()
    chart = NetworkedActiveObject("late")

    def start() -> None:
        """Start the chart, until the end of the program stops it."""
        with contextlib.suppress(StoppedError):
            chart.start_at(alone(Heard()))

    print(json.dumps({"said": "starting"}), flush=True)
    if sys.argv[1] == "main":
        start()
    threading.Thread(target=start, daemon=True).start()
    threading.Event().wait()
