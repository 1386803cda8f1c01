"""A chart that answers every question, in the order in which they come, until its input ends.

answering.py        the settings come from the environment
"""

from __future__ import annotations

import json
import sys
from typing import Any

from miros import Event, return_status, signals

from miros_mesh import NetworkedActiveObject


def answering(chart: NetworkedActiveObject, event: Event) -> Any:
    """Give each payload back."""
    if event.signal_name == "question":
        chart.transmit(Event(signal="answer", payload=event.payload))
        return return_status.HANDLED
    if event.signal == signals.ENTRY_SIGNAL:
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


def say(**facts: Any) -> None:
    """Tell the test."""
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    chart = NetworkedActiveObject("answering")
    chart.start_at(answering)
    say(ready=chart.health().ready)
    sys.stdin.readline()
    report = chart.stop()
    say(all_confirmed=report.all_confirmed, confirmed=report.confirmed)
