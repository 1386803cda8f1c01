"""`LanRecceChart`: candidates, scouts in parallel, one search at a time."""

from __future__ import annotations

import threading

from miros import Event

from miros_mesh.discovery.scout_batch import SCOUTS_AT_ONCE
from miros_mesh.discovery.signals import (
    AMQP_CONSUMER_CHECK,
    LAN_RECCE_COMPLETE,
    RECCE_LAN,
    AMQPConsumerCheckPayload,
    RequestPayload,
)
from miros_mesh.discovery.sources.lan_recce import LanRecceChart
from miros_mesh.discovery.verdict import Verdict
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
    threads,
    trace_of,
    wait_for_trace,
)
from support.waiting import wait_until

SEARCH = [
    "[lan_recce_chart] e->start_at() top->private_search",
    "[lan_recce_chart] e->recce_lan() private_search->fill_arp_table",
    "[lan_recce_chart] e->arp_time_out() fill_arp_table->identify_all_ip_addresses",
    "[lan_recce_chart] e->ip_addresses_found() identify_all_ip_addresses->recce_rabbit_consumers",
    "[lan_recce_chart] e->lan_recce_complete() recce_rabbit_consumers->private_search",
]


def recce(brokers: Brokers, network: Network, origin: str = ORIGIN, **settings) -> LanRecceChart:
    return LanRecceChart(
        ROUTING_KEY,
        EXCHANGE,
        send_scout=scouts(brokers, origin=origin),
        scanner=network,
        origin=origin,
        **settings,
    )


def test_a_search_gives_the_trace_of_the_ancestor_and_tells_who_is_ours() -> None:
    brokers, diary = Brokers(), Diary()
    brokers.ours("192.168.1.75", "192.168.1.77")
    brokers.at["192.168.1.76"] = Verdict.OTHER_KEY
    network = Network("192.168.1.75", "192.168.1.76", "192.168.1.77", "192.168.1.78")
    with (
        ears(LAN_RECCE_COMPLETE) as heard,
        running(recce(brokers, network, observer=diary)) as chart,
    ):
        chart.post_fifo(Event(signal=RECCE_LAN))
        found = heard.wait_for(LAN_RECCE_COMPLETE)
        wait_for_trace(chart, *SEARCH)
    assert found.other_addresses == ("192.168.1.75", "192.168.1.77")
    assert found.my_address == chart.my_address
    assert sorted(brokers.asked) == sorted(network.answering)
    assert diary.searches == [("lan", 2)]


def test_a_network_without_a_host_completes_too() -> None:
    with (
        ears(LAN_RECCE_COMPLETE) as heard,
        running(recce(Brokers(), Network())) as chart,
    ):
        publish(chart, RECCE_LAN, RequestPayload(ORIGIN))
        assert heard.wait_for(LAN_RECCE_COMPLETE).other_addresses == ()
        wait_for_trace(chart, *SEARCH)


def test_our_own_addresses_are_not_scouted() -> None:
    brokers = Brokers()
    with (
        ears(LAN_RECCE_COMPLETE) as heard,
        running(recce(brokers, Network("127.0.0.1", "192.168.1.75"))) as chart,
    ):
        publish(chart, RECCE_LAN)
        heard.wait_for(LAN_RECCE_COMPLETE)
    assert brokers.asked == ["192.168.1.75"]


def test_who_asks_during_a_search_gets_one_more_search() -> None:
    network = Network()
    network.hold = threading.Event()
    with ears(LAN_RECCE_COMPLETE) as heard, running(recce(Brokers(), network)) as chart:
        publish(chart, RECCE_LAN)
        wait_until(lambda: network.scans == 1)
        for _ in range(5):
            publish(chart, RECCE_LAN)
        wait_until(lambda: chart.spy().count("RECCE_LAN:lan_recce:HOOK") == 5)
        network.hold.set()
        heard.wait_for(LAN_RECCE_COMPLETE, 2)
        wait_until(lambda: trace_of(chart) == SEARCH + SEARCH[1:])
    assert network.scans == 2


