"""What watching costs a chart, and how much a monitor can follow."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

from miros import Event, return_status, signals, spy_on

from brokers import Measured
from measure import Child, MeasureError
from miros_mesh import MeshConfig, NetworkedActiveObject, SnoopGap, SnoopMonitor

ROUNDS = 25
EVENTS = 4_000
RATES = (5_000, 20_000)
SECONDS = 4.0
_SLICE_S = 0.01
_LIMIT_S = 60.0


@spy_on
def here(chart: Any, event: Event) -> Any:
    """One of two states between which the chart goes to and fro."""
    if event.signal == signals.hop:
        chart.hop()
        return chart.trans(there)
    chart.temp.fun = chart.top
    return return_status.SUPER


@spy_on
def there(chart: Any, event: Event) -> Any:
    """The other one."""
    if event.signal == signals.hop:
        chart.hop()
        return chart.trans(here)
    chart.temp.fun = chart.top
    return return_status.SUPER


class Hopper(NetworkedActiveObject):
    """Posts itself the next event: as many transitions a second as there can be."""

    def hop(self) -> None:
        """Handle one event."""
        self.left -= 1
        if self.left > 0:
            self.post_fifo(Event(signal=signals.hop))
        else:
            self.done.set()

    def run_for(self, events: int) -> float:
        """So many events; how many a second."""
        self.left, self.done = events, threading.Event()
        began = time.perf_counter()
        self.post_fifo(Event(signal=signals.hop))
        if not self.done.wait(_LIMIT_S):
            raise MeasureError("the chart stopped hopping")
        return events / (time.perf_counter() - began)


@dataclass(frozen=True)
class Followed:
    """What a monitor saw of one producer."""

    rate: int
    told: int
    seen: int
    missing: int
    delays_s: list[float]


def hop_both_ways(connection: Connection, config: MeshConfig) -> None:
    """A chart without and one with its trace, in one process, in turns."""
    plain = _hopper("plain", config)
    traced = _hopper("traced", config, traced=True)
    for chart in (plain, traced):
        chart.run_for(EVENTS)
    connection.send([(plain.run_for(EVENTS), traced.run_for(EVENTS)) for _ in range(ROUNDS)])
    for chart in (plain, traced):
        chart.stop()


def scribble(connection: Connection, config: MeshConfig) -> None:
    """A chart that tells as many notes a second as it is asked for."""
    chart = NetworkedActiveObject("teller", config=config, on_trace_rx=lambda _: None)
    chart.enable_snoop_trace()
    chart.start_at(here)
    connection.send("ready")
    pause = threading.Event()
    while rate := connection.recv():
        began, told = time.monotonic(), 0
        while (passed := time.monotonic() - began) < SECONDS:
            for _ in range(int(passed * rate) - told):
                chart.snoop_scribble("note")
                told += 1
            pause.wait(_SLICE_S)
        chart.snoop_scribble("end")
        connection.send(told)
    chart.stop()


def figures(brokers: list[Measured]) -> Iterator[str]:
    """Lines to print, as they are measured."""
    for broker in brokers:
        yield f"{broker.title}\n{_cost(broker.config)}"
        for followed in _follow(broker.config):
            yield _line(followed)


def _cost(config: MeshConfig) -> str:
    with Child(hop_both_ways, config) as child:
        pairs: list[tuple[float, float]] = child.answer()
    plain, traced = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    ratios = sorted(on / off for off, on in pairs)
    return (
        f"  transitions a second: {plain:,.0f} without trace, {traced:,.0f} with it: "
        f"{traced / plain:.0%} (median of the {len(pairs)} pairs {statistics.median(ratios):.0%})"
    )


def _follow(config: MeshConfig) -> Iterator[Followed]:
    with (
        SnoopMonitor(config, networks=["snoop_trace"]) as monitor,
        Child(scribble, config) as child,
    ):
        child.answer()
        for rate in RATES:
            watch = monitor.watch(limit_s=_LIMIT_S)
            child.tell(rate)
            seen, missing, delays = 0, 0, list[float]()
            for item in watch:
                if isinstance(item, SnoopGap):
                    missing += item.missing
                elif item.text == "end":
                    break
                elif item.text == "note":
                    seen += 1
                    delays.append(time.time() - item.time)
            yield Followed(rate, child.answer(), seen, missing, delays)


def _line(followed: Followed) -> str:
    delays = sorted(followed.delays_s)
    worst = delays[int(len(delays) * 0.99)] if delays else float("nan")
    return (
        f"  {followed.rate:,} records a second for {SECONDS:g} s: {followed.told:,} told, "
        f"{followed.seen:,} followed, {followed.missing:,} missing, "
        f"99 % within {worst * 1000:,.0f} ms"
    )


def _hopper(name: str, config: MeshConfig, *, traced: bool = False) -> Hopper:
    chart = Hopper(
        name,
        # A node each, so that one's work is not the other's.
        config=replace(config, node_name=f"bench-{name}"),
        on_trace_rx=lambda _: None,
    )
    if traced:
        chart.enable_snoop_trace()
    chart.start_at(here)
    return chart
