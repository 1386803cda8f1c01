"""A chart of discovery that dies begins again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from miros import Event

from miros_mesh.discovery.chart import ENTRY, DiscoveryChart, on
from miros_mesh.discovery.discovery import Discovery
from miros_mesh.discovery.safety import restarts
from miros_mesh.discovery.safety.restarts import Restarts
from miros_mesh.discovery.signals import EVALUATE_HOSTS_FILE
from miros_mesh.discovery.sources.cache_file import CacheFileChart
from miros_mesh.discovery.sources.lan_recce import LanRecceChart
from miros_mesh.health import Vitals
from support import discovery_field
from support.discovery_field import Brokers, Diary, Network, Sink, publish, running, trace_of
from support.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "SHORTEST_S", 0.01)
    monkeypatch.setattr(restarts, "LONGEST_S", 60.0)


class Counter(DiscoveryChart):
    NEST = (("idle", None), ("busy", "idle"))
    HEARS = (EVALUATE_HOSTS_FILE,)

    def __init__(self, **common: Any) -> None:
        self.count = 0
        self.entries = 0
        self.fail_entry = False
        super().__init__("counter", **common)
        self.begin()

    @on("idle", ENTRY)
    def idle_entry(self, _: Event) -> None:
        self.entries += 1
        if self.fail_entry:
            self.fail_entry = False
            raise ZeroDivisionError("the entry has a fault too")

    @on("idle", "work", to="busy")
    def work(self, event: Event) -> str:
        if event.payload == "poison":
            raise ZeroDivisionError("poison")
        self.count += 1
        return "busy"

    @on("idle", EVALUATE_HOSTS_FILE)
    def evaluate(self, _: Event) -> None:
        self.count += 100


def test_a_chart_that_died_begins_again_with_its_fields_and_what_waited_for_it() -> None:
    diary = Diary()
    with running(Counter(observer=diary)) as chart:
        chart.tell("work")
        wait_until(lambda: chart.count == 1)
        chart.tell("work", "poison")
        for _ in range(3):
            chart.tell("work")
        wait_until(lambda: chart.count == 4)
        # Subscribed as before, and once
        publish(chart, EVALUATE_HOSTS_FILE)
        wait_until(lambda: chart.count == 104)
        assert chart.entries == 2
        assert (diary.deaths, diary.revived) == (["counter"], ["counter"])
        assert chart.thread.name == f"mesh-{chart.origin}-discovery-counter"
        chart.tell("work", "poison")
        wait_until(lambda: diary.revived == ["counter"] * 2)
        publish(chart, EVALUATE_HOSTS_FILE)
        wait_until(lambda: chart.count == 204)


def test_what_is_published_while_it_is_dead_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "SHORTEST_S", 0.5)
    diary = Diary()
    with running(Counter(observer=diary)) as chart:
        chart.tell("work", "poison")
        wait_until(lambda: diary.deaths == ["counter"])
        publish(chart, EVALUATE_HOSTS_FILE)
        wait_until(lambda: len(chart.queue) == 1)
        assert diary.revived == []
        wait_until(lambda: chart.count == 100)


def test_an_entry_that_fails_too_is_one_more_death(caplog: pytest.LogCaptureFixture) -> None:
    diary = Diary()
    with running(Counter(observer=diary)) as chart:
        chart.fail_entry = True
        chart.tell("work", "poison")
        wait_until(lambda: chart.entries == 3)
        chart.tell("work")
        wait_until(lambda: chart.count == 1)
    assert diary.deaths == diary.revived == ["counter"] * 2
    assert "chart counter cannot start again" in caplog.text


def test_a_dead_chart_can_be_stopped_and_is_dead_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "SHORTEST_S", 60.0)
    vitals = Vitals("home")
    chart = Counter(observer=vitals)
    chart.tell("work", "poison")
    wait_until(lambda: vitals.dead_charts == ("counter",))
    chart.stop()
    assert vitals.dead_charts == ()
    assert not chart.tell("work")
    chart.stop()


def test_the_pause_grows_and_is_short_again_for_a_chart_that_lived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(restarts, "SHORTEST_S", 1.0)
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    pauses: list[float] = []
    calls: list[Any] = []

    def after(seconds: float, call: Any) -> None:
        pauses.append(seconds)
        calls.append(call)

    lives = Restarts("chart", lambda: None, after)
    for _ in range(8):
        lives.died()
        calls[-1]()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    now[0] = 61.0
    lives.died()
    assert pauses[-1] == 1
    lives.end()
    lives.died()
    assert len(pauses) == 9


# The charts of the library: each dies of a fault that is put into it


def dies_once(monkeypatch: pytest.MonkeyPatch, kind: type[DiscoveryChart], method: str) -> None:
    """The first call of a method raises."""
    rest = getattr(kind, method)
    calls = []

    def faulty(self: Any, *arguments: Any) -> Any:
        calls.append(method)
        if len(calls) == 1:
            raise ZeroDivisionError("a fault")
        return rest(self, *arguments)

    monkeypatch.setattr(kind, method, faulty)


def test_a_cache_file_chart_that_died_reads_for_those_who_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies_once(monkeypatch, CacheFileChart, "_publish_cache")
    file = tmp_path / "f.json"
    file.write_text('{"a": 1}')
    diary = Diary()
    chart = CacheFileChart(file, observer=diary, origin=discovery_field.ORIGIN)
    with discovery_field.ears("CACHE") as heard_, running(chart):
        publish(chart, "CACHE_FILE_READ")
        assert heard_.wait_for("CACHE").dict == {"a": 1}
        publish(chart, "CACHE_FILE_WRITE", {"b": 2})
        wait_until(lambda: json.loads(file.read_text()) == {"a": 1, "b": 2})
    assert diary.deaths == diary.revived == ["f.json"]


def test_a_cache_file_chart_that_died_with_an_update_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies_once(monkeypatch, CacheFileChart, "_wait_for_lock")
    file = tmp_path / "f.json"
    chart = CacheFileChart(file, origin=discovery_field.ORIGIN)
    with running(chart):
        publish(chart, "CACHE_FILE_WRITE", {"b": 2})
        wait_until(lambda: file.exists() and json.loads(file.read_text()) == {"b": 2})


def test_a_search_of_the_network_whose_chart_died_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dies_once(monkeypatch, LanRecceChart, "_complete_if_all_are_back")
    brokers, network = Brokers(), Network("10.0.0.7")
    brokers.ours("10.0.0.7")
    chart = LanRecceChart(
        "#",
        "x",
        send_scout=discovery_field.scouts(brokers, origin=discovery_field.ORIGIN),
        scanner=network,
        origin=discovery_field.ORIGIN,
    )
    with discovery_field.ears("LAN_RECCE_COMPLETE") as heard_, running(chart):
        publish(chart, "RECCE_LAN")
        assert heard_.wait_for("LAN_RECCE_COMPLETE").other_addresses == ("10.0.0.7",)
    assert network.scans == 2


CHARTS = (
    "producer_factory_chart",
    "man_net_chart",
    "lan_chart",
    "lan_recce_chart",
    "dns_chart",
    "alien_chart",
    "hosts.json",
    "cache.json",
)


class Watch(Diary):
    """What a node's health shows of dead charts."""

    def __init__(self) -> None:
        super().__init__()
        self.vitals = Vitals("home")
        self.dead: list[str] = []

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        self.vitals.chart_died(chart=chart, error=error)
        self.dead += self.vitals.dead_charts

    def chart_revived(self, *, chart: str) -> None:
        self.vitals.chart_revived(chart=chart)
        super().chart_revived(chart=chart)


