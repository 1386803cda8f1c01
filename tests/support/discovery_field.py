"""A field for the charts of discovery: small real parts that tests hand to their ports."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from miros import ActiveObject, Event, return_status, signals, spy_on

from miros_mesh.address import Endpoint
from miros_mesh.discovery import producer_factory
from miros_mesh.discovery.chart import DiscoveryChart
from miros_mesh.discovery.safety.mailbox import DiscoveryMailbox
from miros_mesh.discovery.scout import RabbitConsumerScoutChart
from miros_mesh.discovery.scout_batch import SendScout
from miros_mesh.discovery.settings import DiscoverySettings
from miros_mesh.discovery.sources import alien_gate
from miros_mesh.discovery.threads import DiscoveryThreads
from miros_mesh.discovery.verdict import Verdict
from miros_mesh.observer import Observer
from miros_mesh.statechart.fabric import subscribe, unsubscribe
from support.waiting import wait_until

ROUTING_KEY = "heya.man"
EXCHANGE = "miros.mesh.exchange"
ORIGIN = "this-node"


def settings(**given: Any) -> DiscoverySettings:
    """Settings that look nowhere; what a node's settings would say is as a test gives it."""
    defaults: dict[str, Any] = {
        "node": "node",
        "routing_key": ROUTING_KEY,
        "exchange_name": EXCHANGE,
        "sources": (),
        "port": 5672,
        "home": (),
        "scope": "",
        "hosts_files": (),
        "cache_path": Path("cache.json"),
        "cache_max_age_s": 1800.0,
        "ipv6": False,
        "dns_names": (),
        "peer_forget_after_s": 3600.0,
        "aliens": "adopt",
        "live_trace": False,
        "live_spy": False,
    }
    return DiscoverySettings(**{**defaults, **given})


class Brokers:
    """A probe that knows what is where; unlisted hosts are empty."""

    def __init__(self, **_: Any) -> None:
        self.at: dict[str, Verdict | Exception] = {}
        self.asked: list[str] = []
        self.hold: dict[str, threading.Event] = {}
        self.stopped = False

    def probe(self, endpoint: Endpoint, exchange_name: str, timeout_s: float) -> Verdict:
        self.asked.append(endpoint.host)
        if gate := self.hold.get(endpoint.host):
            gate.wait(timeout_s)
        verdict = self.at.get(endpoint.host, Verdict.NOTHING)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    def stop(self) -> None:
        self.stopped = True
        for gate in self.hold.values():
            gate.set()

    def ours(self, *hosts: str) -> None:
        self.at.update(dict.fromkeys(hosts, Verdict.OURS))

    def times(self, host: str) -> int:
        return self.asked.count(host)


class Sink:
    """A node that takes what is found; `refusals` says how often it raises first."""

    def __init__(self, refusals: int = 0) -> None:
        self.told: list[tuple[str, str]] = []
        self.refusals = refusals
        self.asked = 0
        self.hold: threading.Event | None = None

    def found(self, endpoint: Endpoint) -> None:
        self._take("found", endpoint)

    def lost(self, endpoint: Endpoint) -> None:
        self._take("lost", endpoint)

    @property
    def peers(self) -> set[str]:
        return {where for what, where in self.told if what == "found"}

    def _take(self, what: str, endpoint: Endpoint) -> None:
        self.asked += 1
        if self.hold:
            self.hold.wait(5)
        if self.refusals:
            self.refusals -= 1
            raise OSError("the node is not ready")
        self.told.append((what, str(endpoint)))


class Network:
    """A scanner of a network of which everything is known."""

    def __init__(self, *answering: str) -> None:
        self.answering: Sequence[str] = answering
        self.scans = 0
        self.stopped = threading.Event()
        self.hold: threading.Event | None = None
        self.error: Exception | None = None

    def scan(self) -> Sequence[str]:
        self.scans += 1
        if self.hold:
            self.hold.wait(5)
        if self.error:
            raise self.error
        # As the real one: for good.
        return [] if self.stopped.is_set() else list(self.answering)

    def stop(self) -> None:
        self.stopped.set()
        if self.hold:
            self.hold.set()


