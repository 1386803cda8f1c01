"""A network: numbered, packed and sealed on the way out; opened or refused on the way in."""

from __future__ import annotations

import logging
import threading
import tracemalloc
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from miros_mesh.embedded.memory import MemoryStore
from miros_mesh.errors import (
    EventTooLargeError,
    MessageTooLargeError,
    PayloadError,
    PermissionDeniedError,
)
from miros_mesh.link.outbox import Outbox
from miros_mesh.link.ports import Binding, Broker, Parcel
from miros_mesh.networks.frame import Frame
from miros_mesh.networks.history import History
from miros_mesh.networks.network import UNNUMBERED, Network, Refusal
from miros_mesh.observer import Observers
from miros_mesh.testing.memory import memory_link
from miros_mesh.wire.codec import FRAME_VERSION, Codec
from miros_mesh.wire.envelope import Envelope
from miros_mesh.wire.freshness import Freshness
from miros_mesh.wire.keyring import KeyRing, generate_key
from support.ports_in_hand import TOPIC, Handed, Shelf
from support.post_office import LIMIT_S, Letter, Notebook, PostOffice, queue
from support.sealed import (
    FRAME_LIMIT,
    KEY,
    THEIRS,
    envelope,
    frame_of,
    mesh_codec,
    mesh_network,
    record,
    snoop_frame_of,
    trace_network,
)


def send(network: Network[Envelope], signal: str, key: str = "key", chart: str = "talker") -> None:
    network.send(key, envelope(UNNUMBERED, signal, chart=chart))


def opened(parcels: Iterable[Parcel]) -> list[list[tuple[int, str]]]:
    """The sequence numbers and signals of each frame."""
    return [
        [(each.sequence, each.signal) for each in mesh_codec.open(parcel.seal())]
        for parcel in parcels
    ]


# On the way out


