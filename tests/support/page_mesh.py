"""Meshes to look at by the page: a shop of three charts, and lines of as many as are wanted."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from miros import Event, return_status, signals, spy_on

from miros_mesh import MeshConfig, NetworkedActiveObject

STOP_LIMIT_S = 10.0
Settings = Callable[..., MeshConfig]


class Worker(NetworkedActiveObject):
    """A chart that knows where its work goes, and what it waits for while it is to be stuck."""

    next_topic = ""
    till = ""
    gate: threading.Event


def made(name: str, node: str, settings: Settings, **arguments: Any) -> Worker:
    """A chart of a node, with both streams on."""
    config = settings(node_name=node)
    chart = Worker(
        name,
        config=config,
        on_trace_rx=lambda _: None,
        on_spy_rx=lambda _: None,
        **arguments,
    )
    chart.gate = threading.Event()
    chart.gate.set()
    chart.enable_snoop_trace()
    chart.enable_snoop_spy()
    return chart


@spy_on
def idle(chart: Worker, event: Event) -> Any:
    """A desk that waits for an order, and asks the till to charge it."""
    if event.signal == signals.order:
        chart.request(Event(signal="charge", payload=event.payload), 600.0, to=chart.till)
        return chart.trans(paying)
    return _up(chart, event)


@spy_on
def paying(chart: Worker, event: Event) -> Any:
    """A desk that waits for the till."""
    if event.signal == signals.charged:
        chart.transmit(Event(signal="ship", payload=event.payload), routing_key="shop.depot")
        return chart.trans(idle)
    if event.signal == signals.order:
        chart.defer(event)
        return return_status.HANDLED
    return _up(chart, event)


@spy_on
def charging(chart: Worker, event: Event) -> Any:
    """A till, which answers once its gate is open."""
    if event.signal == signals.charge:
        chart.gate.wait(STOP_LIMIT_S * 60)
        chart.reply(Event(signal="charged", payload=event.payload))
        return return_status.HANDLED
    return _up(chart, event)


@spy_on
def empty(chart: Worker, event: Event) -> Any:
    """A depot with nothing to send."""
    return chart.trans(packed) if event.signal == signals.ship else _up(chart, event)


@spy_on
def packed(chart: Worker, event: Event) -> Any:
    """A depot with a parcel."""
    return chart.trans(empty) if event.signal == signals.ship else _up(chart, event)


@spy_on
def green(chart: Worker, event: Event) -> Any:
    """The first of the three states of a chart in a line."""
    return _pass_on(chart, event, amber)


@spy_on
def amber(chart: Worker, event: Event) -> Any:
    """The second one."""
    return _pass_on(chart, event, red)


@spy_on
def red(chart: Worker, event: Event) -> Any:
    """The third one."""
    return _pass_on(chart, event, green)


@spy_on
def shut(chart: Worker, event: Event) -> Any:
    """A counter that is closed for the night."""
    return chart.trans(serving) if event.signal == signals.unlock else _up(chart, event)


@spy_on
def serving(chart: Worker, event: Event) -> Any:
    """A counter that is open, in one of the two states within."""
    if event.signal == signals.INIT_SIGNAL:
        return chart.trans(waiting)
    if event.signal == signals.ring:
        return return_status.HANDLED
    return chart.trans(shut) if event.signal == signals.lock else _up(chart, event)


@spy_on
def waiting(chart: Worker, event: Event) -> Any:
    """A counter without a guest."""
    return chart.trans(selling) if event.signal == signals.come else _up(chart, event, serving)


@spy_on
def selling(chart: Worker, event: Event) -> Any:
    """A counter with one."""
    return chart.trans(waiting) if event.signal == signals.pay else _up(chart, event, serving)


def _pass_on(chart: Worker, event: Event, then: Any) -> Any:
    if event.signal != signals.step:
        return _up(chart, event)
    left = event.payload - 1
    if left > 0:
        chart.transmit(Event(signal="step", payload=left), routing_key=chart.next_topic)
    return chart.trans(then)


def _up(chart: Worker, _: Event, outer: Any = None) -> Any:
    chart.temp.fun = outer or chart.top
    return return_status.SUPER


class Shop:
    """Three charts on three nodes: a desk asks the till, and tells the depot."""

    def __init__(self, settings: Settings) -> None:
        self.desk = made("desk", "front", settings, tx_routing_key="shop.desk")
        self.till = made("till", "bank", settings, tx_routing_key="shop.till")
        self.depot = made("depot", "warehouse", settings, tx_routing_key="shop.depot")
        self.desk.till = "bank/till"

    def start(self) -> None:
        """Begin to work."""
        self.till.start_at(charging)
        self.depot.start_at(empty)
        self.desk.start_at(idle)

    def order(self, number: int) -> None:
        """Place an order."""
        self.desk.post_fifo(Event(signal="order", payload=number))

    def stop(self) -> None:
        """End all of them."""
        self.till.gate.set()
        for chart in (self.desk, self.till, self.depot):
            chart.stop()


@contextmanager
def shop(settings: Settings) -> Iterator[Shop]:
    """A shop at work, until the end of the block."""
    made_shop = Shop(settings)
    try:
        made_shop.start()
        yield made_shop
    finally:
        made_shop.stop()


@contextmanager
def orders(shop: Shop, every_s: float = 0.1) -> Iterator[None]:
    """Place orders, until the end of the block."""
    numbers = itertools.count(1)
    with _again(every_s, lambda: shop.order(next(numbers))):
        yield


@contextmanager
def lines(settings: Settings, nodes: int, charts: int) -> Iterator[list[Worker]]:
    """As many nodes of as many charts each; what a chart is told goes on through others."""
    workers: list[Worker] = []
    total = nodes * charts
    with ExitStack() as stack:
        for at in range(total):
            node, place = divmod(at, charts)
            chart = made(f"lamp-{at:03}", f"host-{node:02}", settings, tx_routing_key=f"line.{at}")
            # Far away, so that it goes from node to node.
            chart.next_topic = f"line.{(at + charts + 1 + place) % total}"
            chart.start_at(green)
            stack.callback(chart.stop)
            workers.append(chart)
        yield workers


@contextmanager
def busy(workers: list[Worker], every_s: float, hops: int = 6) -> Iterator[None]:
    """Begin a line at each of the charts in turn, until the end of the block."""
    turns = itertools.count(0, 7)

    def begin() -> None:
        workers[next(turns) % len(workers)].post_fifo(Event(signal="step", payload=hops))

    with _again(every_s, begin):
        yield


@contextmanager
def _again(every_s: float, do: Callable[[], object]) -> Iterator[None]:
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(every_s):
            do()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
