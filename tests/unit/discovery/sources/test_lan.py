"""`LanChart`: the cache while it is young, a search otherwise."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from miros_mesh.discovery.signals import CACHE_FILE_READ, CONNECTION_DISCOVERY, RECCE_LAN
from miros_mesh.discovery.sources.lan import SEARCHES_KEPT, LanChart, is_cache, newest
from support.discovery_field import (
    EXCHANGE,
    ORIGIN,
    ROUTING_KEY,
    Brokers,
    Diary,
    Network,
    ears,
    publish,
    running,
    scouts,
    trace_of,
    wait_for_trace,
)
from support.waiting import wait_until

SCOPE = f"{EXCHANGE}:5672"
FOUND = "192.168.1.75"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lan_cache.json"


def lan(path: Path, brokers: Brokers, network: Network, **settings) -> LanChart:
    origin = settings.pop("origin", ORIGIN)
    return LanChart(
        ROUTING_KEY,
        EXCHANGE,
        send_scout=scouts(brokers, origin=origin),
        cache_file_path=path,
        scanner=network,
        origin=origin,
        **{"time_out_in_minutes": 30, **settings},
    )


def remember(path: Path, age_s: float, *addresses: str, scope: str = SCOPE) -> None:
    search = {"addresses": list(addresses), "found_at": time.time() - age_s}
    path.write_text(json.dumps({"searches": {scope: search}}))


def searches(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())["searches"]) if path.exists() else {}


def test_without_a_cache_the_network_is_searched_told_and_written_down(path: Path) -> None:
    brokers, network, diary = Brokers(), Network(FOUND, "192.168.1.76"), Diary()
    brokers.ours(FOUND)
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(lan(path, brokers, network, observer=diary)) as chart,
    ):
        discovery = heard.wait_for(CONNECTION_DISCOVERY)
        wait_until(lambda: SCOPE in searches(path))
        wait_for_trace(
            chart,
            "[lan_chart] e->start_at() top->read_or_discover_network_details",
            "[lan_chart] e->CACHE() read_or_discover_network_details->discover_network",
        )
    assert discovery.hosts == (FOUND,)
    assert discovery.amqp_urls == (f"amqp://{FOUND}:5672",)
    assert discovery.dispatcher == "lan_chart"
    search = searches(path)[SCOPE]
    assert search["addresses"] == [FOUND]
    assert time.time() - 60 < search["found_at"] <= time.time()
    assert search["time_out_in_minutes"] == 30
    assert diary.cache == [False]


def test_a_young_cache_is_told_at_once_and_nothing_is_sent(path: Path) -> None:
    remember(path, 60, FOUND, "192.168.1.80")
    before = path.read_bytes()
    brokers, network, diary = Brokers(), Network(FOUND), Diary()
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(lan(path, brokers, network, observer=diary)) as chart,
    ):
        assert heard.wait_for(CONNECTION_DISCOVERY).hosts == (FOUND, "192.168.1.80")
        assert trace_of(chart) == [
            "[lan_chart] e->start_at() top->read_or_discover_network_details"
        ]
    assert (network.scans, brokers.asked) == (0, [])
    assert path.read_bytes() == before
    assert (diary.cache, diary.searches) == ([True], [("cache", 2)])


def test_a_cache_that_was_deleted_is_searched_anew_when_a_program_asks_to_read_it(
    path: Path,
) -> None:
    remember(path, 60, "192.168.1.80")
    brokers, network = Brokers(), Network(FOUND)
    brokers.ours(FOUND)
    with ears(CONNECTION_DISCOVERY) as heard, running(lan(path, brokers, network)) as chart:
        assert heard.wait_for(CONNECTION_DISCOVERY).hosts == ("192.168.1.80",)
        publish(chart, RECCE_LAN)
        wait_until(lambda: network.scans == 1)
        path.unlink()
        publish(chart, CACHE_FILE_READ)
        wait_until(lambda: SCOPE in searches(path))
        assert searches(path)[SCOPE]["addresses"] == [FOUND]
        wait_until(lambda: heard.of(CONNECTION_DISCOVERY)[-1].hosts == (FOUND,))


@pytest.mark.parametrize("age_s", [1801, -60], ids=["old", "from the future"])
def test_an_old_cache_is_searched_anew(path: Path, age_s: float) -> None:
    remember(path, age_s, "192.168.1.80")
    brokers, network = Brokers(), Network(FOUND)
    brokers.ours(FOUND)
    with ears(CONNECTION_DISCOVERY) as heard, running(lan(path, brokers, network)):
        assert heard.wait_for(CONNECTION_DISCOVERY).hosts == (FOUND,)
        wait_until(lambda: searches(path)[SCOPE]["addresses"] == [FOUND])


def test_a_search_without_result_is_old_sooner(path: Path) -> None:
    remember(path, 181)
    network = Network()
    with ears(CONNECTION_DISCOVERY) as heard, running(lan(path, Brokers(), network)) as chart:
        heard.wait_for(CONNECTION_DISCOVERY)
        assert network.scans == 1
        wait_until(lambda: "cache_outdated" in chart._alarms)
        assert chart._alarms["cache_outdated"].at - time.monotonic() < 200


def test_the_cache_of_another_mesh_is_left_as_it_is(path: Path) -> None:
    remember(path, 60, "192.168.1.80", scope="another")
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(lan(path, Brokers(), Network(), scope="this one")),
    ):
        assert heard.wait_for(CONNECTION_DISCOVERY).hosts == ()
        wait_until(lambda: set(searches(path)) == {"another", "this one"})
    assert searches(path)["another"]["addresses"] == ["192.168.1.80"]


@pytest.mark.parametrize(
    "content",
    ["{", '{"amqp_urls": ["amqp://bob:dobbs@192.168.1.75"]}', '{"searches": {"a": {}}}'],
    ids=["torn", "the ancestor's", "of another shape"],
)
def test_a_foreign_cache_is_set_aside_and_made_anew(path: Path, content: str) -> None:
    path.write_text(content)
    with ears(CONNECTION_DISCOVERY) as heard, running(lan(path, Brokers(), Network())):
        heard.wait_for(CONNECTION_DISCOVERY)
        wait_until(lambda: path.with_name("lan_cache.json.set-aside").exists())
        wait_until(lambda: SCOPE in searches(path))
    assert "dobbs" not in path.read_text()


def test_once_the_cache_is_old_the_network_is_searched_again(path: Path) -> None:
    remember(path, 60, "192.168.1.80")
    brokers, network = Brokers(), Network(FOUND)
    brokers.ours(FOUND)
    with ears(CONNECTION_DISCOVERY) as heard, running(lan(path, brokers, network)) as chart:
        assert heard.wait_for(CONNECTION_DISCOVERY).hosts == ("192.168.1.80",)
        wait_until(lambda: "cache_outdated" in chart._alarms)
        assert 1700 < chart._alarms["cache_outdated"].at - time.monotonic() < 1920
        remember(path, 1801, "192.168.1.80")
        chart.tell("cache_outdated")
        assert heard.wait_for(CONNECTION_DISCOVERY, 2).hosts == (FOUND,)
    assert network.scans == 1


def test_a_cache_without_a_broker_that_answers_is_not_waited_out(path: Path) -> None:
    # Given a young cache whose only broker is gone, while another one is there
    remember(path, 60, "192.168.1.80")
    brokers, network = Brokers(), Network(FOUND)
    brokers.ours(FOUND)
    connected: set[str] = set()
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(
            lan(path, brokers, network, is_connected=lambda each: each.host in connected)
        ) as chart,
    ):
        assert heard.wait_for(CONNECTION_DISCOVERY).hosts == ("192.168.1.80",)
        wait_until(lambda: "cache_outdated" in chart._alarms)
        assert chart._alarms["cache_doubted"].at - time.monotonic() < 8
        # When the node could not connect to it
        chart.tell("cache_doubted")
        # Then the network is searched, once
        assert heard.wait_for(CONNECTION_DISCOVERY, 2).hosts == (FOUND,)
        wait_until(lambda: searches(path)[SCOPE]["addresses"] == [FOUND])
    assert network.scans == 1


def test_a_cache_with_a_broker_that_answers_is_kept(path: Path) -> None:
    remember(path, 60, "192.168.1.80", FOUND)
    network = Network()
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(
            lan(path, Brokers(), network, is_connected=lambda each: each.host == FOUND)
        ) as chart,
    ):
        heard.wait_for(CONNECTION_DISCOVERY)
        chart.tell("cache_doubted")
        wait_until(lambda: "cache_doubted:read_or_discover_network_details:HOOK" in chart.spy())
    assert network.scans == 0


def test_a_doubted_cache_that_another_process_has_renewed_is_used(path: Path) -> None:
    remember(path, 60, "192.168.1.80")
    network = Network(FOUND)
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(lan(path, Brokers(), network, is_connected=lambda _: False)) as chart,
    ):
        heard.wait_for(CONNECTION_DISCOVERY)
        remember(path, 0, "192.168.1.81")
        chart.tell("cache_doubted")
        assert heard.wait_for(CONNECTION_DISCOVERY, 2).hosts == ("192.168.1.81",)
    assert network.scans == 0


def test_a_search_of_another_process_is_used_instead_of_one_of_ours(path: Path) -> None:
    remember(path, 60, "192.168.1.80")
    network = Network(FOUND)
    with ears(CONNECTION_DISCOVERY) as heard, running(lan(path, Brokers(), network)) as chart:
        heard.wait_for(CONNECTION_DISCOVERY)
        remember(path, 0, "192.168.1.81")
        chart.tell("cache_outdated")
        assert heard.wait_for(CONNECTION_DISCOVERY, 2).hosts == ("192.168.1.81",)
    assert network.scans == 0


def test_two_nodes_of_a_process_do_not_hear_each_other(path: Path, tmp_path: Path) -> None:
    remember(path, 60, FOUND)
    other, network = tmp_path / "other.json", Network()
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(
            lan(path, Brokers(), network),
            lan(other, Brokers(), Network("10.0.0.1"), origin="another-node"),
        ),
    ):
        assert heard.wait_for(CONNECTION_DISCOVERY).hosts == (FOUND,)
        wait_until(lambda: SCOPE in searches(other))
        assert len(heard.of(CONNECTION_DISCOVERY)) == 1
    assert network.scans == 0


def test_the_oldest_searches_are_forgotten() -> None:
    data = {"searches": {str(n): {"found_at": n, "addresses": []} for n in range(60)}}
    kept = newest(data)["searches"]
    assert len(kept) == SEARCHES_KEPT
    assert "59" in kept
    assert "0" not in kept


@pytest.mark.parametrize(
    "search",
    [
        7,
        {"found_at": "today", "addresses": []},
        {"found_at": 1, "addresses": "192.168.1.1"},
        {"found_at": 1, "addresses": [1]},
        {"found_at": 1, "addresses": ["amqp://bob:dobbs@192.168.1.75"]},
    ],
)
def test_nothing_is_taken_from_a_file_that_was_not_written_by_this_chart(search) -> None:
    assert not is_cache({"searches": {"a": search}})
