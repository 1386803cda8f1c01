"""`ProducerFactoryChart` and `Discovery`: searches started, merged, told to the node."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from miros_mesh.address import Endpoint
from miros_mesh.discovery.discovery import Discovery
from miros_mesh.discovery.signals import CONNECTION_DISCOVERY, ConnectionDiscoveryPayload
from support.discovery_field import (
    ORIGIN,
    Brokers,
    Diary,
    Network,
    Sink,
    publish,
    settings,
    switch_on,
    trace_of,
)
from support.waiting import wait_until

ADDRESS, OTHER = "192.168.1.75", "192.168.1.76"
HOME = Endpoint("127.0.0.1", 5672)

FOUND_ONE = [
    "[producer_factory_chart] e->start_at() top->producer_discovery",
    "[producer_factory_chart] e->ips_discovered() producer_discovery->refactor_producers",
    "[producer_factory_chart] e->ready() refactor_producers->producer_discovery",
]


class Names:
    """The names of this test; no name server is asked."""

    def __init__(self, **names: str) -> None:
        self.names = names

    def endpoints(self, name: str, default_port: int) -> list[Endpoint]:
        host = name.partition(":")[0]
        if host not in self.names:
            raise OSError("no such name")
        return [Endpoint(self.names[host], default_port)]


@pytest.fixture
def field(tmp_path: Path):
    """Makes discoveries, and stops them."""
    made: list[Discovery] = []

    def make(sink: Sink, brokers: Brokers | None = None, **given) -> Discovery:
        parts = {
            name: given.pop(name)
            for name in ("observer", "scanner", "name_service", "first_search_ended")
            if name in given
        }
        chosen = {
            "node": f"node{len(made)}",
            "origin": ORIGIN,
            "sources": (),
            "hosts_files": (tmp_path / "hosts.json",),
            "cache_path": tmp_path / "lan_cache.json",
            "home": (HOME,),
            "look_again_s": (600.0, 600.0),
            **given,
        }
        discovery = Discovery(
            settings(**chosen),
            probe=brokers or Brokers(),
            sink=sink,
            **{"name_service": Names(), **parts},
        )
        made.append(discovery)
        discovery.start()
        return discovery

    yield make
    for each in made:
        each.stop()


def tell(discovery: Discovery, *hosts: str, dead: tuple[str, ...] = ()) -> None:
    payload = ConnectionDiscoveryPayload(hosts, (), "a source", dead, discovery.settings.origin)
    publish(discovery._chart, CONNECTION_DISCOVERY, payload)


def test_what_a_source_finds_is_told_to_the_node_once(field) -> None:
    sink = Sink()
    discovery = field(sink)
    tell(discovery, ADDRESS)
    wait_until(lambda: trace_of(discovery._chart) == FOUND_ONE)
    tell(discovery, ADDRESS)
    tell(discovery, OTHER)
    wait_until(lambda: len(sink.told) == 2)
    assert sink.told == [("found", f"{ADDRESS}:5672"), ("found", f"{OTHER}:5672")]
    assert discovery.peers == (Endpoint(ADDRESS, 5672), Endpoint(OTHER, 5672))


def test_a_program_without_a_token_is_a_source_too(field) -> None:
    sink = Sink()
    discovery = field(sink)
    payload = ConnectionDiscoveryPayload((ADDRESS,), (), "a program's own chart")
    publish(discovery._chart, CONNECTION_DISCOVERY, payload)
    wait_until(lambda: sink.peers == {f"{ADDRESS}:5672"})


def test_the_same_broker_by_name_and_by_address_is_told_once(field) -> None:
    sink = Sink()
    discovery = field(sink, name_service=Names(rabbit=ADDRESS))
    tell(discovery, "rabbit", ADDRESS, OTHER)
    wait_until(lambda: len(sink.told) == 2)
    assert sink.peers == {"rabbit:5672", f"{OTHER}:5672"}


def test_the_nodes_own_broker_is_not_told_under_any_of_its_addresses(field) -> None:
    sink = Sink()
    discovery = field(sink, name_service=Names(myself="127.0.0.1"))
    tell(discovery, "127.0.0.1", "myself", ADDRESS)
    wait_until(lambda: sink.told)
    assert sink.peers == {f"{ADDRESS}:5672"}


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ({"hosts": (ADDRESS,)}, "its payload is dict; it has to be a ConnectionDiscoveryPayload"),
        (None, "its payload is NoneType; it has to be a ConnectionDiscoveryPayload"),
        (
            ConnectionDiscoveryPayload(ADDRESS, (), "registry"),  # type: ignore[arg-type]
            "hosts of 'registry' is str; it has to be a tuple of texts",
        ),
    ],
    ids=["a dictionary", "nothing", "a text of hosts"],
)
def test_a_payload_of_a_wrong_type_is_said_and_harms_nothing(
    field, payload: object, problem: str, caplog
) -> None:
    sink = Sink()
    discovery = field(sink)
    publish(discovery._chart, CONNECTION_DISCOVERY, payload)
    tell(discovery, ADDRESS)
    wait_until(lambda: sink.peers == {f"{ADDRESS}:5672"})
    [record] = caplog.records
    assert record.getMessage() == f"a CONNECTION_DISCOVERY is ignored: {problem}"


def test_a_host_that_makes_no_sense_is_said_with_its_place_and_its_source(field, caplog) -> None:
    sink = Sink()
    discovery = field(sink)
    tell(discovery, ADDRESS, "amqp://bob:dobbs@10.0.0.1", dead=("c d",))
    wait_until(lambda: len(caplog.records) == 2)
    assert "entry 2 of hosts from 'a source' is ignored" in caplog.text
    assert "entry 1 of dead from 'a source' is ignored" in caplog.text
    assert "dobbs" not in caplog.text


def test_hosts_that_make_no_sense_are_left_out(field) -> None:
    sink = Sink()
    discovery = field(sink)
    tell(discovery, "a b", "", ADDRESS, dead=("c d",))
    wait_until(lambda: sink.peers == {f"{ADDRESS}:5672"})


def test_what_comes_while_the_node_is_told_waits_its_turn(field) -> None:
    sink = Sink()
    sink.hold = threading.Event()
    discovery = field(sink)
    chart = discovery._chart
    tell(discovery, ADDRESS)
    wait_until(lambda: chart.state_name == "refactor_producers")
    tell(discovery, OTHER)
    tell(discovery, "192.168.1.77")
    wait_until(lambda: len(chart.defer_queue) == 2)
    sink.hold.set()
    wait_until(lambda: len(sink.told) == 3)
    wait_until(lambda: chart.state_name == "producer_discovery")
    assert not chart.defer_queue


def test_a_peer_that_the_node_refuses_is_handed_over_again(field, caplog) -> None:
    sink = Sink(refusals=1)
    discovery = field(sink)
    tell(discovery, ADDRESS)
    wait_until(lambda: sink.peers == {f"{ADDRESS}:5672"})
    wait_until(lambda: trace_of(discovery._chart)[-1].endswith("producer_discovery"))
    assert trace_of(discovery._chart) == [
        *FOUND_ONE[:2],
        "[producer_factory_chart] e->ips_discovered() refactor_producers->refactor_producers",
        FOUND_ONE[2],
    ]
    assert "it is handed over again" in caplog.text


def test_a_peer_that_the_node_always_refuses_is_forgotten(field, monkeypatch, caplog) -> None:
    monkeypatch.setattr("miros_mesh.discovery.producer_factory.RETRY_S", (0.001, 0.002))
    sink = Sink(refusals=10)
    discovery = field(sink)
    tell(discovery, ADDRESS)
    wait_until(lambda: "it is forgotten until it is found anew" in caplog.text)
    assert discovery.peers == ()
    tell(discovery, ADDRESS)
    wait_until(lambda: sink.peers == {f"{ADDRESS}:5672"})


def test_a_peer_that_has_been_dead_for_too_long_is_lost_and_may_be_found_again(field) -> None:
    sink = Sink()
    discovery = field(sink, peer_forget_after_s=0.05)
    where = f"{ADDRESS}:5672"
    tell(discovery, ADDRESS, OTHER)
    tell(discovery, OTHER, dead=(ADDRESS,))
    wait_until(lambda: sink.told[-1:] == [("lost", where)])
    assert discovery.peers == (Endpoint(OTHER, 5672),)
    tell(discovery, ADDRESS)
    wait_until(lambda: sink.told[-1] == ("found", where))


def test_the_node_tells_which_peers_are_connected(field) -> None:
    sink = Sink()
    discovery = field(sink, peer_forget_after_s=0.05)
    peer = Endpoint(ADDRESS, 5672)
    tell(discovery, ADDRESS)
    wait_until(lambda: sink.told)
    discovery.peer_up(peer)
    tell(discovery, dead=(ADDRESS,))
    tell(discovery, OTHER)
    wait_until(lambda: len(sink.told) == 2)
    assert "forget_dead" not in discovery._chart._alarms
    discovery.peer_down(peer)
    wait_until(lambda: sink.told[-1] == ("lost", str(peer)))


def test_the_sources_of_the_settings_are_started_and_merged(field, tmp_path: Path, monkeypatch):
    switch_on(monkeypatch)
    (tmp_path / "hosts.json").write_text(json.dumps({"hosts": [ADDRESS, "dead"]}))
    brokers, sink, diary = Brokers(), Sink(), Diary()
    brokers.ours(ADDRESS, OTHER, "10.0.0.7")
    field(
        sink,
        brokers,
        sources=("manual", "lan", "dns"),
        scanner=Network(ADDRESS, OTHER),
        name_service=Names(rabbit="10.0.0.7"),
        dns_names=("rabbit",),
        observer=diary,
    )
    wait_until(lambda: sink.peers == {f"{each}:5672" for each in (ADDRESS, OTHER, "10.0.0.7")})
    wait_until(lambda: {source for source, _ in diary.searches} == {"manual", "lan", "dns"})
    assert len(sink.told) == 3


def test_where_the_local_network_is_off_it_is_not_looked_at(field) -> None:
    network = Network(ADDRESS)
    discovery = field(Sink(), sources=("manual", "lan"), scanner=network)
    wait_until(lambda: discovery._chart.children)
    assert [child.name for child in discovery._chart.children] == ["man_net_chart", "alien_chart"]
    assert network.scans == 0


def test_an_alien_of_ours_is_told_and_one_that_is_lost_may_come_again(field, monkeypatch) -> None:
    switch_on(monkeypatch)
    brokers, sink, diary = Brokers(), Sink(), Diary()
    brokers.ours(ADDRESS)
    discovery = field(sink, brokers, peer_forget_after_s=0.05, observer=diary)
    for _ in range(50):
        discovery.alien_spoke(ADDRESS)
    wait_until(lambda: sink.peers == {f"{ADDRESS}:5672"})
    assert brokers.times(ADDRESS) == 1
    discovery.peer_down(Endpoint(ADDRESS, 5672))
    wait_until(lambda: sink.told[-1][0] == "lost")
    discovery.alien_spoke(ADDRESS)
    wait_until(lambda: sink.told[-1][0] == "found" and len(sink.told) == 3)


def test_aliens_are_ignored_where_the_settings_say_so(field) -> None:
    brokers = Brokers()
    discovery = field(Sink(), brokers, aliens="ignore")
    discovery.alien_spoke("127.0.0.9")
    assert [child.name for child in discovery._chart.children] == []


def test_the_hosts_files_are_read_on_request(field, tmp_path: Path) -> None:
    brokers, sink, diary = Brokers(), Sink(), Diary()
    brokers.ours(ADDRESS)
    discovery = field(sink, brokers, sources=("manual",), observer=diary)
    wait_until(lambda: diary.searches)
    (tmp_path / "hosts.json").write_text(json.dumps({"hosts": [ADDRESS]}))
    discovery.evaluate_hosts_file()
    wait_until(lambda: sink.peers == {f"{ADDRESS}:5672"})


def test_two_nodes_of_a_process_do_not_hear_each_other(field) -> None:
    ours, theirs = Sink(), Sink()
    discovery = field(ours)
    other = field(theirs, origin="another-node")
    tell(discovery, ADDRESS)
    tell(other, OTHER)
    wait_until(lambda: ours.told and theirs.told)
    assert (ours.peers, theirs.peers) == ({f"{ADDRESS}:5672"}, {f"{OTHER}:5672"})


def test_stopping_ends_every_thread_also_in_the_middle_of_a_search(
    field, tmp_path: Path, monkeypatch
) -> None:
    switch_on(monkeypatch)
    hosts = [f"10.0.0.{last}" for last in range(1, 40)]
    (tmp_path / "hosts.json").write_text(json.dumps({"hosts": hosts}))
    brokers, gate, network = Brokers(), threading.Event(), Network()
    brokers.hold = dict.fromkeys(hosts, gate)
    network.hold = threading.Event()
    discovery = field(Sink(), brokers, sources=("manual", "lan"), scanner=network)
    wait_until(lambda: brokers.asked and network.scans)
    threading.Timer(0.05, gate.set).start()
    discovery.stop()
    assert not [t.name for t in threading.enumerate() if t.name.startswith("mesh-node0")]
    discovery.stop()


def test_a_discovery_that_was_not_started_can_be_told_and_stopped() -> None:
    discovery = Discovery(settings(), probe=Brokers(), sink=Sink())
    discovery.peer_up(HOME)
    discovery.peer_down(HOME)
    discovery.alien_spoke(ADDRESS)
    discovery.evaluate_hosts_file()
    discovery.stop()
    assert discovery.peers == ()


def test_a_cache_is_doubted_while_the_node_is_connected_to_no_broker_in_it(
    field, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a young cache of a broker that is gone, while another one is there
    switch_on(monkeypatch)
    search = {"addresses": [OTHER], "found_at": time.time() - 60}
    (tmp_path / "lan_cache.json").write_text(json.dumps({"searches": {"a mesh": search}}))
    sink, brokers, network = Sink(), Brokers(), Network(ADDRESS)
    brokers.ours(ADDRESS)
    discovery = field(sink, brokers, sources=("lan",), scope="a mesh", scanner=network)
    wait_until(lambda: sink.peers == {f"{OTHER}:5672"})
    (lan,) = (each for each in discovery._chart.children if each.name == "lan_chart")

    def connected() -> bool:
        return bool(lan._is_connected(Endpoint(OTHER, 5672)))

    # When it is doubted while the node is connected to it, then there is no search
    discovery.peer_up(Endpoint(OTHER, 5672))
    wait_until(connected)
    lan.tell("cache_doubted")
    wait_until(lambda: "cache_doubted:read_or_discover_network_details:HOOK" in lan.spy())
    assert network.scans == 0

    # When the connection breaks, then the other one is found
    discovery.peer_down(Endpoint(OTHER, 5672))
    wait_until(lambda: not connected())
    lan.tell("cache_doubted")
    wait_until(lambda: f"{ADDRESS}:5672" in sink.peers)
    assert network.scans == 1


# The end of the first search


class FirstSearch:
    """What the node knew when it was told that the first search had ended."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.ends: list[set[str]] = []

    def __call__(self) -> None:
        self.ends.append(self._sink.peers)


