"""Events on their way out, and payloads on their way in."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from miros_mesh.errors import PayloadError
from miros_mesh.networks.mesh import BEAT, GOODBYE, HELLO, Mesh
from miros_mesh.observer import Observer, Span, Tracer
from miros_mesh.wire.envelope import TracedEnvelope
from miros_mesh.wire.identity import Identity
from support.ports_in_hand import Shelf
from support.sealed import OURS, envelope, mesh, mesh_codec, mesh_network, serializer


class Reversing:
    """Somebody's own serializer, which chokes on what is not its own."""

    name = "reversing"

    def dumps(self, payload: Any) -> bytes:
        return str(payload)[::-1].encode()

    def loads(self, data: bytes) -> Any:
        if not data.isascii():
            raise LookupError(f"secret content {data!r}")
        return data.decode()[::-1]


def test_an_event_carries_who_what_when_and_why() -> None:
    sender, shelf, before = mesh(), Shelf(), time.time()
    sender.network.attach(shelf)

    sender.transmit("talker", "heya.man", "ping", {"a": 1}, "0urs/talker/local-7")

    (sent,) = mesh_codec.open(shelf.parcels[0].seal())
    assert shelf.parcels[0].routing_key == "heya.man"
    assert (sent.node, sent.incarnation) == (OURS.node, OURS.incarnation)
    assert (sent.chart, sent.sequence, sent.signal) == ("talker", 1, "ping")
    assert sent.cause == "0urs/talker/local-7"
    assert before <= sent.sent_at <= time.time()
    assert sender.payload_of(sent) == {"a": 1}


def test_only_requests_and_replies_may_be_lost_by_a_broker_that_restarts() -> None:
    sender, shelf = mesh(), Shelf()
    sender.network.attach(shelf)

    # Without a pause between them, so that what may share a frame does
    for kind in ({}, {"asked": lambda _: None}, {"reply_to": "0urs/talker/1"}, {}):
        sender.transmit("talker", "key", "ping", None, None, **kind)

    frames = [(each.persistent, len(mesh_codec.open(each.seal()))) for each in shelf.parcels]
    assert frames == [(True, 1), (False, 2), (True, 1)]


def test_an_event_carries_the_context_that_its_tracer_gives_it() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    class Following(Span):
        context = trace
        told: dict[str, Any]

        def end(self, **facts: Any) -> None:
            self.told = facts

    class Stub(Tracer):
        def sending(self, **_: Any) -> Span:
            return span

    span, shelf = Following(), Shelf()
    sender = Mesh(mesh_network(), OURS, serializer, Observer(), dedup_window=64, tracer=Stub())
    sender.network.attach(shelf)

    sender.transmit("talker", "key", "ping", None, None)
    sender.goodbye("talker", "key")

    event, goodbye = (mesh_codec.open(parcel.seal())[0] for parcel in shelf.parcels)
    assert isinstance(event, TracedEnvelope)
    assert event.trace == trace
    assert span.told == {"message_id": event.id, "size_bytes": len(event.payload)}
    assert getattr(goodbye, "trace", None) is None


def test_a_payload_that_cannot_travel_is_refused_at_once() -> None:
    sender, shelf = mesh(), Shelf()
    sender.network.attach(shelf)

    with pytest.raises(PayloadError, match="an object"):
        sender.transmit("talker", "key", "ping", object(), None)

    assert shelf.parcels == []


def test_a_goodbye_needs_no_serializer() -> None:
    sender, shelf = mesh(), Shelf()
    sender.network.attach(shelf)

    sender.goodbye("talker", "key")

    (sent,) = mesh_codec.open(shelf.parcels[0].seal())
    assert (sent.signal, sent.payload) == ("miros_mesh.goodbye", b"")


def said(shelf: Shelf) -> list[tuple[int, str]]:
    return [
        (each.sequence, each.signal)
        for parcel in shelf.parcels
        for each in mesh_codec.open(parcel.seal())
    ]