class Ledger(Notebook):
    """Keeps what is told of refusals."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[tuple[str, str, str, int]] = []

    def publication_refused(self, *, peer: str, network: str, reason: str, events: int) -> None:
        self.refused.append((peer, network, reason, events))


def test_what_a_broker_refuses_is_set_aside_and_forgotten() -> None:
    ledger, history = Ledger(), History(max_events=10, max_bytes=10_000)
    network = Network(
        "mesh", mesh_codec, ledger, frame_events=3, frame_bytes=FRAME_LIMIT, history=history
    )
    aside: list[Refusal[Envelope]] = []
    network.set_aside = aside.append
    shelf = Shelf()
    network.attach(shelf)
    for signal in ("a", "b", "c", "d"):
        send(network, signal)
    error = PermissionDeniedError("no")

    shelf.parcels[0].refused("shelf", error)

    [refusal] = aside
    assert [(each.sequence, each.signal) for each in refusal.messages] == [
        (1, "a"),
        (2, "b"),
        (3, "c"),
    ]
    assert [mesh_codec.encode(each) for each in refusal.messages] == refusal.encoded
    assert (refusal.routing_key, refusal.broker, refusal.error) == ("key", "shelf", error)
    assert refusal.counted
    assert [each.sequence for each in history.find("talker", [(1, 9)])] == [4]
    assert ledger.refused == [("shelf", "mesh", "permission", 3)]


def test_what_one_of_several_brokers_refuses_is_kept_for_the_others() -> None:
    history = History(max_events=10, max_bytes=10_000)
    network = Network(
        "mesh", mesh_codec, Ledger(), frame_events=3, frame_bytes=FRAME_LIMIT, history=history
    )
    near, far = Shelf(broker=Broker("near")), Shelf(broker=Broker("far"))
    for shelf in (near, far):
        network.attach(shelf)
    for signal in ("a", "b"):
        send(network, signal)
    [whole], error = near.parcels, PermissionDeniedError("no")

    for part in whole.split():
        part.refused("near", error)
    assert [each.sequence for each in history.find("talker", [(1, 9)])] == [1, 2]
    whole.split()[1].refused("far", error)
    assert [each.sequence for each in history.find("talker", [(1, 9)])] == [1]
    network.detach(far)
    whole.split()[0].refused("near", error)

    assert history.find("talker", [(1, 9)]) == []


def test_an_interrupt_amid_the_peers_leaves_no_frame_to_grow_that_some_do_not_have() -> None:
    interrupts = iter([KeyboardInterrupt])

    class Interrupted(Shelf):
        def put(self, parcel: Parcel) -> Sequence[Parcel]:
            dropped = super().put(parcel)
            for each in interrupts:
                raise each
            return dropped

    network, near, far = mesh_network(), Interrupted(broker=Broker("near")), Shelf()
    for shelf in (near, far):
        network.attach(shelf)

    with pytest.raises(KeyboardInterrupt):
        send(network, "a")
    send(network, "b")

    assert opened(near.parcels) == [[(1, "a")], [(2, "b")]]
    # What it has no more of is asked for again by who receives there.
    assert opened(far.parcels) == [[(2, "b")]]


def test_halves_of_a_frame_are_frames_of_the_same_events() -> None:
    network, shelf = mesh_network(), Shelf()
    network.attach(shelf)
    for signal in ("a", "b", "c"):
        send(network, signal)

    assert opened(shelf.parcels[0].split()) == [[(1, "a")], [(2, "b"), (3, "c")]]


def test_words_of_the_library_and_records_that_are_refused_are_dropped() -> None:
    ledger, shelf = Ledger(), Shelf()
    words, records = mesh_network(ledger), trace_network(ledger, expendable=True)
    for network in (words, records):
        network.attach(shelf)
    words.send("key", envelope(UNNUMBERED, "hello"), counted=False)
    records.send_all("key", [record()])

    for parcel in shelf.parcels:
        parcel.refused("broker", PermissionDeniedError("no"))

    assert ledger.refused == []
    assert ledger.drops == {"permission": 2}


def test_what_waits_is_packed_into_frames_in_order() -> None:
    network, shelf = mesh_network(frame_events=2), Shelf()
    network.attach(shelf)

    for signal in ("a", "b", "c"):
        send(network, signal)

    assert opened(shelf.parcels) == [[(1, "a"), (2, "b")], [(3, "c")]]
    assert {parcel.exchange for parcel in shelf.parcels} == {"miros_mesh.v1.mesh"}


def test_a_frame_that_was_taken_to_send_grows_no_more() -> None:
    network, shelf = mesh_network(), Shelf()
    network.attach(shelf)

    send(network, "a")
    shelf.parcels[0].seal()
    send(network, "b")

    assert opened(shelf.parcels) == [[(1, "a")], [(2, "b")]]


def test_a_frame_has_one_routing_key_and_no_event_overtakes_another() -> None:
    network, shelf = mesh_network(), Shelf()
    network.attach(shelf)

    for signal, key in (("a", "one"), ("b", "two"), ("c", "one"), ("d", "one")):
        send(network, signal, key)

    assert [parcel.routing_key for parcel in shelf.parcels] == ["one", "two", "one"]
    assert opened(shelf.parcels) == [[(1, "a")], [(2, "b")], [(3, "c"), (4, "d")]]


def test_each_chart_counts_for_itself() -> None:
    network, shelf = mesh_network(), Shelf()
    network.attach(shelf)

    for chart in ("one", "two", "one"):
        send(network, chart, chart=chart)

    assert opened(shelf.parcels) == [[(1, "one"), (1, "two"), (2, "one")]]


def test_all_peers_share_one_frame_and_its_seal() -> None:
    network, near, far = mesh_network(), Shelf(), Shelf()
    network.attach(near)
    network.attach(far)

    send(network, "a")
    send(network, "b")

    assert near.parcels == far.parcels
    assert near.parcels[0].seal() is far.parcels[0].seal()
    assert near.events == far.events == 2
    assert near.size_bytes == far.size_bytes == near.parcels[0].size_bytes


def test_a_new_peer_gets_what_is_sent_from_now_on() -> None:
    network, old, new = mesh_network(), Shelf(), Shelf()
    network.attach(old)
    send(network, "before")

    network.attach(new)
    send(network, "after")

    assert opened(old.parcels) == [[(1, "before")], [(2, "after")]]
    assert opened(new.parcels) == [[(2, "after")]]


def test_a_peer_that_was_detached_gets_nothing_more() -> None:
    network, stays, leaves = mesh_network(), Shelf(), Shelf()
    network.attach(stays)
    network.attach(leaves)
    send(network, "before")

    network.detach(leaves)
    send(network, "after")

    assert (stays.events, leaves.events) == (2, 1)


def test_an_event_without_a_peer_is_counted_as_dropped() -> None:
    notes, shelf = Notebook(), Shelf()
    network = mesh_network(notes)

    send(network, "to nobody")
    network.attach(shelf)
    send(network, "to somebody")

    assert notes.drops == {"no_peer": 1}
    assert opened(shelf.parcels) == [[(2, "to somebody")]]


@pytest.mark.parametrize(
    ("payload", "signal", "error"),
    [(b"x" * FRAME_LIMIT, "large", EventTooLargeError), (None, "", PayloadError)],
)
def test_a_refused_event_uses_up_no_number(
    payload: bytes | None, signal: str, error: type[Exception]
) -> None:
    network, shelf = mesh_network(), Shelf()
    network.attach(shelf)

    with pytest.raises(error):
        network.send("key", envelope(UNNUMBERED, signal, payload))
    send(network, "fine")

    assert opened(shelf.parcels) == [[(1, "fine")]]


def test_a_message_that_comes_after_another_than_its_sender_thinks_is_not_sent() -> None:
    network, shelf = mesh_network(), Shelf()
    network.attach(shelf)

    assert network.send("key", envelope(UNNUMBERED, "first"), after=0) == 1
    assert network.send("key", envelope(UNNUMBERED, "late"), after=0) == 0
    assert network.send("key", envelope(UNNUMBERED, "second"), after=1) == 2

    assert opened(shelf.parcels) == [[(1, "first"), (2, "second")]]


def test_numbers_have_no_holes_and_are_in_the_order_of_frames_whoever_sends() -> None:
    """Four threads send for one chart: events, words of the library, and what is refused."""
    network, shelf, returned = mesh_network(frame_events=5), Shelf(), list[int]()
    network.attach(shelf)

    def talk() -> None:
        for number in range(300):
            if number % 10 == 3:
                returned.append(network.send("key", envelope(UNNUMBERED, "own"), counted=False))
            elif number % 10 == 7:
                with pytest.raises(PayloadError):
                    network.send("key", envelope(UNNUMBERED, ""))
            else:
                returned.append(network.send("key", envelope(UNNUMBERED, "ping")))

    threads = [threading.Thread(target=talk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)

    frames = opened(shelf.parcels)
    numbers = [number for frame in frames for number, _ in frame]
    assert numbers == list(range(1, 1_081))
    assert sorted(returned) == numbers
    assert all(len(frame) == 1 for frame in frames if (frame[0][1] == "own"))
    assert {signal for frame in frames if len(frame) > 1 for _, signal in frame} <= {"ping"}


def test_what_was_sent_is_in_the_history_with_its_number() -> None:
    history = History(max_events=10, max_bytes=10_000)
    network = Network(
        "mesh", mesh_codec, Observers(), frame_events=3, frame_bytes=1_000, history=history
    )

    send(network, "a")
    with pytest.raises(PayloadError):
        send(network, "")
    send(network, "b")

    sent = history.find("talker", [(1, 9)])
    messages = network.decoded([each.encoded for each in sent])
    assert [(each.sequence, each.signal) for each in messages] == [(1, "a"), (2, "b")]
    assert [each.sequence for each in sent] == [1, 2]


@pytest.mark.parametrize("peers", [0, 1])
def test_what_was_sent_and_what_waits_is_in_memory_once(peers: int) -> None:
    history = History(max_events=10, max_bytes=10_000)
    network = Network(
        "mesh", mesh_codec, Observers(), frame_events=3, frame_bytes=1_000, history=history
    )
    shelves = [Shelf() for _ in range(peers)]
    for shelf in shelves:
        network.attach(shelf)

    send(network, "a")
    send(network, "b")

    kept = [each.encoded for each in history.find("talker", [(1, 9)])]
    for shelf in shelves:
        (parcel,) = shelf.parcels
        parcel.seal()
        assert isinstance(parcel, Frame)
        assert all(own is one for own, one in zip(parcel.messages(), kept, strict=True))


def test_what_waits_takes_little_more_memory_than_its_bytes() -> None:
    # Given a network with a history, whose peer is away
    history = History(max_events=20_000, max_bytes=10**8)
    network = Network(
        "mesh", mesh_codec, Observers(), frame_events=100, frame_bytes=10**5, history=history
    )
    outbox = Outbox(max_events=10**6, max_bytes=10**9)
    away = Shelf()
    away.put, away.grown = outbox.put, outbox.grown  # type: ignore[method-assign]
    network.attach(away)
    message = replace(envelope(UNNUMBERED), payload=bytes(5_000))
    network.send("key", message)
    # When events wait in its outbox, and are kept for repair
    tracemalloc.start()
    try:
        for _ in range(1_000):
            network.send("key", message)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Then they are there once, and not once for each
    waits = sum(parcel.size_bytes for parcel in outbox.waiting())
    assert waits > 5_000_000
    assert taken < 1.1 * waits


class Counted(Shelf):
    """A publisher in front of a real outbox, as the link's is, but without a thread."""

    def __init__(self, max_events: int = 10**6) -> None:
        super().__init__()
        self.outbox = Outbox(max_events=max_events, max_bytes=10**9)
        self.sent: list[Parcel] = []
        self.arrived: list[tuple[int, str]] = []

    def put(self, parcel: Parcel) -> Sequence[Parcel]:
        return self.outbox.put(parcel)

    def grown(self, parcel: Parcel, size_bytes: int, events: int = 1) -> Sequence[Parcel]:
        return self.outbox.grown(parcel, size_bytes, events)

    def publish(self) -> None:
        if parcel := self.outbox.take():
            parcel.seal()
            self.sent.append(parcel)

    def confirm(self) -> None:
        if self.sent:
            parcel = self.sent.pop(0)
            self.outbox.confirm(parcel)
            self.arrived += opened([parcel])[0]

    def reconnect(self) -> None:
        self.outbox.rewind()
        self.sent.clear()

    def deliver_all(self) -> None:
        while not self.outbox.idle or self.sent:
            self.publish()
            self.confirm()