def test_where_nothing_is_searched_the_first_search_has_ended_at_the_start(field) -> None:
    first = FirstSearch(Sink())
    discovery = field(Sink(), sources=("lan",), first_search_ended=first)
    assert first.ends == [set()]
    assert "search_overdue" not in discovery._chart._alarms


def test_the_first_search_ends_once_when_the_node_has_taken_what_all_sources_found(
    field, tmp_path: Path, monkeypatch
) -> None:
    # Given sources of which each finds a broker, one after the other
    switch_on(monkeypatch)
    (tmp_path / "hosts.json").write_text(json.dumps({"hosts": [ADDRESS, "dead"]}))
    brokers, sink, diary = Brokers(), Sink(refusals=2), Diary()
    brokers.ours(ADDRESS, OTHER, "10.0.0.7")
    brokers.hold["dead"] = threading.Event()
    first, network = FirstSearch(sink), Network(OTHER)
    network.hold = threading.Event()
    discovery = field(
        sink,
        brokers,
        sources=("manual", "lan", "dns"),
        scanner=network,
        name_service=Names(rabbit="10.0.0.7"),
        dns_names=("rabbit",),
        observer=diary,
        first_search_ended=first,
        look_again_s=(0.01, 0.01),
        dns_interval_s=0.01,
        scout_timeout_s=60.0,
    )
    found = {f"{each}:5672" for each in (ADDRESS, OTHER, "10.0.0.7")}

    # When one of them has searched often, and one has found a broker and not all of them
    wait_until(lambda: diary.searches.count(("dns", 1)) > 2)
    wait_until(lambda: f"{ADDRESS}:5672" in sink.peers)
    network.hold.set()
    wait_until(lambda: sink.peers == found)
    assert first.ends == []

    # Then it ends with the last of them, and never again
    brokers.hold["dead"].set()
    wait_until(lambda: first.ends)
    wait_until(lambda: diary.searches.count(("manual", 1)) > 2)
    assert first.ends == [found]
    assert discovery.peers


