"""What an event says of those before it: whoever hears what, hears it once, in order, and all."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miros_mesh.address import Hearing, direct_topic, hears, is_direct
from miros_mesh.networks.order import routes as bounds
from miros_mesh.networks.order.ranges import Range
from miros_mesh.networks.order.routes import Routes, others_before
from miros_mesh.networks.order.streams import Admission, Stream
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import (
    MAX_ROUTES,
    MAX_ROUTES_BYTES,
    Envelope,
    RoutedEnvelope,
    TracedEnvelope,
)
from miros_mesh.wire.envelope import kept as kept_for_repair
from miros_mesh.wire.keyring import KeyRing, generate_key

X, Y = direct_topic("there", "x"), direct_topic("there", "y")
DESTINATIONS = ("a", "a.b", "b", "c.d", X, Y)
# What charts hear: topics, all of some, and each its own address, or that alone.
HEARERS = (("a", X), ("a.#", "b", Y), ("#", X), (Y,), ("c.*",), ("none",))
WINDOW = 1_000
NEW, DUPLICATE, STALE = Admission.NEW, Admission.DUPLICATE, Admission.STALE
codec = Codec(
    "mesh",
    KeyRing([generate_key()]),
    Envelope,
    max_frame_bytes=100_000,
    extended=(TracedEnvelope, RoutedEnvelope),
)

destinations = st.lists(st.sampled_from(DESTINATIONS), min_size=1, max_size=60)


def event(number: int, chart: str = "sender") -> Envelope:
    return Envelope("here", chart, "0", number, "ping", b"\xc0", 0.0)


def sent(to: Iterable[str], chart: str = "sender") -> list[tuple[str, Envelope]]:
    """What a chart sends there, each with its destination, as it comes out of a frame."""
    routes, said = Routes(), list[tuple[str, Envelope]]()
    for number, destination in enumerate(to, 1):
        made = event(number, chart)
        if routes.last_to.get(chart) != destination:
            made = routes.routed(made, destination)
            routes.sent(made, destination)
        said.append((destination, made))
    return said


def said_of(events: list[tuple[str, Envelope]]) -> list[tuple[int, tuple[tuple[str, int], ...]]]:
    """What each of them says: base and routes; of one that says nothing its own number."""
    return [
        (each.base, each.routes)
        if isinstance(each, RoutedEnvelope) and each.base is not None
        else (each.sequence, ())
        for _, each in events
    ]


class Receiver:
    """One chart's place behind a queue of what it hears."""

    def __init__(self, *patterns: str) -> None:
        self.patterns = patterns
        self.stream: Stream[int] = Stream(1, WINDOW)
        self.given: list[int] = []

    def hears(self, destination: str) -> bool:
        return hears(self.patterns, destination)

    def get(self, *events: Envelope) -> list[Admission]:
        told = []
        for each in events:
            number, others = each.sequence, None
            if isinstance(each, RoutedEnvelope):
                others = others_before(each, self.hears)
            admission, items = self.stream.admit(number, number, 0.0, others=others)
            self.given += items
            told.append(admission)
        return told

    @property
    def missing(self) -> set[int]:
        return {number for first, last in self.stream.holes() for number in range(first, last + 1)}


def test_the_events_of_the_table_say_what_it_says() -> None:
    assert said_of(sent(["a", "a", "b", X, "b", "a"])) == [
        (1, ()),
        (2, ()),
        (0, (("a", 2),)),
        (0, (("b", 3), ("a", 2))),
        (3, ((X, 4),)),
        (2, (("b", 5), (X, 4))),
    ]


def test_what_goes_to_one_topic_alone_says_nothing_and_stays_as_it_is() -> None:
    assert [type(each) for _, each in sent(["a"] * 5)] == [Envelope] * 5
    assert [codec.encode(each) for _, each in sent(["a"] * 2)] == [
        codec.encode(event(1)),
        codec.encode(event(2)),
    ]


def test_an_event_for_one_chart_does_not_name_those_to_whom_others_went() -> None:
    *_, (_, last) = sent([X, "a", X, Y])
    assert isinstance(last, RoutedEnvelope)
    assert last.routes == (("a", 2),)


def test_charts_of_one_node_have_numbers_and_routes_of_their_own() -> None:
    routes = Routes()
    for chart, to in (("one", "a"), ("two", "b")):
        routes.sent(event(1, chart), to)
    assert routes.last_to == {"one": "a", "two": "b"}
    assert said_of([("a", routes.routed(event(2, "two"), "a"))]) == [(0, (("b", 1),))]