class Diary(Observer):
    """What discovery tells of itself."""

    def __init__(self) -> None:
        self.scouts: list[tuple[str, str, str]] = []
        self.searches: list[tuple[str, int]] = []
        self.cache: list[bool] = []
        self.aliens: list[str] = []
        self.deaths: list[str] = []
        self.revived: list[str] = []

    def scouted(self, *, source: str, host: str, verdict: str, seconds: float) -> None:
        self.scouts.append((source, host, verdict))

    def searched(self, *, source: str, found: int, seconds: float) -> None:
        self.searches.append((source, found))

    def cache_read(self, *, hit: bool) -> None:
        self.cache.append(hit)

    def alien(self, *, outcome: str) -> None:
        self.aliens.append(outcome)

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        self.deaths.append(chart)

    def chart_revived(self, *, chart: str) -> None:
        self.revived.append(chart)


@spy_on
def _listening(chart: Ears, event: Event) -> int:
    if signals.is_inner_signal(event.signal_name):
        chart.temp.fun = chart.top
        return return_status.SUPER
    chart.heard.append((event.signal_name, event.payload))
    return return_status.HANDLED


class Ears(ActiveObject):
    """A program's own chart that subscribes to public signals."""

    def __init__(self) -> None:
        super().__init__("ears")
        self.heard: list[tuple[str, Any]] = []
        self.queue = self.locking_deque = DiscoveryMailbox("ears", ORIGIN)

    def of(self, signal: str) -> list[Any]:
        return [payload for name, payload in self.heard if name == signal]

    def wait_for(self, signal: str, count: int = 1) -> Any:
        wait_until(lambda: len(self.of(signal)) >= count, message=f"{count} of {signal}")
        return self.of(signal)[count - 1]


@contextmanager
def ears(*names: str) -> Iterator[Ears]:
    """A chart of this node's that hears some public signals."""
    chart = Ears()
    # Not by `chart.subscribe`: miros does nothing there once any chart has subscribed to a signal.
    for name in names:
        subscribe(chart.fabric, chart.queue, name)
    chart.start_at(_listening)
    try:
        yield chart
    finally:
        unsubscribe(chart.fabric, chart.queue)
        chart.stop()


@contextmanager
def threads(name: str = "test") -> Iterator[DiscoveryThreads]:
    """The threads of one node's discovery."""
    made = DiscoveryThreads(name)
    try:
        yield made
    finally:
        made.stop()


_threads_of_scouts: list[DiscoveryThreads] = []


@contextmanager
def running(*charts: Any) -> Iterator[Any]:
    """Charts that are stopped at the end, and their scouts."""
    try:
        yield charts[0]
    finally:
        for chart in charts:
            chart.stop()
        while _threads_of_scouts:
            _threads_of_scouts.pop().stop()


def scouts(brokers: Brokers, **common: Any) -> SendScout:
    """What sends scouts to these brokers; `running` ends them."""
    common = {"timeout_s": 2.0, **common, "threads": DiscoveryThreads("scouts")}
    _threads_of_scouts.append(common["threads"])

    def send(host: str, source: str) -> RabbitConsumerScoutChart:
        return RabbitConsumerScoutChart(
            host, ROUTING_KEY, EXCHANGE, probe=brokers, source=source, **common
        )

    return send


def trace_of(chart: DiscoveryChart) -> list[str]:
    """The lines of a chart's trace without their times."""
    lines = (chart.trace() or "").splitlines()
    return [re.sub(r"^\[[^]]*\] ", "", line) for line in lines if line]


def wait_for_trace(chart: DiscoveryChart, *lines: str) -> None:
    """Wait until the trace is just this."""
    wanted = list(lines)
    wait_until(lambda: trace_of(chart) == wanted, message=f"{wanted}, not {trace_of(chart)}")


def publish(chart: DiscoveryChart, signal: str, payload: Any = None) -> None:
    """Publish as any program may."""
    chart.fabric.publish(Event(signal=signal, payload=payload))


def switch_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the charts believe in a local network; its candidates and the brokers are a test's."""
    for module in (alien_gate, producer_factory):
        monkeypatch.setattr(module, "lan_is_off", lambda: False)