def test_a_chart_that_fell_silent_says_its_number_twice() -> None:
    sender, shelf = mesh(), Shelf()
    sender.network.attach(shelf)
    sender.join("talker", "key")
    sender.beat()
    sender.transmit("talker", "key", "ping", None, None)

    sender.beat()
    assert said(shelf) == [(1, "ping")]

    for _ in range(5):
        sender.beat()
    assert said(shelf) == [(1, "ping"), (2, BEAT), (3, BEAT)]
    assert {parcel.routing_key for parcel in shelf.parcels} == {"key"}

    sender.transmit("talker", "key", "ping", None, None)
    for _ in range(5):
        sender.beat()
    assert said(shelf)[3:] == [(4, "ping"), (5, BEAT), (6, BEAT)]


def test_a_chart_that_said_goodbye_says_nothing_more() -> None:
    sender, shelf = mesh(), Shelf()
    sender.network.attach(shelf)
    sender.join("talker", "key")
    sender.transmit("talker", "key", "ping", None, None)
    sender.goodbye("talker", "key")

    for _ in range(5):
        sender.beat()

    assert [signal for _, signal in said(shelf)] == ["ping", GOODBYE]


def test_what_the_library_says_for_itself_is_no_event() -> None:
    told: list[str] = []

    class Notes(Observer):
        def transmitted(self, *, network: str, chart: str) -> None:
            told.append(chart)

    sender, shelf = mesh(Notes()), Shelf()
    sender.network.attach(shelf)

    sender.transmit("talker", "key", "ping", None, None)
    sender.goodbye("talker", "key")

    assert (shelf.events, len(shelf.parcels)) == (1, 2)
    assert told == ["talker"]


def test_a_serializer_of_ones_own_is_used_both_ways() -> None:
    observer, shelf = Observer(), Shelf()
    sender = Mesh(mesh_network(), OURS, Reversing(), observer, dedup_window=64)
    sender.network.attach(shelf)

    sender.transmit("talker", "key", "ping", "abc", None)

    (sent,) = mesh_codec.open(shelf.parcels[0].seal())
    assert sent.payload == b"cba"
    assert sender.payload_of(sent) == "abc"


def test_a_serializer_that_fails_is_named_and_its_words_are_kept_back() -> None:
    receiver = Mesh(mesh_network(), OURS, Reversing(), Observer(), dedup_window=64)

    with pytest.raises(PayloadError, match="ping from talker.*LookupError") as raised:
        receiver.payload_of(envelope(payload="é"))

    assert "secret" not in str(raised.value)


CLAIM = "192.168.1.75:5672"


def claims(shelf: Shelf) -> list[tuple[str, str, bytes]]:
    opened = [mesh_codec.open(parcel.seal()) for parcel in shelf.parcels]
    return [(each.chart, each.signal, each.payload) for frame in opened for each in frame]


def test_a_chart_says_where_its_broker_is_when_it_starts_again_on_request_and_in_beats() -> None:
    sender, shelf = mesh(), Shelf()
    sender.network.attach(shelf)
    sender.claim = CLAIM

    sender.join("talker", "key")
    sender.hello()
    sender.beat()
    sender.beat()
    sender.goodbye("talker", "key")
    sender.hello()

    claim = CLAIM.encode()
    assert claims(shelf) == [
        ("talker", HELLO, claim),
        ("talker", HELLO, claim),
        ("talker", BEAT, claim),
        ("talker", GOODBYE, b""),
    ]
    assert [parcel.events for parcel in shelf.parcels] == [0] * 4


def test_of_many_charts_one_speaks_for_those_of_its_routing_key() -> None:
    """A node says hello for each broker that it finds, to each that it knows."""
    sender, shelf = mesh(), Shelf()
    sender.claim = CLAIM
    for chart, key in (("alice", "key"), ("bob", "key"), ("carol", "other.key")):
        sender.join(chart, key)
    sender.network.attach(shelf)

    sender.hello()

    assert [parcel.routing_key for parcel in shelf.parcels] == ["key", "other.key"]
    assert {signal for _, signal, _ in claims(shelf)} == {HELLO}


def test_a_node_that_searches_for_nobody_says_nothing_of_its_broker() -> None:
    sender, shelf = mesh(), Shelf()
    sender.network.attach(shelf)

    sender.join("talker", "key")

    assert shelf.parcels == []


