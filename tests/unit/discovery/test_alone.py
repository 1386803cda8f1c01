"""Charts of discovery as the ancestor's documents make them, without a node."""

from __future__ import annotations

import json
import queue
from pathlib import Path

import pytest

from miros_mesh.address import Endpoint
from miros_mesh.discovery.producer_factory import ProducerFactoryChart
from miros_mesh.discovery.producer_queue import ProducerQueue
from miros_mesh.discovery.scout import RabbitConsumerScoutChart
from miros_mesh.discovery.sources.man_net import ManNetChart
from miros_mesh.testing.brokers import StandInBrokers
from support.discovery_field import Diary, running, switch_on
from support.waiting import wait_until

OURS = "192.168.1.75"


def factory(
    found: queue.Queue[ProducerQueue], brokers: StandInBrokers, **given: object
) -> ProducerFactoryChart:
    return ProducerFactoryChart(
        found,
        "heya_man",
        "miros.mesh.exchange",
        repr,  # type: ignore[arg-type]
        "snoop.trace",
        "miros.snoop.trace",
        "snoop.spy",
        "miros.snoop.spy",
        probe=brokers,
        scanner=brokers,
        **given,
    )


def test_the_queue_gets_the_producers_of_all_networks_whenever_a_broker_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    switch_on(monkeypatch)
    Path(".miros_rabbitmq_hosts.json").write_text(json.dumps({"hosts": [OURS]}))
    found: queue.Queue[ProducerQueue] = queue.Queue()
    with (
        StandInBrokers({OURS: "ours", "192.168.1.80": "ours"}) as brokers,
        running(factory(found, brokers)),
    ):
        items = [found.get(timeout=10)]
        while len(items[-1].mesh_producers) < 2:
            items.append(found.get(timeout=10))
    last = items[-1]
    assert {each.endpoint for each in last.mesh_producers} == {
        Endpoint(OURS, 5672),
        Endpoint("192.168.1.80", 5672),
    }
    mesh: set[object] = {each[1:] for each in last.mesh_producers}
    assert mesh == {("heya_man", "miros.mesh.exchange", repr)}
    assert {each[1:] for each in last.snoop_trace_producers} == {
        ("snoop.trace", "miros.snoop.trace", None)
    }
    assert {each[1:] for each in last.snoop_spy_producers} == {
        ("snoop.spy", "miros.snoop.spy", None)
    }


def test_a_queue_without_room_gets_the_producers_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("miros_mesh.discovery.producer_factory.RETRY_S", (0.01, 0.02))
    Path(".miros_rabbitmq_hosts.json").write_text(json.dumps({"hosts": [OURS]}))
    found: queue.Queue[ProducerQueue] = queue.Queue(maxsize=1)
    found.put(ProducerQueue((), (), ()))
    with StandInBrokers({OURS: "ours"}) as brokers, running(factory(found, brokers)) as chart:
        wait_until(lambda: chart._tries >= 2)
        found.get()
        assert [each.endpoint.host for each in found.get(timeout=10).mesh_producers] == [OURS]


def test_a_factory_without_a_queue_and_without_a_sink_says_what_it_needs() -> None:
    with (
        StandInBrokers({}) as brokers,
        pytest.raises(TypeError, match="needs a producer_queue, or a sink"),
    ):
        ProducerFactoryChart(probe=brokers)


def test_the_exchange_of_a_scout_has_both_names() -> None:
    with StandInBrokers({}) as brokers:
        for names in ({"exchange": "x"}, {"exchange_name": "x"}):
            with running(RabbitConsumerScoutChart(OURS, "#", probe=brokers, **names)) as scout:
                assert scout.exchange_name == "x"


def test_a_misspelt_verdict_of_a_stand_in_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="hours"):
        StandInBrokers({OURS: "hours"})


def test_scouts_of_a_stand_in_are_heard_by_charts_of_every_origin(tmp_path: Path) -> None:
    (file := tmp_path / "hosts.json").write_text(json.dumps({"hosts": [OURS, "192.168.1.80"]}))
    diary = Diary()
    with (
        StandInBrokers({OURS: "ours", "192.168.1.80": "no_mesh"}) as brokers,
        running(
            ManNetChart(
                "heya.man", "x", send_scout=brokers.send_scout, cache_file_path=file, observer=diary
            )
        ) as chart,
    ):
        wait_until(lambda: diary.searches == [("manual", 1)])
        assert (chart.live_hosts, chart.dead_hosts) == ((OURS,), ("192.168.1.80",))