steps = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send elsewhere", "publish", "confirm", "reconnect"]),
        st.integers(0, 1),
    ),
    min_size=20,
    max_size=80,
)


@given(steps, st.integers(1, 5))
def test_however_peers_lag_each_gets_every_event_once_in_order_and_counts_right(
    moves: list[tuple[str, int]], frame_events: int
) -> None:
    network, peers = mesh_network(frame_events=frame_events), (Counted(), Counted())
    for peer in peers:
        network.attach(peer)
    sent: list[tuple[int, str]] = []

    for move, who in moves:
        if move.startswith("send"):
            send(network, move, key=move)
            sent.append((len(sent) + 1, move))
        else:
            getattr(peers[who], move)()
        assert all(peer.outbox.events == len(sent) - len(peer.arrived) for peer in peers)

    for peer in peers:
        peer.deliver_all()
        assert peer.arrived == sent
        assert peer.outbox.wait_empty(0)


def test_a_backlog_is_paid_in_frames_and_not_in_events() -> None:
    """Four charts at once over a link: each in its order, and far fewer frames than events."""
    # Given a listener that counts frames
    store = MemoryStore()
    office = PostOffice(lambda settings: memory_link(settings, store), Broker("memory"))
    publisher = office.publisher(exchanges=("miros_mesh.v1.mesh",))
    _, mailbox = office.listen(queue(bindings=(Binding("miros_mesh.v1.mesh", "#"),)))
    network = mesh_network(frame_events=100)
    network.attach(publisher)

    # When four charts transmit as fast as they can
    def talk(chart: str) -> None:
        for _ in range(2_000):
            send(network, "ping", chart=chart)

    charts = [threading.Thread(target=talk, args=(f"chart {number}",)) for number in range(4)]
    for chart in charts:
        chart.start()
    for chart in charts:
        chart.join(LIMIT_S)

    publisher.put(Letter(b"last", exchange="miros_mesh.v1.mesh"))

    # Then everything arrives, and most of it packed
    mailbox.expect_until("last")
    office.close()
    frames = [delivery.body for delivery in mailbox.deliveries[:-1]]
    streams: defaultdict[str, list[int]] = defaultdict(list)
    for each in chain.from_iterable(map(mesh_codec.open, frames)):
        streams[each.chart].append(each.sequence)
    assert streams == {f"chart {number}": list(range(1, 2_001)) for number in range(4)}
    assert len(frames) < 8_000 / 10


