"""A monitor: one place that shows every chart at work, and what it does not show."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from miros_mesh import MeshConfig, NetworkedActiveObject, SnoopGap, SnoopMonitor, SnoopRecord
from miros_mesh.errors import (
    BrokerUnreachableError,
    ConfigError,
    LifecycleError,
    NotStartedError,
    UnknownChartError,
)
from miros_mesh.observe.metrics.observer import MetricsObserver
from miros_mesh.observe.snoop.watch import Watch
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import (
    KEY,
    OTHER_KEY,
    Ground,
    Heard,
    Launch,
    alone,
    publish,
    seal,
)
from support.rabbitmq_server import free_ports
from support.waiting import wait_until

LIMIT_S = 15.0


def nobody(_: SnoopRecord) -> None:
    """A chart takes part, and looks at nothing."""


def producer(name: str, config: MeshConfig, *streams: str) -> NetworkedActiveObject:
    chart = NetworkedActiveObject(name, config=config, on_trace_rx=nobody, on_spy_rx=nobody)
    for stream in streams or ("trace",):
        getattr(chart, f"enable_snoop_{stream}")()
    chart.start_at(alone(Heard()))
    return chart


def read(watch: Watch, amount: int) -> list[SnoopRecord | SnoopGap]:
    items: list[SnoopRecord | SnoopGap] = []
    while len(items) < amount:
        item = watch.get(LIMIT_S)
        assert item is not None, f"only {items}"
        items.append(item)
    return items


def foreign(sequence: int, text: str = "", **facts: Any) -> SnoopRecord:
    given = {"node": "afar", "chart": "stranger", "incarnation": "1ncarn", "kind": "trace"}
    return SnoopRecord(
        **{**given, "time": 1.5, "text": text or f"step {sequence}", **facts}, sequence=sequence
    )


def told(config: MeshConfig, records: Sequence[SnoopRecord], key: bytes | None = None) -> None:
    """Put records on the trace network, past the library."""
    frame = seal(config, *records, network="snoop_trace", topic="snoop.trace", key=key)
    publish(config, frame, network="snoop_trace", routing_key="snoop.trace")


def by(way: str, request: pytest.FixtureRequest) -> MeshConfig:
    """The embedded broker or a RabbitMQ, past which `told` can put records."""
    if way == "embedded":
        return MeshConfig()
    return MeshConfig(broker_url=request.getfixturevalue("vhost_url"), mesh_encryption_key=KEY)


# What it shows


def test_each_of_several_monitors_sees_all_that_several_charts_do(ground: Ground) -> None:
    config = ground.make()
    with SnoopMonitor(config) as first, SnoopMonitor(config) as second:
        watches = [first.watch(), iter(first), second.watch()]
        charts = [
            producer("left", ground.node("one"), "trace", "spy"),
            producer("right", ground.node("two"), "trace", "spy"),
        ]
        # Start: a line of trace and five of spy; scribble: one line.
        for chart in charts:
            chart.snoop_scribble("a note")
        seen = [read(watch, 14) for watch in watches]
        for chart in charts:
            chart.stop()
        for items in seen:
            assert sorted(
                (i.chart, i.kind, i.sequence) for i in items if isinstance(i, SnoopRecord)
            ) == sorted(
                (name, kind, number)
                for name in ("left", "right")
                for kind, numbers in (("trace", [1]), ("scribble", [2]), ("spy", range(1, 6)))
                for number in numbers
            )
        for monitor in (first, second):
            assert set(monitor.charts) == {("one", "left"), ("two", "right")}
            left = monitor.chart("left")
            assert repr(left) == "<ForeignChart one/left>"
            assert left.spy()[0] == "START"
            assert left.trace().endswith("[left] # a note\n")
            assert "] [left] e->start_at() top->listening\n" in left.trace()


def test_a_chart_of_the_same_process_and_settings_is_seen_once(launch: Launch) -> None:
    config = MemoryMesh().config()
    with SnoopMonitor(config, networks=["snoop_trace"]) as monitor:
        watch = monitor.watch()
        chart = producer("near", config)
        chart.snoop_scribble("end")
        assert [item.text for item in read(watch, 2)] == ["e->start_at() top->listening", "end"]  # type: ignore[union-attr]
        chart.stop()
        assert watch.get(0.2) is None


# Gaps


@pytest.mark.parametrize("way", ["embedded", "rabbitmq"])
def test_missing_numbers_are_a_gap_and_repeated_ones_nothing(
    way: str, request: pytest.FixtureRequest
) -> None:
    config = by(way, request)
    with SnoopMonitor(config, networks=["snoop_trace"]) as monitor:
        watch = monitor.watch()
        told(config, [foreign(7), foreign(8)])
        told(config, [foreign(8), foreign(12), foreign(10), foreign(13)])
        items = read(watch, 5)
    gap = SnoopGap("snoop_trace", "afar", "stranger", "1ncarn", 3, "lost")
    assert [i if isinstance(i, SnoopGap) else i.sequence for i in items] == [7, 8, gap, 12, 13]
    assert "# missing: 3\n" in monitor.chart("stranger").trace()


@pytest.mark.parametrize("way", ["embedded", "rabbitmq"])
def test_observers_of_all_who_watch_count_what_is_missing(
    way: str, request: pytest.FixtureRequest
) -> None:
    # Given a monitor and a chart that watch, each with metrics
    config = by(way, request)
    registries = CollectorRegistry(), CollectorRegistry()
    of_monitor, of_chart = (MetricsObserver(each) for each in registries)
    with SnoopMonitor(config.overridden(observers=(of_monitor,))):
        chart = producer("near", config.overridden(observers=(of_chart,)))
        # When a stranger's records are missing
        told(config, [foreign(3)])
        told(config, [foreign(7), foreign(8), foreign(10)])

        # Then both say how many
        def counted() -> list[tuple[float | None, ...]]:
            names = "miros_mesh_gaps_total", "miros_mesh_missing_events_total"
            return [
                tuple(each.get_sample_value(name, {"network": "snoop_trace"}) for name in names)
                for each in registries
            ]

        wait_until(lambda: counted() == [(2, 4), (2, 4)])
        chart.stop()


# The end


def test_an_iteration_ends_with_its_monitor() -> None:
    with SnoopMonitor(MemoryMesh().config()) as monitor:
        seen: list[object] = []
        reader = threading.Thread(target=lambda: seen.extend(monitor))
        watch = monitor.watch()
        reader.start()
        wait_until(lambda: len(monitor._watches) == 2)
        monitor.replay([("snoop_trace", foreign(1))])
    reader.join(LIMIT_S)
    assert not reader.is_alive()
    assert len(seen) == 1
    assert [item.sequence for item in watch if isinstance(item, SnoopRecord)] == [1]
    assert list(monitor.watch()) == []


def test_a_reader_that_was_there_before_the_start_misses_nothing() -> None:
    monitor = SnoopMonitor(MemoryMesh().config())
    watch = monitor.watch()
    assert watch.get(0) is None
    with monitor:
        monitor.replay([("snoop_trace", foreign(1))])
    assert [item.sequence for item in watch if isinstance(item, SnoopRecord)] == [1]


def test_an_iteration_ends_after_its_time() -> None:
    with SnoopMonitor(MemoryMesh().config()) as monitor:
        assert list(monitor.watch(limit_s=0.05)) == []


def test_a_reader_that_is_given_up_costs_nothing_more() -> None:
    with SnoopMonitor(MemoryMesh().config()) as monitor:
        monitor.replay([("snoop_trace", foreign(1))])
        watch = iter(monitor)
        del watch
        assert len(monitor._watches) == 0


# Bad input


def test_a_monitor_with_another_key_says_so_once_and_counts(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    config = ground.make().overridden(mesh_encryption_key=OTHER_KEY)
    with caplog.at_level(logging.WARNING), SnoopMonitor(config) as monitor:
        chart = producer("secret", ground.node("one").overridden(mesh_encryption_key=KEY))
        for number in range(5):
            chart.snoop_scribble(f"note {number}")
            wait_until(lambda least=number: monitor.refused.get("undecryptable", 0) > least)
        chart.stop()
        assert monitor.charts == {}
    assert len([r for r in caplog.records if "no key of the ring" in r.getMessage()]) == 1


def test_what_cannot_work_is_told_by_type() -> None:
    config = MemoryMesh().config()
    with pytest.raises(ConfigError, match="mesh"):
        SnoopMonitor(config, networks=["mesh"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="kind 'transition'; kinds are trace, scribble, spy"):
        SnoopMonitor(config, kinds="transition")
    with pytest.raises(ConfigError, match=r"'s\?y' comes by snoop_trace alone"):
        SnoopMonitor(config, networks=["snoop_trace"], kinds=["trace", "s?y"])
    monitor = SnoopMonitor(config, networks=["snoop_spy"], kinds=["s*", "scribble"])
    with pytest.raises(NotStartedError, match="with block"):
        iter(monitor)
    with monitor, pytest.raises(LifecycleError, match="once"):
        monitor.start()
    monitor.stop()
    with pytest.raises(UnknownChartError, match=r"'pump'.* none yet"):
        monitor.chart("pump")


def test_a_broker_that_is_not_there_is_told() -> None:
    [port] = free_ports(1)
    config = MeshConfig(
        broker_url=f"amqp://u:p@127.0.0.1:{port}//", mesh_encryption_key=KEY, connection_attempts=1
    )
    monitor = SnoopMonitor(config)
    with pytest.raises(BrokerUnreachableError):
        monitor.start()
    assert list(monitor.watch()) == []