@given(destinations, st.sampled_from(HEARERS))
def test_who_hears_some_of_it_hears_all_of_that_in_order_and_waits_for_nothing(
    to: list[str], patterns: tuple[str, ...]
) -> None:
    receiver = Receiver(*patterns)
    for_it = [each for destination, each in sent(to) if receiver.hears(destination)]

    admissions = receiver.get(*for_it)

    assert admissions == [Admission.NEW] * len(for_it)
    numbers = [each.sequence for each in for_it]
    # The first it hears begins the stream; what is before that may have been for it, and lost.
    if not receiver.missing:
        assert receiver.given == numbers


@given(destinations, st.sampled_from(HEARERS), st.data())
def test_in_any_order_with_copies_and_losses_it_waits_for_what_was_lost_of_that_and_no_more(
    to: list[str], patterns: tuple[str, ...], data: st.DataObject
) -> None:
    receiver = Receiver(*patterns)
    for_it = [each for destination, each in sent(to) if receiver.hears(destination)]
    kept = [each for each in for_it if data.draw(st.booleans())]
    copies = data.draw(st.lists(st.sampled_from(kept), max_size=5)) if kept else []
    came = data.draw(st.permutations([*kept, *copies]))

    admissions = receiver.get(*came)

    numbers, lost = [each.sequence for each in for_it], {each.sequence for each in for_it}
    lost -= {each.sequence for each in kept}
    assert admissions.count(Admission.NEW) == len(kept)
    last = max((each.sequence for each in kept), default=0)
    # What was before one that was lost, that one would have said
    assert receiver.missing & set(numbers) == {number for number in lost if number < last}
    first_missing = min(receiver.missing, default=last + 1)
    assert receiver.given == [number for number in numbers if number < first_missing]
    if not lost:
        assert receiver.missing == set()
    # Then repair tells, whose answers say nothing of those before
    for each in for_it:
        if each.sequence in receiver.missing:
            receiver.get(kept_for_repair(each))
    receiver.given += receiver.stream.others(receiver.stream.holes()).items
    assert receiver.given == [number for number in numbers if number <= last]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=150), st.integers(0, 60), st.booleans())
def test_where_an_event_has_no_room_to_say_it_all_the_rest_has_to_be_asked_for(
    to: list[int], own: int, direct: bool
) -> None:
    def destination(number: int) -> str:
        return f"topic.{number}" if not direct or number % 2 else direct_topic("n", str(number))

    receiver = Receiver(destination(own))
    all_sent = sent(map(destination, to))
    for_others = [(n, n) for n, (where, _) in enumerate(all_sent, 1) if not receiver.hears(where)]
    for_it = [each for where, each in all_sent if receiver.hears(where)]

    for each in for_it:
        receiver.get(each)
        # What repair says
        receiver.given += receiver.stream.others(for_others).items

    assert receiver.given == [each.sequence for each in for_it]
    assert receiver.missing == set()


def test_what_an_event_says_of_others_is_bounded() -> None:
    many = sent(f"topic.{number}" for number in range(MAX_ROUTES + 10))
    (_, last) = many[-1]
    assert isinstance(last, RoutedEnvelope)
    assert len(last.routes) == MAX_ROUTES
    assert last.base == len(many) - 1 - MAX_ROUTES

    long = sent(f"{'x' * 200}.{number}" for number in range(30))
    (_, last) = long[-1]
    assert isinstance(last, RoutedEnvelope)
    size_bytes = sum(len(name.encode()) for name, _ in last.routes)
    assert MAX_ROUTES_BYTES - 250 < size_bytes <= MAX_ROUTES_BYTES
    assert last.base == 29 - len(last.routes)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=80), st.integers(0, 12))
