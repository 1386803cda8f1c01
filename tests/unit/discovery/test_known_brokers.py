"""Which brokers are known, which are the same, which are lost."""

from __future__ import annotations

from miros_mesh.address import Endpoint
from miros_mesh.discovery import known_brokers as known_brokers_module
from miros_mesh.discovery.known_brokers import KnownBrokers

HOME = Endpoint("127.0.0.1", 5672)
FIRST, SECOND = Endpoint("10.0.0.1", 5672), Endpoint("10.0.0.2", 5672)
NAME = Endpoint("rabbit.example.org", 5672)


def known_brokers(forget_after_s: float = 100) -> KnownBrokers:
    return KnownBrokers([HOME], forget_after_s)


def addresses(*texts: str) -> frozenset[str]:
    return frozenset(texts)


def test_a_broker_is_new_once() -> None:
    known = known_brokers()
    assert known.alive(FIRST, addresses("10.0.0.1"))
    assert not known.alive(FIRST, addresses("10.0.0.1"))
    assert known.peers == (FIRST,)


def test_a_name_and_its_address_are_one_broker_whichever_comes_first() -> None:
    for one, other in ((NAME, FIRST), (FIRST, NAME)):
        known = known_brokers()
        assert known.alive(one, addresses(one.host, "10.0.0.1"))
        assert not known.alive(other, addresses(other.host, "10.0.0.1"))
        assert known.peers == (one,)
        assert known.is_known(other) or other.ip is None


def test_another_port_is_another_broker() -> None:
    known = known_brokers()
    known.alive(FIRST, addresses("10.0.0.1"))
    assert known.alive(Endpoint("10.0.0.1", 5673), addresses("10.0.0.1"))


def test_home_is_not_found_under_any_of_its_addresses() -> None:
    known = known_brokers()
    known.at_home({HOME: addresses("127.0.0.1", "192.168.1.3")})
    assert not known.alive(Endpoint("192.168.1.3", 5672), addresses("192.168.1.3"))
    assert known.is_known(Endpoint("192.168.1.3", 5672))
    known.disconnected(HOME, 0)
    assert known.forget_dead(10_000) == []


def test_a_broker_is_lost_once_it_has_been_dead_for_too_long() -> None:
    known = known_brokers()
    known.alive(FIRST, addresses("10.0.0.1"))
    known.alive(SECOND, addresses("10.0.0.2"))
    known.dead(FIRST, 50)
    known.dead(FIRST, 60)
    assert known.next_end() == 150
    assert known.forget_dead(149) == []
    assert known.forget_dead(150) == [FIRST]
    assert known.peers == (SECOND,)
    assert known.alive(FIRST, addresses("10.0.0.1")), "it may be found again"


def test_a_broker_that_answers_again_is_not_lost() -> None:
    known = known_brokers()
    known.alive(FIRST, addresses("10.0.0.1"))
    known.dead(FIRST, 50)
    known.alive(FIRST, addresses("10.0.0.1"))
    assert known.next_end() is None


def test_a_connection_counts_more_than_a_scout() -> None:
    known = known_brokers()
    known.alive(FIRST, addresses("10.0.0.1"))
    known.connected(FIRST)
    known.dead(FIRST, 50)
    assert known.next_end() is None
    known.disconnected(FIRST, 70)
    known.dead(FIRST, 90)
    assert known.next_end() == 170


def test_what_is_dead_and_was_never_found_is_nothing() -> None:
    known = known_brokers()
    known.dead(FIRST, 50)
    known.connected(FIRST)
    known.disconnected(FIRST, 60)
    assert known.next_end() is None


def test_a_broker_that_is_struck_out_may_be_found_again() -> None:
    known = known_brokers()
    known.alive(FIRST, addresses("10.0.0.1"))
    known.strike(FIRST)
    assert known.alive(FIRST, addresses("10.0.0.1"))


def test_the_number_of_brokers_has_a_bound(monkeypatch) -> None:
    monkeypatch.setattr(known_brokers_module, "MOST_PEERS", 1)
    known = known_brokers()
    assert known.alive(FIRST, addresses("10.0.0.1"))
    assert not known.alive(SECOND, addresses("10.0.0.2"))


def test_an_address_that_a_name_stood_for_once_may_be_another_broker_today() -> None:
    # Given a broker by a name whose address changes
    known_brokers = KnownBrokers([], 10)
    name = Endpoint("rabbit.example", 5672)
    assert known_brokers.alive(name, {"rabbit.example", "10.0.0.1"})
    assert not known_brokers.alive(name, {"rabbit.example", "10.0.0.2"})
    # When another one is found at the old address, then it is a new one
    assert known_brokers.alive(Endpoint("10.0.0.1", 5672), {"10.0.0.1"})
    assert not known_brokers.alive(Endpoint("10.0.0.2", 5672), {"10.0.0.2"})


def test_a_look_up_that_fails_changes_nothing() -> None:
    known_brokers = KnownBrokers([], 10)
    name = Endpoint("rabbit.example", 5672)
    known_brokers.alive(name, {"rabbit.example", "10.0.0.1"})
    known_brokers.alive(name, {"rabbit.example"})
    assert not known_brokers.alive(Endpoint("10.0.0.1", 5672), {"10.0.0.1"})


def test_a_name_that_comes_to_stand_for_another_brokers_address_takes_nothing_from_it() -> None:
    # Given two brokers, of which the first one's name moves to the address of the second
    known_brokers = KnownBrokers([], 10)
    name = Endpoint("rabbit.example", 5672)
    known_brokers.alive(name, {"rabbit.example", "10.0.0.1"})
    known_brokers.alive(SECOND, {"10.0.0.2"})
    known_brokers.connected(name)
    known_brokers.alive(name, {"rabbit.example", "10.0.0.2"})
    # When the second one is dead, then it is lost, and the first one is not
    known_brokers.disconnected(SECOND, 50)
    assert known_brokers.forget_dead(60) == [SECOND]
    assert known_brokers.peers == (name,)


def test_whether_the_node_is_connected_to_a_broker_is_known_and_home_counts() -> None:
    known = known_brokers()
    known.alive(FIRST, addresses("10.0.0.1"))
    assert not known.is_connected(FIRST)
    known.connected(FIRST)
    assert known.is_connected(FIRST)
    assert not known.is_connected(SECOND)
    assert known.is_connected(HOME)
    known.disconnected(FIRST, 1)
    assert not known.is_connected(FIRST)