def test_a_broker_that_the_node_is_being_told_of_is_part_of_the_first_search(
    field, tmp_path: Path
) -> None:
    (tmp_path / "hosts.json").write_text(json.dumps({"hosts": [ADDRESS]}))
    brokers, sink, diary = Brokers(), Sink(), Diary()
    brokers.ours(ADDRESS)
    sink.hold = threading.Event()
    first = FirstSearch(sink)
    discovery = field(sink, brokers, sources=("manual",), observer=diary, first_search_ended=first)
    wait_until(lambda: diary.searches)
    wait_until(lambda: discovery._chart.state_name == "refactor_producers")
    assert first.ends == []
    sink.hold.set()
    wait_until(lambda: first.ends)
    assert first.ends == [{f"{ADDRESS}:5672"}]


@pytest.mark.parametrize("addresses", [[OTHER], []])
def test_a_young_cache_is_a_first_search(
    field, tmp_path: Path, monkeypatch, addresses: list[str]
) -> None:
    switch_on(monkeypatch)
    search = {"addresses": addresses, "found_at": time.time() - 60}
    (tmp_path / "lan_cache.json").write_text(json.dumps({"searches": {"a mesh": search}}))
    sink, network = Sink(), Network(ADDRESS)
    first = FirstSearch(sink)
    field(sink, sources=("lan",), scope="a mesh", scanner=network, first_search_ended=first)
    wait_until(lambda: first.ends)
    assert first.ends == [{f"{each}:5672" for each in addresses}]
    assert network.scans == 0