def test_a_scan_that_takes_too_long_is_not_waited_for() -> None:
    network = Network("192.168.1.75")
    network.hold = threading.Event()
    brokers = Brokers()
    with (
        ears(LAN_RECCE_COMPLETE) as heard,
        running(recce(brokers, network, arp_time_sec=0.02)) as chart,
    ):
        publish(chart, RECCE_LAN)
        assert heard.wait_for(LAN_RECCE_COMPLETE).other_addresses == ()
        network.hold.set()
        wait_for_trace(chart, *SEARCH)
    assert brokers.asked == []


def test_a_scan_that_fails_is_logged_and_finds_no_host(caplog) -> None:
    network = Network("192.168.1.75")
    network.error = OSError("no network")
    with ears(LAN_RECCE_COMPLETE) as heard, running(recce(Brokers(), network)) as chart:
        publish(chart, RECCE_LAN)
        assert heard.wait_for(LAN_RECCE_COMPLETE).other_addresses == ()
    assert "the search of the local network failed" in caplog.text


def test_all_candidates_are_scouted_side_by_side_in_bounded_number() -> None:
    brokers, hosts = Brokers(), [f"10.0.0.{last}" for last in range(2, 60)]
    gate = threading.Event()
    brokers.hold = dict.fromkeys(hosts, gate)
    brokers.ours(*hosts)
    with ears(LAN_RECCE_COMPLETE) as heard, running(recce(brokers, Network(*hosts))) as chart:
        publish(chart, RECCE_LAN)
        wait_until(lambda: len(brokers.asked) == SCOUTS_AT_ONCE)
        gate.set()
        assert len(heard.wait_for(LAN_RECCE_COMPLETE).other_addresses) == len(hosts)


def test_answers_that_are_not_waited_for_change_nothing() -> None:
    brokers, gate = Brokers(), threading.Event()
    brokers.hold["192.168.1.75"] = gate
    with (
        ears(LAN_RECCE_COMPLETE) as heard,
        running(recce(brokers, Network("192.168.1.75"))) as chart,
    ):
        publish(chart, RECCE_LAN)
        wait_until(lambda: brokers.asked)
        unasked = AMQPConsumerCheckPayload("192.168.1.99", True, ROUTING_KEY, EXCHANGE)
        publish(chart, AMQP_CONSUMER_CHECK, unasked)
        gate.set()
        assert heard.wait_for(LAN_RECCE_COMPLETE).other_addresses == ()


def test_a_search_of_another_node_is_not_ours() -> None:
    ours, theirs = Network(), Network()
    with running(recce(Brokers(), ours), recce(Brokers(), theirs, "another-node")) as chart:
        publish(chart, RECCE_LAN, RequestPayload("another-node"))
        wait_until(lambda: theirs.scans == 1)
        publish(chart, RECCE_LAN, RequestPayload(ORIGIN))
        wait_until(lambda: ours.scans == 1)
        assert theirs.scans == 1


def test_stopping_ends_a_scan() -> None:
    network = Network()
    network.hold = threading.Event()
    chart = recce(Brokers(), network)
    publish(chart, RECCE_LAN)
    wait_until(lambda: network.scans)
    chart.stop()
    assert network.stopped.is_set()


def test_a_scan_that_waits_for_a_free_thread_is_not_given_up(monkeypatch) -> None:
    monkeypatch.setattr("miros_mesh.discovery.threads.NETWORK_THREADS", 1)
    brokers, network, free = Brokers(), Network("192.168.1.75"), threading.Event()
    brokers.ours("192.168.1.75")
    with ears(LAN_RECCE_COMPLETE) as heard, threads() as team:
        team.network.run(lambda: free.wait(10), lambda _: None)
        with running(recce(brokers, network, threads=team, arp_time_sec=0.02)) as chart:
            publish(chart, RECCE_LAN)
            wait_until(lambda: chart.spy().count("arp_time_out:fill_arp_table") >= 2)
            assert network.scans == 0
            # How quick it is then is another matter.
            chart._arp_time_s = 10.0
            free.set()
            assert heard.wait_for(LAN_RECCE_COMPLETE).other_addresses == ("192.168.1.75",)
