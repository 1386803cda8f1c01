"""A program on a host of the private network: nodes come and go in it as a test says.

Orders come in as lines of JSON, `{"order": 1, "do": "start", ...}`. Facts go out likewise: what
nodes and charts saw, and for each order what came of it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from miros import Event, spy_on

from lan.sniffer import Sniffer
from miros_mesh import MeshConfig, NetworkedActiveObject, Observer
from support.name_server import NameServer

ANCESTOR = Path(__file__).parents[1] / "integration" / "ancestor" / "active_object.py"
STATES_END = "ao = NetworkedActiveObject("
TIMER = "random.randint(2, 7)"
# Two charts whose timers fire at once chase each other, until miros ends them; so they seldom do.
SELDOM = "random.uniform(20, 70)"
_saying = threading.Lock()


def say(node: str, what: str, **facts: Any) -> None:
    """Tell the test."""
    line = json.dumps({"at": time.monotonic(), "node": node, "what": what, **facts}, default=repr)
    with _saying:
        os.write(1, f"{line}\n".encode())


class Told(Observer):
    """Passes on what discovery and the publishers of a node tell."""

    def __init__(self, node: str) -> None:
        self._node = node

    def scouted(self, *, source: str, host: str, verdict: str, seconds: float) -> None:
        say(self._node, "scouted", source=source, host=host, verdict=verdict)

    def searched(self, *, source: str, found: int, seconds: float) -> None:
        say(self._node, "searched", source=source, found=found, seconds=seconds)

    def cache_read(self, *, hit: bool) -> None:
        say(self._node, "cache_read", hit=hit)

    def alien(self, *, outcome: str) -> None:
        say(self._node, "alien", outcome=outcome)

    def peer_up(self, *, peer: str) -> None:
        say(self._node, "peer_up", peer=peer)

    def peer_down(self, *, peer: str, reason: str) -> None:
        say(self._node, "peer_down", peer=peer, reason=reason)

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        say(self._node, "dropped", network=network, reason=reason, events=events)

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        say(self._node, "gap", network=network, sender=sender, missing=missing)

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        say(self._node, "chart_died", chart=chart, error=repr(error))


def ancestors_outer(node: str) -> Callable[[Any, Event], Any]:
    """The first state of the ancestor's example; what its chart handles is told."""
    text = ANCESTOR.read_text()
    assert STATES_END in text
    assert TIMER in text
    namespace: dict[str, Any] = {"__name__": "ancestor"}
    states, _, _ = text.replace(TIMER, SELDOM).partition(STATES_END)
    exec(compile(states, str(ANCESTOR), "exec"), namespace)
    heard: list[Event | None] = [None]
    for name in ("inner", "outer"):
        namespace[name] = _overheard(namespace[name], node, heard)
    outer: Callable[[Any, Event], Any] = namespace["outer"]
    return outer


def _overheard(
    state: Callable[[Any, Event], Any], node: str, heard: list[Event | None]
) -> Callable[[Any, Event], Any]:
    @wraps(state)
    def overheard(chart: Any, event: Event) -> Any:
        # What the inner state leaves to the outer one is the same event.
        if event is not heard[0] and not event.signal_name.endswith("_SIGNAL"):
            heard[0] = event
            say(node, "handled", signal=event.signal_name, payload=event.payload)
        return state(chart, event)

    # Once more: miros looks at the outermost function whether a chart can be traced.
    spied_on: Callable[[Any, Event], Any] = spy_on(overheard)
    return spied_on


class Counting:
    """Transmits numbers, so many a second, until it is told to end."""

    def __init__(self, chart: NetworkedActiveObject, signal: str, per_s: float) -> None:
        self._chart, self._signal, self._per_s = chart, signal, per_s
        self._sent = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> int:
        """How many were sent."""
        self._ending.set()
        self._thread.join()
        return self._sent

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ending.wait(max(due - time.monotonic(), 0)):
            self._chart.transmit(Event(signal=self._signal, payload=self._sent))
            self._sent += 1
            due += 1 / self._per_s


class Resident:
    """Every order is a method; what it returns goes to the test."""

    def __init__(self) -> None:
        self._charts: dict[str, NetworkedActiveObject] = {}
        self._counts: dict[str, Counting] = {}
        self._sniffer: Sniffer | None = None
        self._names: NameServer | None = None

    def start(self, node: str, settings: dict[str, Any]) -> None:
        """Start the ancestor's example."""
        config = MeshConfig(observers=(Told(node),), **settings)
        chart = NetworkedActiveObject(
            f"ao_{node}",
            config=config,
            tx_routing_key="heya.man",
            rx_routing_key="#.man",
            on_trace_rx=lambda record: say(node, "trace", line=str(record)),
        )
        chart.enable_snoop_trace()
        self._charts[node] = chart
        chart.start_at(ancestors_outer(node))

    def stop(self, node: str) -> str:
        """Stop it."""
        if counting := self._counts.pop(node, None):
            counting.end()
        return repr(self._charts.pop(node).stop())

    def transmit(self, node: str, signal: str, payload: Any) -> None:
        """Send one event."""
        self._charts[node].transmit(Event(signal=signal, payload=payload))

    def count(self, node: str, signal: str, per_s: float) -> None:
        """Send numbers from now on."""
        self._counts[node] = Counting(self._charts[node], signal, per_s)

    def counted(self, node: str) -> int:
        """Send no more of them."""
        return self._counts.pop(node).end()

    def peers(self, node: str) -> dict[str, str]:
        """The brokers that a node knows, each with its state."""
        return dict(self._charts[node].health().peers)

    def outbox(self, node: str) -> int:
        """How many events of a node are not confirmed."""
        return self._charts[node].health().outbox_events

    def sniff(self, interface: str) -> None:
        """Begin to note what the host sends."""
        self._sniffer = Sniffer(interface)

    def sniffed(self) -> list[str]:
        """What it has sent since then; note no more."""
        assert self._sniffer
        self._sniffer.close()
        return self._sniffer.seen

    def serve_names(self, services: dict[str, list[str]]) -> None:
        """Be this host's name server."""
        self._names = NameServer(services, port=53)

    def serve_no_names(self) -> None:
        """Be it no more."""
        assert self._names
        self._names.close()


def main() -> None:
    """Do as told until the test closes the pipe."""
    resident = Resident()
    say("", "ready")
    for line in sys.stdin:
        order = json.loads(line)
        number, do = order.pop("order"), order.pop("do")
        try:
            result = getattr(resident, do)(**order)
        except Exception as error:  # noqa: BLE001 - the test reads it
            say("", "failed", order=number, error=f"{type(error).__name__}: {error}")
        else:
            say("", "done", order=number, result=result)


if __name__ == "__main__":
    main()