def test_what_is_the_librarys_own_travels_alone_and_is_no_event() -> None:
    notes, shelf = Notebook(), Shelf()
    network = mesh_network(notes)
    network.attach(shelf)

    send(network, "a")
    network.send("key", envelope(UNNUMBERED, "own"), counted=False)
    network.send("key", envelope(UNNUMBERED, "own"), counted=False)
    send(network, "b")
    send(network, "c")

    frames = [[(1, "a")], [(2, "own")], [(3, "own")], [(4, "b"), (5, "c")]]
    assert opened(shelf.parcels) == frames
    assert [parcel.events for parcel in shelf.parcels] == [1, 0, 0, 2]


# Overflow


class Reporter(Notebook):
    """Sends a report about each overflow, over the network that has it."""

    def __init__(self) -> None:
        super().__init__()
        self.overflows: list[tuple[str, str, int]] = []
        self.networks: list[Network[Envelope]] = []
        self.depth = 0

    def overflowed(self, *, peer: str, network: str, events: int) -> None:
        self.overflows.append((peer, network, events))
        for each in self.networks:
            send(each, "report")

    def transmitted(self, *, network: str, chart: str) -> None:
        self.depth += 1
        assert self.depth < 10, "a hook that transmits calls itself without end"
        for each in self.networks:
            send(each, "echo")
        self.depth -= 1


