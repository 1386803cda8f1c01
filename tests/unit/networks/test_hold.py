"""What is held back for brokers to come: for each of them, in order, within its bounds."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from miros_mesh.link.ports import Broker, Parcel
from miros_mesh.networks.hold import Hold
from miros_mesh.networks.network import UNNUMBERED, Network
from miros_mesh.networks.peers import Peers
from miros_mesh.report import StopReport
from miros_mesh.wire.envelope import Envelope
from support.ports_in_hand import Shelf, Shop
from support.post_office import Notebook
from support.sealed import envelope, mesh_codec, mesh_network, record, trace_codec, trace_network

HOME, AWAY, FAR = Broker("home"), Broker("away"), Broker("far")


class Told(Notebook):
    """Keeps what is told of outboxes that had no room."""

    def __init__(self) -> None:
        super().__init__()
        self.overflows: list[tuple[str, str, int]] = []

    def overflowed(self, *, peer: str, network: str, events: int) -> None:
        self.overflows.append((peer, network, events))


def hold(*, max_events: int = 100) -> Hold:
    return Hold(max_events=max_events, max_bytes=1_000_000)


def send(network: Network[Envelope], *signals: str) -> None:
    for signal in signals:
        network.send("key", envelope(UNNUMBERED, signal))


def heard(parcels: Iterable[Parcel]) -> list[tuple[int, str]]:
    """The numbers and signals in parcels of the mesh."""
    return [
        (each.sequence, each.signal)
        for parcel in parcels
        if parcel.network == "mesh"
        for each in mesh_codec.open(parcel.seal())
    ]


def test_each_peer_that_comes_gets_what_was_sent_before_it_and_then_what_is_newer() -> None:
    shop, network = Shop(), mesh_network(frame_events=2)
    peers = Peers(shop, [network], hold=hold())
    peers.add(HOME)
    send(network, "a", "b", "c")
    peers.add(AWAY)
    send(network, "d")
    peers.add(FAR)
    send(network, "e")

    in_order = [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")]
    for each in (AWAY, FAR):
        assert heard(shop.shelves[each].parcels) == in_order
        assert shop.shelves[each].events == len(in_order)


def test_home_gets_nothing_twice() -> None:
    shop, network = Shop(), mesh_network()
    peers = Peers(shop, [network], hold=hold())
    peers.add(HOME)
    send(network, "a", "b")
    peers.add(AWAY)
    peers.add(HOME)

    assert heard(shop.shelves[HOME].parcels) == [(1, "a"), (2, "b")]


def test_all_peers_get_the_same_sealed_bytes() -> None:
    shop, network = Shop(), mesh_network()
    peers = Peers(shop, [network], hold=hold())
    peers.add(HOME)
    send(network, "a")
    sealed = shop.shelves[HOME].parcels[0].seal()
    peers.add(AWAY)

    assert shop.shelves[AWAY].parcels[0].seal() == sealed


def test_records_are_held_too_and_each_network_gives_its_own() -> None:
    shop, mesh, trace = Shop(), mesh_network(), trace_network(expendable=True)
    peers = Peers(shop, [mesh, trace], hold=hold())
    peers.add(HOME)
    trace.send_all("key", [record()])
    send(mesh, "a")
    peers.add(AWAY)

    parcels = shop.shelves[AWAY].parcels
    assert [each.network for each in parcels] == ["mesh", "snoop_trace"]
    assert trace_codec.open(parcels[1].seal()) == [record()]


def test_words_of_the_library_are_held_in_their_place() -> None:
    shop, network = Shop(), mesh_network()
    peers = Peers(shop, [network], hold=hold())
    network.send("key", envelope(UNNUMBERED, "hello"), counted=False)
    send(network, "a")
    peers.add(AWAY)

    assert heard(shop.shelves[AWAY].parcels) == [(1, "hello"), (2, "a")]
    assert shop.shelves[AWAY].events == 1


def test_once_it_is_released_a_peer_that_comes_gets_only_what_is_newer() -> None:
    shop, network, kept = Shop(), mesh_network(), hold()
    peers = Peers(shop, [network], hold=kept)
    peers.add(HOME)
    send(network, "a")
    peers.release()
    peers.release()
    send(network, "b")
    peers.add(AWAY)
    send(network, "c")

    assert heard(shop.shelves[HOME].parcels) == [(1, "a"), (2, "b"), (3, "c")]
    assert heard(shop.shelves[AWAY].parcels) == [(3, "c")]
    assert heard(kept.parcels("mesh")) == [(1, "a")]


def test_what_is_for_home_alone_is_not_held() -> None:
    shop, every, home_only = Shop(), mesh_network(), mesh_network()
    peers = Peers(shop, [every], home=HOME, home_networks=[home_only], hold=hold())
    peers.add(HOME)
    send(home_only, "a")
    peers.add(AWAY)

    assert shop.shelves[AWAY].parcels == []


def test_a_full_hold_drops_the_oldest_and_it_is_told_as_of_any_outbox() -> None:
    told = Told()
    shop, network = Shop(), mesh_network(told, frame_events=1)
    peers = Peers(shop, [network], hold=hold(max_events=2))
    peers.add(HOME)
    send(network, "a", "b", "c", "d")
    peers.add(AWAY)

    assert heard(shop.shelves[HOME].parcels) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    assert heard(shop.shelves[AWAY].parcels) == [(3, "c"), (4, "d")]
    assert told.drops == {"outbox_overflow": 2}
    assert told.overflows == [("brokers to come", "mesh", 1)] * 2
    assert peers.report() == StopReport(sent=4, left_over=2, dropped=2)
    peers.release()
    assert peers.report() == StopReport(sent=2, dropped=2)


def test_what_the_outbox_of_a_peer_that_comes_has_no_room_for_is_told_under_no_lock() -> None:
    # Given an observer that asks for the report, as one that asks for a node's health does
    class Asking(Told):
        def overflowed(self, *, peer: str, network: str, events: int) -> None:
            super().overflowed(peer=peer, network=network, events=events)
            asking = threading.Thread(target=peers.report, daemon=True)
            asking.start()
            asking.join(10)
            assert not asking.is_alive()

    class Full(Shop):
        def publisher(self, broker: Broker, *, patient: bool = False) -> Shelf:
            full = super().publisher(broker, patient=patient)
            full.put = lambda parcel: [parcel]  # type: ignore[method-assign]
            return full

    told = Asking()
    network = mesh_network(told, frame_events=1)
    peers = Peers(Full(), [network], hold=hold())
    send(network, "a", "b")
    peers.add(AWAY)

    assert told.overflows == [("away", "mesh", 1)] * 2


def test_what_is_held_is_left_over_until_the_search_has_ended() -> None:
    shop, network = Shop(), mesh_network()
    peers = Peers(shop, [network], hold=hold())
    peers.add(HOME)
    assert peers.held == 0
    send(network, "a", "b")

    assert peers.held == 2
    assert peers.report() == StopReport(sent=2, left_over=2)
    peers.release()
    assert peers.held == 0
    assert peers.report() == StopReport()


def test_what_is_held_at_the_end_is_left_over_for_good() -> None:
    shop, network = Shop(home=3), mesh_network()
    peers = Peers(shop, [network], hold=hold())
    peers.add(HOME)
    send(network, "a", "b")

    assert peers.stop(0.1) == StopReport(sent=5, left_over=5)
    peers.release()
    assert peers.stop(0.1) == peers.report() == StopReport(sent=5, left_over=5)


def test_a_peer_that_comes_while_others_send_misses_nothing_and_hears_it_in_order() -> None:
    shop, network = Shop(), mesh_network()
    peers = Peers(shop, [network], hold=hold(max_events=10_000))
    begun = threading.Event()

    def talk() -> None:
        for _ in range(500):
            send(network, "word")
            begun.set()

    talking = threading.Thread(target=talk)
    talking.start()
    begun.wait(10)
    peers.add(AWAY)
    talking.join()

    numbers = [number for number, _ in heard(shop.shelves[AWAY].parcels)]
    assert numbers == list(range(1, 501))
