"""A chart at one of two sites, which are joined by federation.

site.py URL NAME TOPIC HEARS         a chart NAME on a node NAME sends under TOPIC and hears HEARS

Each line that comes in is done, and each thing that the chart is told is a line: the signal, and
what it says. Lines: `ask CHART` (a chart by its address), `ask` (whoever hears the topic), `tell
TOPIC` (an event that may have no listener), `count FIRST END` (numbers), `scribble TEXT` (to those
who watch).
"""

from __future__ import annotations

import sys
from typing import Any

from miros import Event

from faults.conftest import settings
from faults.roles import say
from miros_mesh import NetworkedActiveObject
from support.charts_at_work import alone, event

ASKED, ANSWER = "site_asked", "site_answer"


def handle(chart: NetworkedActiveObject, received: Event) -> None:
    """Answer what is asked, and tell of all else."""
    if received.signal_name == ASKED:
        if chart.received and chart.received.wants_reply:
            chart.reply(event(ANSWER, chart.name))
        return
    payload = received.payload
    if received.signal_name == "CHART_UP":
        payload = f"{payload.node}/{payload.chart}"
    elif received.signal_name == "NO_LISTENER":
        payload = payload.topic
    say(f"{received.signal_name} {payload}")


def count(chart: NetworkedActiveObject, first: int, end: int) -> None:
    """Transmit numbers."""
    for number in range(first, end):
        chart.transmit(event("site_told", number))


def main(url: str, name: str, topic: str, hears: str) -> None:
    """Do what each line says."""
    chart = NetworkedActiveObject(
        name,
        tx_routing_key=topic,
        rx_routing_key=hears,
        config=settings(url, node_name=name, tell_charts=True, tell_no_listener=True),
        on_trace_rx=lambda text: say(f"trace {text}"),
    )
    chart.start_at(alone(handle, spied=True))
    chart.enable_snoop_trace()
    do: dict[str, Any] = {
        "ask": lambda to="": chart.request(event(ASKED), 30.0, **({"to": to} if to else {})),
        "tell": lambda topic: chart.transmit(event("site_told"), routing_key=topic),
        "count": lambda first, end: count(chart, int(first), int(end)),
        "scribble": chart.snoop_scribble,
    }
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "end":
            break
        do[word](*rest)
    chart.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