def test_what_overflows_is_told_with_its_peer_and_network() -> None:
    notes = Reporter()
    network, near, far = mesh_network(notes, frame_events=1), Counted(2), Counted()
    near.broker, far.broker = Broker("near"), Broker("far")
    network.attach(near)
    network.attach(far)

    for signal in "abcd":
        send(network, signal)

    assert notes.overflows == [("near", "mesh", 1)] * 2
    assert notes.drops == {"outbox_overflow": 2}


def test_a_message_hears_what_became_of_it() -> None:
    network, shelf, outcomes = mesh_network(), Shelf(), list[str]()
    network.attach(shelf)
    network.send("key", envelope(UNNUMBERED), counted=False, settled=outcomes.append)
    (parcel,) = shelf.parcels

    parcel.stored("broker", True)
    parcel.refused("home", MessageTooLargeError("too large"))

    assert outcomes == ["stored", "refused"]


def test_a_message_hears_that_a_full_outbox_dropped_it() -> None:
    network, outcomes = mesh_network(frame_events=1), list[str]()
    network.attach(Counted(1))
    network.send("key", envelope(UNNUMBERED), counted=False, settled=outcomes.append)
    assert outcomes == []

    for signal in "ab":
        send(network, signal)

    assert outcomes == ["dropped"]


def test_an_overflow_is_logged_once_with_how_much_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network, peer = mesh_network(frame_events=1), Counted(1)
    network.attach(peer)
    for signal in "abcd":
        send(network, signal)
    [record] = caplog.records
    assert "its 1 oldest events of mesh are lost" in record.getMessage()


