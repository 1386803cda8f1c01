"""The brokers that a node publishes to."""

from __future__ import annotations

import threading
import time

from miros_mesh.link.ports import Broker
from miros_mesh.networks import Peers
from miros_mesh.report import StopReport
from ports_in_hand import Shelf, Shop
from sealed import envelope, mesh_network

HOME, AWAY = Broker("home"), Broker("away")


def test_a_peer_is_started_and_gets_what_every_network_sends() -> None:
    shop, networks = Shop(), (mesh_network(), mesh_network())
    peers = Peers(shop, networks)

    peers.add(HOME)
    for network in networks:
        network.send("talker", "key", envelope)

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

    network.send("talker", "key", envelope)

    assert shop.shelves[HOME].events == 1


def test_stop_detaches_all_and_says_how_much_stays_undelivered() -> None:
    shop, network = Shop(home=2, away=3), mesh_network()
    peers = Peers(shop, (network,))
    peers.add(HOME)
    peers.add(AWAY)

    assert peers.report() == StopReport(sent=5, left_over=5)
    assert peers.stop(1.0) == StopReport(sent=5, left_over=5)

    network.send("talker", "key", envelope)
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

    limits = [limit for shelf in shop.shelves.values() for limit in shelf.stopped_within_s]
    assert len(limits) == 4
    assert all(0 < limit <= 2.0 for limit in limits)
    assert time.monotonic() - started < 2.0