def test_a_chart_that_has_sent_nothing_has_no_number_to_say() -> None:
    sender, shelf = mesh(), Shelf()
    sender.network.attach(shelf)
    sender.join("talker", "key")

    for _ in range(3):
        sender.beat()

    assert said(shelf) == []


def test_a_chart_that_has_said_goodbye_says_no_hello_or_beat_after_it() -> None:
    sender, shelf = mesh(), Shelf()
    sender.network.attach(shelf)
    sender.claim = CLAIM
    sender.join("talker", "key")

    sender.goodbye("talker", "key")
    sender._hello("talker", "key")
    sender.hello()
    sender.beat()

    assert said(shelf) == [(1, HELLO), (2, GOODBYE)]


def test_a_goodbye_is_the_last_word_though_others_are_said_on_other_threads() -> None:
    for _ in range(100):
        sender, shelf = mesh(), Shelf()
        sender.network.attach(shelf)
        sender.claim = CLAIM
        sender.join("talker", "key")
        sender.beat()
        begin, words = threading.Barrier(3), (sender.hello, sender.beat)

        def speak(word: Callable[[], None], begin: threading.Barrier = begin) -> None:
            begin.wait()
            for _ in range(5):
                word()

        speaking = [threading.Thread(target=speak, args=(word,)) for word in words]
        for thread in speaking:
            thread.start()
        begin.wait()
        sender.goodbye("talker", "key")
        for thread in speaking:
            thread.join()

        numbers, signals = zip(*said(shelf), strict=True)
        assert numbers == tuple(range(1, len(numbers) + 1))
        assert signals[-1] == GOODBYE
        assert signals.count(GOODBYE) == 1


# How old an event is


class Times:
    """A receiver whose clock is turned by hand, and events by the clock of their sender."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.mesh = Mesh(
            mesh_network(),
            OURS,
            serializer,
            Observer(),
            dedup_window=64,
            wall=lambda: self.now,
            clock_error_s=30.0,
        )

    def age(self, sent_at: float, node: str = "there") -> float:
        sender = Identity(node, "1")
        return self.mesh.age_s(envelope(sender=sender, sent_at=sent_at))


def test_an_event_is_as_old_as_the_clocks_say() -> None:
    times = Times()
    assert times.age(1_000.0) == 0
    assert times.age(993.0) == 7
    # By a clock that is behind, it is older than it is
    assert times.age(900.0) == 100


def test_a_clock_that_is_seen_to_be_ahead_is_taken_for_that() -> None:
    times = Times()
    assert times.age(1_010.0) == 0
    assert times.age(1_008.0) == 2
    assert times.age(1_008.0, "other") == 0
    times.now = 1_100.0
    # Seen in the minute before
    assert times.age(1_105.0) == 5


def test_what_somebody_says_of_a_clock_is_forgotten_and_has_a_limit() -> None:
    """Else one forged event would let those of a node expire for ever."""
    times = Times()
    assert times.age(10**9) < 0
    assert times.age(1_000.0) == 30
    for _ in range(3):
        times.now += 61
        times.age(times.now)
    assert times.age(times.now) == 0


def test_of_clocks_that_are_right_nothing_is_kept_and_of_others_a_thousand() -> None:
    times = Times()
    for number in range(1_100):
        times.age(999.0, f"right {number}")
    assert len(times.mesh._ahead._seen) == 0
    for number in range(1_100):
        times.age(1_001.0, f"ahead {number}")
    assert len(times.mesh._ahead._seen) == 1_000


def test_threads_that_hear_of_more_clocks_than_are_kept_do_not_end_each_other() -> None:
    times, errors = Times(), list[BaseException]()

    def hear(first: int) -> None:
        try:
            for number in range(first, first + 10_000):
                times.age(1_001.0, f"ahead {number}")
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=hear, args=(place * 5_000,)) for place in range(4)]
    try:
        for each in threads:
            each.start()
        for each in threads:
            each.join(30)
    finally:
        sys.setswitchinterval(before)
    assert errors == []
