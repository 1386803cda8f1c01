"""`ManNetChart`: hosts files, dead hosts that come back, entries that are wrong."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from miros_mesh.discovery.refused_brokers import RefusedBrokers
from miros_mesh.discovery.signals import CONNECTION_DISCOVERY, EVALUATE_HOSTS_FILE, RequestPayload
from miros_mesh.discovery.sources.man_net import ManNetChart
from miros_mesh.discovery.verdict import Verdict
from support.discovery_field import (
    EXCHANGE,
    ORIGIN,
    ROUTING_KEY,
    Brokers,
    Diary,
    ears,
    publish,
    running,
    scouts,
    wait_for_trace,
)
from support.waiting import wait_until

LIVE, DEAD = "192.168.1.75", "www.my_host_as_a_url.com"
SELDOM = (600.0, 600.0)
OFTEN = (0.02, 0.04)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hosts.json"


def listed(path: Path, *hosts: object) -> Path:
    path.write_text(json.dumps({"hosts": list(hosts)}))
    return path


def man_net(brokers: Brokers, *paths: Path, **settings) -> ManNetChart:
    origin = settings.pop("origin", ORIGIN)
    refusals = RefusedBrokers()
    return ManNetChart(
        ROUTING_KEY,
        EXCHANGE,
        send_scout=scouts(brokers, origin=origin, refusals=refusals),
        cache_file_path=paths,
        origin=origin,
        **{"look_again_s": SELDOM, **settings},
    )


def complete(heard, count: int = 1):
    """The discovery that tells of every host of the file."""
    wait_until(
        lambda: [d for d in heard.of(CONNECTION_DISCOVERY) if len(d.hosts) + len(d.dead) == count]
    )
    return next(d for d in heard.of(CONNECTION_DISCOVERY) if len(d.hosts) + len(d.dead) == count)


def test_each_host_is_scouted_and_the_live_ones_are_told(path: Path) -> None:
    brokers, diary = Brokers(), Diary()
    brokers.ours(LIVE)
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(man_net(brokers, listed(path, LIVE, DEAD), observer=diary)) as chart,
    ):
        discovery = complete(heard, 2)
        wait_for_trace(
            chart,
            "[man_net_chart] e->start_at() top->read_and_evaluate_network_details",
            "[man_net_chart] e->CACHE() read_and_evaluate_network_details->evaluate_network",
        )
        assert (chart.live_hosts, chart.dead_hosts) == ((LIVE,), (DEAD,))
        wait_until(lambda: diary.searches == [("manual", 1)])
    assert (discovery.hosts, discovery.dead) == ((LIVE,), (DEAD,))
    assert discovery.amqp_urls == (f"amqp://{LIVE}:5672",)
    assert discovery.dispatcher == "man_net_chart"


def test_the_file_of_the_ancestor_is_read_too(path: Path, tmp_path: Path) -> None:
    brokers = Brokers()
    ancestors = listed(tmp_path / ".miros_rabbitmq_hosts.json", LIVE, "192.168.1.76")
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(man_net(brokers, listed(path, LIVE, DEAD), ancestors)),
    ):
        complete(heard, 3)
    assert sorted(brokers.asked) == [LIVE, "192.168.1.76", DEAD]


def test_what_the_ancestor_has_found_is_a_list_of_hosts_and_stays_as_it_is(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    brokers, cache = Brokers(), tmp_path / ".miros_rabbitmq_lan_cache.json"
    text = json.dumps(
        {
            "addresses": [LIVE, "192.168.1.76"],
            "amqp_urls": [f"amqp://bob:dobbs@{LIVE}:5672/%2F"],
            "time_out_in_minutes": 30,
        }
    )
    cache.write_text(text)
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(man_net(brokers, listed(path, DEAD), cache)),
    ):
        complete(heard, 3)
    assert sorted(brokers.asked) == [LIVE, "192.168.1.76", DEAD]
    assert cache.read_text() == text
    assert "dobbs" not in caplog.text


def test_without_any_file_no_host_is_found_and_no_file_is_made(path: Path) -> None:
    with ears(CONNECTION_DISCOVERY) as heard, running(man_net(Brokers(), path)):
        assert heard.wait_for(CONNECTION_DISCOVERY).hosts == ()
    assert not path.exists()
    assert not path.with_name("hosts.json.lock").exists()


def test_a_live_host_is_told_before_a_dead_one_is_given_up(path: Path) -> None:
    brokers, gate = Brokers(), threading.Event()
    brokers.ours(LIVE)
    brokers.hold[DEAD] = gate
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(man_net(brokers, listed(path, DEAD, LIVE))),
    ):
        assert heard.wait_for(CONNECTION_DISCOVERY).hosts == (LIVE,)
        gate.set()
        assert complete(heard, 2).dead == (DEAD,)


def test_each_live_host_is_told_once_and_then_all_together(path: Path) -> None:
    """Otherwise of a thousand hosts half a million would be told, at each look."""
    brokers, gate = Brokers(), threading.Event()
    live = [f"192.168.1.{last}" for last in range(100, 120)]
    brokers.ours(*live)
    brokers.hold[DEAD] = gate
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(man_net(brokers, listed(path, *live, DEAD))),
    ):
        heard.wait_for(CONNECTION_DISCOVERY)
        gate.set()
        assert set(complete(heard, len(live) + 1).hosts) == set(live)
        assert {len(each.hosts) for each in heard.of(CONNECTION_DISCOVERY)} == {1, len(live)}


def test_an_entry_that_is_wrong_harms_no_other_and_is_not_quoted(path: Path, caplog) -> None:
    brokers = Brokers()
    brokers.ours(LIVE)
    no_texts: list[object] = [7, None, {}, ["10.0.0.2"]]
    wrong = [*no_texts, "", "a b", "amqp://bob:dobbs@10.0.0.1", "10.0.0.1:none"]
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(man_net(brokers, listed(path, *wrong, LIVE))) as chart,
    ):
        assert heard.wait_for(CONNECTION_DISCOVERY).hosts == (LIVE,)
        assert chart.hosts == (LIVE,)
    assert brokers.asked == [LIVE]
    for number in range(1, len(wrong) + 1):
        assert f'entry {number} of "hosts" in {path} is left out' in caplog.text
    assert f"entry {len(wrong) + 1} " not in caplog.text
    assert "dobbs" not in caplog.text


@pytest.mark.parametrize("content", ['["192.168.1.75"]', "{}", '{"hosts": "192.168.1.75"}'])
def test_a_file_without_a_list_of_hosts_is_said_in_the_same_words(
    path: Path, content: str, caplog
) -> None:
    path.write_text(content)
    with ears(CONNECTION_DISCOVERY) as heard, running(man_net(Brokers(), path)):
        heard.wait_for(CONNECTION_DISCOVERY)
    [record] = caplog.records
    assert record.getMessage() == f'{path} is ignored: there is no list under "hosts"'


@pytest.mark.parametrize(
    "content",
    ['{"hosts": [], "more": %s}' % ("[" * 60 + "]" * 60), '{"hosts": ["a:%s"]}' % ("1" * 5000)],
)
def test_a_file_of_no_use_keeps_no_other_file_from_being_used(
    path: Path, tmp_path: Path, content: str
) -> None:
    path.write_text(content)
    brokers = Brokers()
    brokers.ours(LIVE)
    other = listed(tmp_path / "other.json", LIVE)
    with ears(CONNECTION_DISCOVERY) as heard, running(man_net(brokers, path, other)):
        assert complete(heard).hosts == (LIVE,)


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path.name)],
    ids=["pipe", "dir", "link"],
)
def test_what_is_no_file_keeps_no_other_file_from_being_used(
    path: Path, tmp_path: Path, make: Callable[[Path], object], caplog
) -> None:
    make(path)
    brokers = Brokers()
    brokers.ours(LIVE)
    other = listed(tmp_path / "other.json", LIVE)
    with ears(CONNECTION_DISCOVERY) as heard, running(man_net(brokers, path, other)):
        assert complete(heard).hosts == (LIVE,)
    assert str(path) in caplog.text


def test_that_there_is_no_hosts_file_is_said_once(path: Path, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    other = tmp_path / "other.json"
    with running(man_net(Brokers(), path, other, look_again_s=OFTEN)) as chart:
        wait_until(lambda: chart._pause_s == OFTEN[1])
    [record] = [each for each in caplog.records if "no hosts file" in each.getMessage()]
    assert record.levelno == logging.INFO
    assert record.getMessage() == f"no hosts file: looked for {path}, {other}"


@pytest.mark.parametrize("content", ["{", '{"hosts": []}'])
def test_a_file_that_is_of_no_use_or_empty_is_there_all_the_same(
    path: Path, tmp_path: Path, content: str, caplog
) -> None:
    caplog.set_level(logging.INFO)
    path.write_text(content)
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(man_net(Brokers(), path, tmp_path / "other.json")),
    ):
        heard.wait_for(CONNECTION_DISCOVERY)
    assert "no hosts file" not in caplog.text


@pytest.mark.parametrize("content", ["{", "[]", '{"hosts": "192.168.1.75"}', '{"host": []}'])
def test_a_file_that_is_wrong_is_said_and_left_as_it_is(path: Path, content: str, caplog) -> None:
    path.write_text(content)
    with ears(CONNECTION_DISCOVERY) as heard, running(man_net(Brokers(), path)):
        assert heard.wait_for(CONNECTION_DISCOVERY).hosts == ()
    assert path.read_text() == content
    assert str(path) in caplog.text


def test_a_dead_host_that_comes_back_is_found_by_itself(path: Path) -> None:
    brokers = Brokers()
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(man_net(brokers, listed(path, DEAD), look_again_s=OFTEN)),
    ):
        wait_until(lambda: brokers.times(DEAD) >= 3)
        brokers.ours(DEAD)
        wait_until(lambda: heard.of(CONNECTION_DISCOVERY)[-1].hosts == (DEAD,))


def test_a_host_that_is_added_to_the_file_is_found_by_itself(path: Path) -> None:
    brokers = Brokers()
    brokers.ours(LIVE)
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(man_net(brokers, listed(path), look_again_s=OFTEN)),
    ):
        heard.wait_for(CONNECTION_DISCOVERY)
        listed(path, LIVE)
        wait_until(lambda: heard.of(CONNECTION_DISCOVERY)[-1].hosts == (LIVE,))


def test_the_file_is_evaluated_again_on_request(path: Path) -> None:
    brokers = Brokers()
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(man_net(brokers, listed(path, DEAD))) as chart,
    ):
        complete(heard)
        brokers.ours(DEAD)
        publish(chart, EVALUATE_HOSTS_FILE, RequestPayload(ORIGIN))
        wait_until(lambda: heard.of(CONNECTION_DISCOVERY)[-1].hosts == (DEAD,))
        wait_for_trace(
            chart,
            "[man_net_chart] e->start_at() top->read_and_evaluate_network_details",
            "[man_net_chart] e->CACHE() read_and_evaluate_network_details->evaluate_network",
            "[man_net_chart] e->CACHE() evaluate_network->evaluate_network",
        )


def test_asking_often_does_not_keep_an_evaluation_from_its_end(path: Path) -> None:
    brokers, gate = Brokers(), threading.Event()
    brokers.ours(LIVE)
    brokers.hold[LIVE] = gate
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(man_net(brokers, listed(path, LIVE))) as chart,
    ):
        wait_until(lambda: brokers.asked)
        for _ in range(20):
            publish(chart, EVALUATE_HOSTS_FILE)
        asked = "EVALUATE_HOSTS_FILE:read_and_evaluate_network_details:HOOK"
        wait_until(lambda: chart.spy().count(asked) == 20)
        gate.set()
        assert heard.wait_for(CONNECTION_DISCOVERY).hosts == (LIVE,)
    assert brokers.times(LIVE) == 1


def test_looking_again_becomes_rarer_while_nothing_changes(path: Path) -> None:
    with running(man_net(Brokers(), listed(path, DEAD), look_again_s=(0.01, 0.08))) as chart:
        wait_until(lambda: chart._pause_s == 0.08)


def test_a_broker_that_refuses_us_is_not_asked_each_time(path: Path) -> None:
    brokers, diary = Brokers(), Diary()
    brokers.at[LIVE] = Verdict.CREDENTIALS
    with running(man_net(brokers, listed(path, LIVE), look_again_s=OFTEN, observer=diary)):
        wait_until(lambda: len(diary.searches) >= 4)
    assert brokers.times(LIVE) == 1


def test_two_nodes_of_a_process_do_not_hear_each_other(path: Path, tmp_path: Path) -> None:
    ours, theirs = Brokers(), Brokers()
    ours.ours(LIVE)
    other = listed(tmp_path / "other.json", LIVE)
    with (
        ears(CONNECTION_DISCOVERY) as heard,
        running(
            man_net(ours, listed(path, LIVE)), man_net(theirs, other, origin="another-node")
        ) as chart,
    ):
        heard.wait_for(CONNECTION_DISCOVERY)
        wait_until(lambda: theirs.asked)

        def asked_again() -> bool:
            # A request that comes while it still evaluates is one with that.
            publish(chart, EVALUATE_HOSTS_FILE, RequestPayload("another-node"))
            return theirs.times(LIVE) >= 2

        wait_until(asked_again)
    assert ours.times(LIVE) == 1
    assert all(each.hosts == (LIVE,) for each in heard.of(CONNECTION_DISCOVERY))