def test_who_hears_a_destination_that_was_forgotten_has_to_ask(to: list[int], own: int) -> None:
    """Of it nothing is said, and never that something was for others which was not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "MOST_DESTINATIONS", 3)
        names = [f"t{each}" if each % 3 else direct_topic("n", f"t{each}") for each in range(13)]
        all_sent = sent(names[each] for each in to)
    receiver = Receiver(names[own], "t1", "t2")
    for destination, each in all_sent:
        left_out = None
        if isinstance(each, RoutedEnvelope) and receiver.hears(destination):
            left_out = others_before(each, receiver.hears)
        for number in range(left_out[0], left_out[1] + 1) if left_out else ():
            where, _ = all_sent[number - 1]
            assert not receiver.hears(where)


def test_no_more_destinations_are_remembered_than_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "MOST_DESTINATIONS", 3)
    routes = Routes()
    for number in range(1, 9):
        routes.sent(
            event(number), f"topic.{number}" if number % 2 else direct_topic("n", str(number))
        )

    recent = routes.recent("sender", 8, 100)
    assert [each for each in recent if not is_direct(each)] == ["topic.7", "topic.5", "topic.3"]
    assert len(recent) == 6
    # The first topic and the first address are forgotten: 1 and 2
    known = routes.destinations("sender", 8)
    assert known.last_for(Hearing(["topic.1"])) == 2
    assert known.last_for(Hearing(["topic.5"])) == 5
    assert known.last_for(Hearing(["topic.#"])) == 7
    assert routes.destinations("nobody", 0).last_for(Hearing("#")) == 0


def test_the_most_recent_destinations_come_first() -> None:
    routes = Routes()
    for number, to in enumerate(("a", X, "b", "a"), 1):
        routes.sent(event(number), to)
    assert routes.recent("sender", 4, 2) == ["a", "b"]
    assert routes.recent("sender", 4, 9) == ["a", "b", X]
    assert routes.recent("nobody", 0, 9) == []


# What one who has the key says


forged_ranges = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 90)), max_size=30)


@given(st.lists(st.integers(1, 40), max_size=40, unique=True), forged_ranges, st.integers(1, 80))
def test_what_was_said_to_be_for_others_and_comes_after_all_is_new(
    came: list[int], forged: list[Range], window: int
) -> None:
    """Nothing that a sender says is taken for a copy because of what was said in its name."""
    stream: Stream[int] = Stream(1, window)
    said = [(first + more + 1, (first, first + more)) for first, more in forged]
    heard, given = set[int](), list[int]()
    for number, others in chain(*zip(said, ((each, None) for each in came), strict=False)):
        admission, items = stream.admit(number, number, 0.0, others=others)
        assert admission in (*((NEW,) if number not in heard else (DUPLICATE,)), STALE)
        if admission is NEW:
            heard.add(number)
        given += items
    given += stream.expire(1.0).items

    assert not stream.waits
    assert sorted(given) == sorted(heard)


def test_a_sender_is_heard_on_whatever_is_said_in_its_name() -> None:
    stream: Stream[int] = Stream(1, WINDOW)
    given = [*stream.admit(1, 1, 0.0)[1]]
    for far in range(1_000, 100_000, 1_000):
        given += stream.admit(far, 0, 0.0, others=(2, far - 1))[1]

    for number in range(2, 1_000):
        given += stream.admit(number, number, 0.0)[1]

    assert [each for each in given if each] == list(range(1, 1_000))


def test_what_is_said_to_be_for_others_far_ahead_moves_nothing() -> None:
    stream: Stream[int] = Stream(1, WINDOW)
    stream.admit(1, 1, 0.0)

    assert stream.admit(2**62, 0, 0.0, others=(2, 2**62 - 1)) == (Admission.JUMP, ())

    assert stream.admit(2, 2, 0.0) == (Admission.NEW, (2,))


def test_very_many_at_once_that_were_for_others_are_not_called_handled() -> None:
    """The next process of a name would drop them, should somebody have made that up."""
    stream: Stream[int] = Stream(1, WINDOW)
    stream.admit(1, 1, 0.0)
    stream.admit(10, 10, 0.0, others=(2, 9))
    assert stream.passed == 10
    stream.admit(10 * WINDOW, 0, 0.0, others=(11, 10 * WINDOW - 1))
    assert stream.passed == 10


def test_a_sender_with_two_destinations_takes_little_memory() -> None:
    stream: Stream[int] = Stream(1, WINDOW)
    for number in range(1, 100_000, 2):
        stream.admit(number, number, 0.0, others=(number - 1, number - 1) if number > 1 else None)
    assert len(stream._lost) == 0
    assert stream._left_out.bit_length() <= 2 * WINDOW
    # And what came is a copy, what did not is not, as far as the window reaches
    last = 99_999
    assert stream.admit(last - 500, 0, 0.0)[0] is Admission.DUPLICATE
    assert stream.admit(last - 501, 0, 0.0)[0] is Admission.NEW
    assert stream.admit(last - 501, 0, 0.0)[0] is Admission.DUPLICATE


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 400))
def test_what_was_left_out_is_known_too_when_the_stream_goes_far_ahead(
    steps: list[int], window: int
) -> None:
    """Numbers that were left out a few at a time, of which the window would know no more."""
    stream: Stream[int] = Stream(1, window)
    stream.admit(1, 1, 0.0)
    left_out, number = set[int](), 1
    for step in steps:
        left_out |= set(range(max(number + 1, 2), number + step))
        others = (number + 1, number + step - 1) if step > 1 else None
        number += step
        assert stream.admit(number, number, 0.0, others=others)[0] is NEW
    known = {each for each in left_out if each > number - window}
    stream.admit(number + 10_000, 0, 0.0, others=(number + 1, number + 9_999))

    for each in sorted(known):
        assert stream.admit(each, each, 0.0) == (NEW, (each,))