def chart_of(discovery: Discovery, name: str) -> DiscoveryChart:
    """A chart of a discovery, or one that such a chart has made."""
    top: Any = discovery._chart
    charts = [top, *top.children]
    for each in top.children:
        made = (getattr(each, "_cache", None), getattr(each, "_recce", None))
        charts += [*getattr(each, "_files", ()), *filter(None, made)]
    found: DiscoveryChart = {each.name: each for each in charts}[name]
    return found


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_of_a_whole_discovery_that_dies_is_seen_and_the_search_goes_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    discovery_field.switch_on(monkeypatch)
    monkeypatch.setattr(restarts, "SHORTEST_S", 0.05)
    hosts = tmp_path / "hosts.json"
    hosts.write_text('{"hosts": ["10.0.0.1"]}')
    brokers, sink, watch = Brokers(), Sink(), Watch()
    brokers.ours("10.0.0.1", "10.0.0.2", "10.0.0.3")
    discovery = Discovery(
        discovery_field.settings(
            sources=("manual", "lan", "dns"),
            hosts_files=(hosts,),
            cache_path=tmp_path / "cache.json",
            look_again_s=(0.05, 0.1),
        ),
        probe=brokers,
        sink=sink,
        observer=watch,
        scanner=(network := Network("10.0.0.2")),
    )
    discovery.start()
    try:
        wait_until(lambda: sink.peers == {"10.0.0.1:5672", "10.0.0.2:5672"})
        chart = chart_of(discovery, name)
        with monkeypatch.context() as broken:
            # Whatever it handles next
            broken.setattr(chart, "next_rtc", lambda: 1 / 0)
            chart.tell("anything")
            wait_until(lambda: watch.dead == [name])
        wait_until(lambda: watch.revived == [name])
        assert watch.vitals.dead_charts == ()
        # Both kinds of search find what is new
        network.answering = ["10.0.0.3"]
        hosts.write_text('{"hosts": ["10.0.0.4"]}')
        brokers.ours("10.0.0.4")
        (tmp_path / "cache.json").unlink(missing_ok=True)
        publish(chart, "CACHE_FILE_READ")
        publish(chart, EVALUATE_HOSTS_FILE)
        wait_until(lambda: {"10.0.0.3:5672", "10.0.0.4:5672"} <= sink.peers)
        assert len(discovery.peers) == 4
    finally:
        discovery.stop()
    assert watch.dead == [name]


def test_the_trace_of_a_chart_that_died_shows_its_new_start() -> None:
    with running(Counter()) as chart:
        chart.tell("work", "poison")
        chart.tell("work")
        wait_until(lambda: chart.count == 1)
        wait_until(lambda: trace_of(chart)[-1] == "[counter] e->work() idle->busy")
        assert trace_of(chart).count("[counter] e->start_at() top->idle") == 2