def test_an_observer_may_transmit_from_its_hooks_without_a_deadlock_and_without_end() -> None:
    # Given an observer that transmits whenever it is told that something was transmitted or lost
    reporter, other = Reporter(), Notebook()
    network, peer = mesh_network(Observers(reporter, other), frame_events=1), Counted(2)
    network.attach(peer)
    reporter.networks.append(network)
    # When an outbox overflows
    threads = [threading.Thread(target=send, args=(network, "a"), daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    # Then nobody hangs, and who transmits nothing hears of everything
    assert not any(thread.is_alive() for thread in threads)
    assert reporter.overflows
    assert other.drops["outbox_overflow"] == network._sequences["talker"] - 2


def test_an_observer_may_transmit_when_there_is_no_peer() -> None:
    class Insistent(Notebook):
        def dropped(self, *, network: str, reason: str, events: int) -> None:
            super().dropped(network=network, reason=reason, events=events)
            send(alone, "again")

    insistent = Insistent()
    alone = mesh_network(Observers(insistent))
    sending = threading.Thread(target=send, args=(alone, "a"), daemon=True)
    sending.start()
    sending.join(LIMIT_S)
    assert not sending.is_alive()
    assert insistent.drops == {"no_peer": 1}


# On the way in


def test_a_good_frame_is_opened_and_left_for_its_reader_to_settle() -> None:
    network, delivery = mesh_network(), Handed(frame_of(envelope(1), envelope(2)))

    assert network.open(delivery, Freshness()).messages == [envelope(1), envelope(2)]

    assert (delivery.acks, delivery.rejects) == (0, 0)


def sealed_by_a_stranger() -> bytes:
    stranger = Codec("mesh", KeyRing([generate_key()]), Envelope, max_frame_bytes=FRAME_LIMIT)
    return stranger.seal([stranger.encode(envelope())], TOPIC)


def malformed() -> bytes:
    return KeyRing([KEY]).seal(b"no msgpack", FRAME_VERSION)


REFUSED = {
    "undecryptable": sealed_by_a_stranger(),
    "malformed": malformed(),
    "version": b"\x09" + frame_of(envelope())[1:],
    "wrong_network": snoop_frame_of(record()),
    "oversize": b"\x01" * (FRAME_LIMIT + 1),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refused_frame_is_rejected_counted_and_logged_without_its_content(
    reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    notes, delivery = Notebook(), Handed(REFUSED[reason])

    assert mesh_network(notes).open(delivery, Freshness()).messages == []

    assert (delivery.acks, delivery.rejects) == (0, 1)
    assert notes.drops == {reason: 1}
    assert "refused on mesh, 1 time(s)" in caplog.text
    assert THEIRS.node not in caplog.text
    assert "no msgpack" not in caplog.text


def test_an_empty_body_is_refused_too() -> None:
    notes, delivery = Notebook(), Handed(b"")

    assert mesh_network(notes).open(delivery, Freshness()).messages == []

    assert notes.drops == {"malformed": 1}
    assert delivery.rejects == 1


def test_a_flood_of_bad_frames_is_counted_in_full_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notes = Notebook()
    network = mesh_network(notes)

    with caplog.at_level(logging.WARNING):
        for _ in range(1_000):
            network.open(Handed(REFUSED["undecryptable"]), Freshness())

    assert notes.drops == {"undecryptable": 1_000}
    assert len(caplog.records) == 1


def test_what_is_filed_goes_into_frames_of_its_own_as_much_as_fits() -> None:
    network, shelf, heard = mesh_network(frame_events=2), Shelf(), list[str]()
    encoded = [network.encode(envelope(number)) for number in (7, 5, 9)]
    assert network.file("key", encoded, heard.append) == 0
    network.attach(shelf)

    taken = network.file("key", encoded, heard.append)
    send(network, "after")

    # With its numbers, not counted, and nothing is added to it
    assert taken == 2
    assert opened(shelf.parcels) == [[(7, "ping"), (5, "ping")], [(1, "after")]]
    assert [parcel.events for parcel in shelf.parcels] == [0, 1]
    shelf.parcels[0].stored("broker", routed=False)
    shelf.parcels[0].dropped("broker")
    assert heard == ["unrouted", "dropped"]