def test_a_search_of_the_network_that_finds_nothing_ends_too(field, monkeypatch) -> None:
    switch_on(monkeypatch)
    first = FirstSearch(Sink())
    field(Sink(), sources=("lan",), scanner=Network(ADDRESS), first_search_ended=first)
    wait_until(lambda: first.ends)


def test_a_first_search_without_an_end_counts_as_ended_after_its_time(
    field, tmp_path: Path, monkeypatch, caplog
) -> None:
    switch_on(monkeypatch)
    (tmp_path / "hosts.json").write_text(json.dumps({"hosts": [ADDRESS]}))
    brokers, sink, network, diary = Brokers(), Sink(), Network(OTHER), Diary()
    brokers.ours(ADDRESS, OTHER)
    network.hold = threading.Event()
    first = FirstSearch(sink)
    field(
        sink,
        brokers,
        sources=("manual", "lan"),
        scanner=network,
        observer=diary,
        first_search_s=1.0,
        first_search_ended=first,
    )
    wait_until(lambda: first.ends)
    assert "the first search counts as ended after 1 s, without lan_chart" in caplog.text
    network.hold.set()
    wait_until(lambda: ("lan", 1) in diary.searches)
    wait_until(lambda: len(sink.peers) == 2)
    assert len(first.ends) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_chart_that_dies_in_the_first_search_ends_it_in_its_next_life(
    field, tmp_path: Path, monkeypatch
) -> None:
    switch_on(monkeypatch)
    brokers, sink, network, diary = Brokers(), Sink(), Network(ADDRESS), Diary()
    brokers.ours(ADDRESS)
    network.hold = threading.Event()
    first = FirstSearch(sink)
    discovery = field(
        sink,
        brokers,
        sources=("lan",),
        scanner=network,
        observer=diary,
        first_search_ended=first,
    )
    wait_until(lambda: network.scans)
    discovery._chart.tell("hosts_resolved", None)
    wait_until(lambda: diary.revived)
    network.hold.set()
    wait_until(lambda: first.ends)
    assert first.ends == [{f"{ADDRESS}:5672"}]
