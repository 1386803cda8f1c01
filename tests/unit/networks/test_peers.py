"""The brokers that a node publishes to."""

from __future__ import annotations

import threading
import time

import pytest

from miros_mesh.errors import StoppedError
from miros_mesh.link.ports import Broker
from miros_mesh.networks.network import UNNUMBERED
from miros_mesh.networks.peers import Peers
from miros_mesh.report import StopReport
from support.ports_in_hand import Shelf, Shop
from support.sealed import envelope, mesh_network

HOME, AWAY = Broker("home"), Broker("away")


def test_a_peer_is_started_and_gets_what_every_network_sends() -> None:
    shop, networks = Shop(), (mesh_network(), mesh_network())
    peers = Peers(shop, networks)

    peers.add(HOME)
    for network in networks:
        network.send("key", envelope(UNNUMBERED))

    assert peers.brokers == (HOME,)
    assert shop.shelves[HOME].started == 1
    assert shop.shelves[HOME].events == 2


def test_a_known_peer_keeps_its_publisher() -> None:
    peers = Peers(Shop(), (mesh_network(),))

    first, again = peers.add(HOME), peers.add(Broker("home"))

    assert first is again
    assert isinstance(first, Shelf)
    assert first.started == 1


def test_the_same_peer_from_many_threads_is_one_peer() -> None:
    shop, network = Shop(), mesh_network()
    peers = Peers(shop, (network,))
    adding = [threading.Thread(target=peers.add, args=(HOME,)) for _ in range(8)]
    for thread in adding:
        thread.start()
    for thread in adding:
        thread.join()

    network.send("key", envelope(UNNUMBERED))

    assert shop.shelves[HOME].events == 1


def test_stop_detaches_all_and_says_how_much_stays_undelivered() -> None:
    shop, network = Shop(home=2, away=3), mesh_network()
    peers = Peers(shop, (network,))
    peers.add(HOME)
    peers.add(AWAY)

    assert peers.report() == StopReport(sent=5, left_over=5)
    assert peers.stop(1.0) == StopReport(sent=5, left_over=5)

    network.send("key", envelope(UNNUMBERED))
    assert peers.brokers == ()
    assert shop.shelves[HOME].events == shop.shelves[AWAY].events == 0
    assert peers.stop(1.0) == peers.report() == StopReport(sent=5, left_over=5)


def test_all_peers_drain_within_one_time_limit() -> None:
    shop = Shop()
    peers = Peers(shop, ())
    for number in range(4):
        peers.add(Broker(f"peer {number}"))

    started = time.monotonic()
    peers.stop(2.0)

    limits = [limit for shelf in shop.shelves.values() for limit in shelf.drained_within_s]
    assert len(limits) == 4
    assert all(0 < limit <= 2.0 for limit in limits)
    assert time.monotonic() - started < 2.0
    # And each was asked to end before any was waited for
    assert all((each.aborted, each.stopped) == (1, 1) for each in shop.shelves.values())


def test_a_lost_peer_gets_nothing_more_and_what_waits_for_it_is_dropped() -> None:
    shop, network = Shop(home=2, away=3), mesh_network()
    peers = Peers(shop, (network,))
    peers.add(HOME)
    peers.add(AWAY)

    assert peers.remove(AWAY, 1.0) == 3

    network.send("key", envelope(UNNUMBERED))
    assert peers.brokers == (HOME,)
    assert (shop.shelves[HOME].events, shop.shelves[AWAY].events) == (1, 0)
    assert (shop.shelves[AWAY].aborted, shop.shelves[AWAY].stopped) == (1, 0)
    assert peers.report() == StopReport(sent=5, left_over=2, dropped=3)


def test_a_peer_that_is_none_is_lost_without_a_word() -> None:
    peers = Peers(Shop(), ())

    assert peers.remove(AWAY, 1.0) == 0


def test_a_lost_peer_that_is_found_again_gets_a_new_publisher() -> None:
    shop, network = Shop(), mesh_network()
    peers = Peers(shop, (network,))
    lost = peers.add(AWAY)
    peers.remove(AWAY, 1.0)

    assert peers.add(AWAY) is not lost
    network.send("key", envelope(UNNUMBERED))
    assert shop.shelves[AWAY].events == 1


def test_nobody_waits_while_the_publisher_of_a_lost_peer_ends() -> None:
    shop, network = Shop(), mesh_network()
    peers = Peers(shop, (network,))
    shelf, ending, done = peers.add(AWAY), threading.Event(), threading.Event()
    assert isinstance(shelf, Shelf)

    def abort(timeout_s: float) -> None:
        ending.set()
        done.wait(timeout_s)

    shelf.abort = abort  # type: ignore[method-assign]
    removing = threading.Thread(target=peers.remove, args=(AWAY, 5.0))
    removing.start()
    ending.wait(5)

    began = time.monotonic()
    peers.add(HOME)
    peers.report()
    network.send("key", envelope(UNNUMBERED))
    assert time.monotonic() - began < 4
    done.set()
    removing.join()


def test_a_peer_that_is_found_when_all_has_ended_is_refused() -> None:
    peers = Peers(Shop(), ())
    peers.stop(0.1)

    with pytest.raises(StoppedError):
        peers.add(AWAY)


def test_what_is_for_home_goes_to_no_other_peer() -> None:
    shop, every, home_only = Shop(), mesh_network(), mesh_network()
    peers = Peers(shop, (every,), home=HOME, home_networks=(home_only,))
    peers.add(AWAY)
    peers.add(HOME)

    every.send("key", envelope(UNNUMBERED))
    home_only.send("key", envelope(UNNUMBERED))
    assert (shop.shelves[HOME].events, shop.shelves[AWAY].events) == (2, 1)

    peers.stop(0.1)
    home_only.send("key", envelope(UNNUMBERED))
    assert shop.shelves[HOME].events == 2
