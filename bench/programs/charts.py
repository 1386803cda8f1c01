"""A chart of miros that counts, alone or on the mesh; which library is found is the Python's.

`role` is `stock` (a miros chart whose main thread posts to it, and no line of miros_mesh), `own`
(the same with a networked chart), `sender` or `receiver`. Only what every version of the library
has is used.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from miros import ActiveObject, Event, return_status, signals, spy_on

import talk

# miros overwrites what does not fit into the 500 places of a FIFO, and does not say so.
SLICE = 200
_LOOK_AGAIN_S = 0.0002


@spy_on
def counting(chart: Any, event: Event) -> Any:
    """The chart's one state."""
    if event.signal == signals.bench:
        number, sent_ns, _ = event.payload
        chart.tally.count(number, sent_ns)
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


def main() -> None:
    """Play a role until the input ends."""
    settings = talk.settings()
    if settings["role"] == "stock":
        if "miros_mesh" in sys.modules:
            raise RuntimeError("this was to be miros alone")
        post(ActiveObject("stock"))
        return
    charts = _networked(settings)
    if settings["role"] == "own":
        post(charts[0])
    elif settings["role"] == "sender":
        charts[0].start_at(counting)
        talk.send(lambda number, filled: charts[0].transmit(_event(number, filled)))
    else:
        for chart in charts:
            chart.start_at(counting)
        talk.receive(lambda tallies: _hand_out(charts, tallies), in_order=True, charts=len(charts))
    for chart in charts:
        chart.stop()


def post(chart: Any) -> None:
    """Post into the FIFO of a chart of this process, which is let run neither full nor dry."""
    chart.start_at(counting)
    pause = threading.Event()
    for task in talk.tasks():
        chart.tally = tally = talk.Tally(task.events)
        filled = talk.filler(task.size)
        first_ns = time.monotonic_ns()
        for number in range(1, task.events + 1):
            if number % SLICE == 0:
                while number - tally.handled > SLICE:
                    pause.wait(_LOOK_AGAIN_S)
            chart.post_fifo(_event(number, filled))
            if task.pause_s:
                pause.wait(task.pause_s)
        talk.say(first_ns=first_ns, **tally.result(with_latencies=task.pause_s > 0))


def _networked(settings: dict[str, Any]) -> list[Any]:
    from miros_mesh import MeshConfig, NetworkedActiveObject  # noqa: PLC0415 - stock has none of it

    given = {**settings["mesh"], **settings["own"]}
    config = MeshConfig(**{name: _typed(name, value) for name, value in given.items()})
    topic, role = settings["topic"], settings["role"]
    make: Callable[..., Any] = NetworkedActiveObject
    return [
        make(
            f"{role}_{number}",
            config=config,
            tx_routing_key=topic if role == "sender" else f"{topic}.unheard",
            rx_routing_key=topic if role == "receiver" else f"{topic}.unheard.{role}",
        )
        for number in range(settings.get("charts", 1) if role == "receiver" else 1)
    ]


def _typed(name: str, value: Any) -> Any:
    """What JSON has no type for."""
    if name == "home":
        return Path(value)
    return value.encode() if name in {"mesh_encryption_key", "node_identity"} else value


def _event(number: int, filled: str) -> Event:
    return Event(signal=signals.bench, payload=[number, time.monotonic_ns(), filled])


def _hand_out(charts: Sequence[Any], tallies: Sequence[talk.Tally]) -> None:
    for chart, tally in zip(charts, tallies, strict=True):
        chart.tally = tally


if __name__ == "__main__":
    main()
