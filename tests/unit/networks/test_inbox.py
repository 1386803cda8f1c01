"""What arrives for one chart: fed in order while there is room, acknowledged once handled."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.inbox import Inbox, Sharing
from miros_mesh.networks.mesh import BEAT, GOODBYE, HELLO, Mesh
from miros_mesh.networks.order.doubts import MAX_OF_SILENT
from miros_mesh.observer import Observer
from miros_mesh.wire.envelope import RESERVED_PREFIX, SENT_AGAIN, kept
from miros_mesh.wire.identity import Identity
from support.ports_in_hand import TOPIC, Handed
from support.sealed import OURS, PLACE, THEIRS, LetterShelf, envelope, frame_of, mesh


class Chart:
    """A chart with a FIFO of so many places, and its inbox. Nothing runs until told to."""

    def __init__(
        self,
        places: int = 100,
        observer: Observer | None = None,
        *,
        sharing: Sharing | None = None,
        ours: Mesh | None = None,
        kind: type[Inbox] = Inbox,
    ) -> None:
        self.places = places
        self.fifo: list[Arrival] = []
        self.handled: list[str] = []
        self.home = LetterShelf(observer)
        self.inbox = kind(
            ours or mesh(observer),
            PLACE,
            self.home.letters,
            room=lambda: self.places - len(self.fifo),
            post=self.post,
            sharing=sharing,
        )

    def post(self, arrival: Arrival) -> None:
        self.fifo.append(arrival)

    def receive(self, *sequences: int, **facts: Any) -> Handed:
        """One frame with these numbers."""
        delivery = Handed(frame_of(*(envelope(number, **facts) for number in sequences)))
        self.inbox.receive(delivery)
        return delivery

    def handle(self, count: int = 1) -> None:
        """Run so many events to completion."""
        for _ in range(count):
            arrival = self.fifo.pop(0)
            self.handled.append(arrival.envelope.id)
            self.inbox.finished(arrival)
            self.inbox.feed()

    @property
    def waiting(self) -> list[int]:
        return [arrival.envelope.sequence for arrival in self.fifo]


class Notes(Observer):
    """What an inbox tells."""

    def __init__(self) -> None:
        self.drops: list[str] = []
        self.gaps: list[tuple[str, int]] = []
        self.left: list[tuple[str, str]] = []
        self.aside: list[tuple[str, str]] = []

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self.drops += [reason] * events

    def set_aside(self, *, chart: str, reason: str) -> None:
        self.aside.append((chart, reason))

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.gaps.append((sender, missing))

    def chart_left(self, *, node: str, chart: str) -> None:
        self.left.append((node, chart))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def chart(notes: Notes) -> Chart:
    """A chart that has started."""
    started = Chart(observer=notes)
    started.inbox.open()
    return started


# Feeding


def test_events_enter_the_fifo_in_order_with_their_payloads(chart: Chart) -> None:
    chart.receive(1, 2, payload={"a": [1]})
    chart.receive(3)

    assert chart.waiting == [1, 2, 3]
    assert [arrival.payload for arrival in chart.fifo] == [{"a": [1]}, {"a": [1]}, None]


def test_nothing_enters_before_the_chart_has_started() -> None:
    chart = Chart()
    chart.receive(1)
    assert chart.waiting == []

    chart.inbox.open()

    assert chart.waiting == [1]


def test_no_more_enters_than_the_fifo_has_room_for() -> None:
    chart = Chart(places=2)
    chart.inbox.open()

    chart.receive(1, 2, 3, 4, 5)
    assert chart.waiting == [1, 2]

    chart.handle(1)
    assert chart.waiting == [2, 3]
    chart.places = 0
    chart.handle(2)
    assert chart.waiting == []
    chart.places = 9
    chart.receive(6)
    assert chart.waiting == [4, 5, 6]


def test_nothing_enters_after_the_chart_has_stopped() -> None:
    chart = Chart(places=1)
    chart.inbox.open()
    first, second = chart.receive(1), chart.receive(2)

    chart.inbox.close()
    late = chart.receive(3)
    chart.handle(1)

    assert chart.waiting == []
    assert [delivery.acks for delivery in (first, second, late)] == [1, 0, 0]


# Acknowledging


def test_a_frame_is_acknowledged_when_the_last_of_its_events_was_handled(chart: Chart) -> None:
    delivery = chart.receive(1, 2, 3)

    chart.handle(2)
    assert delivery.acks == 0

    chart.handle(1)
    assert (delivery.acks, delivery.rejects) == (1, 0)


def test_an_event_that_is_finished_twice_counts_once(chart: Chart) -> None:
    delivery = chart.receive(1, 2)
    first = chart.fifo[0]

    chart.handle(1)
    chart.inbox.finished(first)
    assert delivery.acks == 0

    chart.handle(1)
    chart.inbox.finished(first)
    assert delivery.acks == 1


def test_a_copy_of_a_handled_event_is_dropped_and_acknowledged(chart: Chart, notes: Notes) -> None:
    chart.receive(1)
    chart.handle()

    copy = chart.receive(1)

    assert chart.waiting == []
    assert copy.acks == 1
    assert notes.drops == ["duplicate"]


def again(sequence: int) -> Handed:
    """One frame with an event that is put back, since a broker said that it refused it."""
    old = envelope(sequence)
    new = replace(old, incarnation=f"{SENT_AGAIN}1a2b", sequence=1, cause=old.id)
    return Handed(frame_of(new))


def test_what_a_broker_had_stored_before_it_refused_it_is_a_copy_when_it_is_put_back(
    chart: Chart, notes: Notes
) -> None:
    first = chart.receive(1, 2)
    chart.handle(1)
    handled, unfinished = again(1), again(2)

    chart.inbox.receive(handled)
    chart.inbox.receive(unfinished)

    assert chart.waiting == [2]
    assert notes.drops == ["duplicate"] * 2
    assert (handled.acks, unfinished.acks, first.acks) == (1, 0, 0)
    chart.handle(1)
    assert (unfinished.acks, first.acks) == (1, 1)


@pytest.mark.parametrize("come", [(), (1, 3)])
def test_what_a_broker_had_refused_is_handled_when_it_is_put_back(
    come: tuple[int, ...], chart: Chart, notes: Notes
) -> None:
    for number in come:
        chart.receive(number)
    chart.inbox.skip((THEIRS.incarnation, "talker"), [(2, 2)])
    back = again(2)

    chart.inbox.receive(back)

    assert chart.fifo[-1].envelope.cause == envelope(2).id
    chart.handle(len(chart.fifo))
    assert back.acks == 1
    assert notes.drops == []


def test_a_copy_of_an_unfinished_event_is_acknowledged_only_with_the_first(chart: Chart) -> None:
    """The first delivery's channel may be gone: then only the copy keeps the event alive."""
    first = chart.receive(1, 2)
    copy = chart.receive(1, 2)
    assert chart.waiting == [1, 2]

    chart.handle(1)
    assert (first.acks, copy.acks) == (0, 0)

    chart.handle(1)
    assert (first.acks, copy.acks) == (1, 1)


def test_a_copy_of_an_event_that_waits_for_room_is_not_acknowledged_either() -> None:
    chart = Chart(places=0)
    chart.inbox.open()

    deliveries = [chart.receive(1) for _ in range(3)]
    assert [delivery.acks for delivery in deliveries] == [0, 0, 0]

    chart.places = 1
    chart.inbox.feed()
    chart.handle(1)
    assert [delivery.acks for delivery in deliveries] == [1, 1, 1]


def test_a_frame_of_old_and_new_events_gives_the_new_ones(chart: Chart) -> None:
    chart.receive(1, 2)
    chart.handle(2)

    mixed = chart.receive(2, 3)

    assert chart.waiting == [3]
    assert mixed.acks == 0
    chart.handle(1)
    assert mixed.acks == 1


def test_an_event_from_before_the_window_is_set_aside_as_stale(
    chart: Chart, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    chart.receive(100, sent_at=1_000.0)

    old = chart.receive(1)

    assert chart.waiting == [100]
    assert notes.drops == ["stale"]
    # It is a dead letter, and acknowledged when that is stored
    (letter,) = chart.home.kept
    assert letter.event
    assert (letter.reason, kept(letter.event)) == ("stale", envelope(1))
    assert "1 time(s): ping (the1rs/talker/1) from there/talker is a dead letter" in caplog.text
    assert old.acks == 0
    chart.home.confirm()
    assert (old.acks, old.rejects) == (1, 0)


def test_a_second_copy_of_a_stale_event_adds_no_letter(chart: Chart) -> None:
    chart.receive(100, sent_at=1_000.0)
    copies = chart.receive(1), chart.receive(1)

    assert len(chart.home.kept) == 1
    chart.home.confirm()
    assert [copy.acks for copy in copies] == [1, 1]


# What never reaches the chart


def test_an_echo_is_dropped_and_acknowledged_without_a_word(chart: Chart, notes: Notes) -> None:
    echo = chart.receive(1, sender=OURS, chart="listener")

    assert chart.waiting == []
    assert echo.acks == 1
    assert notes.drops == []


def test_another_chart_of_the_same_node_is_no_echo(chart: Chart) -> None:
    chart.receive(1, sender=OURS, chart="neighbour")

    assert chart.waiting == [1]


def test_a_chart_of_the_same_name_on_another_node_is_no_echo(chart: Chart) -> None:
    chart.receive(1, chart="listener")

    assert chart.waiting == [1]


def test_a_goodbye_is_told_and_acknowledged_and_no_event(chart: Chart, notes: Notes) -> None:
    goodbye = chart.receive(1, signal=GOODBYE)

    assert chart.waiting == []
    assert goodbye.acks == 1
    assert notes.left == [("there", "talker")]


def test_a_control_signal_of_a_later_version_reaches_no_chart(chart: Chart, notes: Notes) -> None:
    unknown = chart.receive(1, signal=RESERVED_PREFIX + "of_tomorrow")

    assert chart.waiting == []
    assert unknown.acks == 1
    assert notes.left == []


def test_a_payload_that_cannot_be_read_is_set_aside_alone(
    chart: Chart, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    secret = b"\xc1 not msgpack"
    bad = envelope(2)
    bad = type(bad)(bad.node, bad.chart, bad.incarnation, 2, "ping", secret, 0.0)
    delivery = Handed(frame_of(envelope(1), bad, envelope(3)))

    chart.inbox.receive(delivery)
    chart.handle(2)

    assert [text.rsplit("/", 1)[1] for text in chart.handled] == ["1", "3"]
    assert notes.drops == ["payload"]
    assert notes.aside == [("listener", "payload")]
    (letter,) = chart.home.kept
    assert letter.event
    assert (letter.queue, kept(letter.event)) == (PLACE.queue, bad)
    assert delivery.acks == 0
    chart.home.confirm()
    assert (delivery.acks, delivery.rejects) == (1, 0)
    assert "not msgpack" not in caplog.text


def test_a_frame_that_cannot_be_opened_is_set_aside_as_it_came(chart: Chart, notes: Notes) -> None:
    rubbish = Handed(b"\x01 rubbish")

    chart.inbox.receive(rubbish)

    assert notes.drops == ["undecryptable"]
    (letter,) = chart.home.kept
    assert (letter.reason, letter.event, letter.frame) == ("undecryptable", None, rubbish.body)
    assert rubbish.acks == 0
    chart.home.confirm()
    assert (rubbish.acks, rubbish.rejects) == (1, 0)


# What is missing


def test_events_wait_for_an_earlier_one_that_is_missing(chart: Chart, notes: Notes) -> None:
    chart.receive(1)
    late = chart.receive(5)
    assert chart.waiting == [1]
    assert chart.inbox.holes() == {(THEIRS.incarnation, "talker"): [(2, 4)]}

    chart.receive(3, 4)
    chart.receive(2)

    assert chart.waiting == [1, 2, 3, 4, 5]
    chart.handle(5)
    assert late.acks == 1
    assert notes.gaps == []


def test_whoever_looks_after_missing_events_is_told(notes: Notes) -> None:
    told: list[None] = []
    inbox = Inbox(
        mesh(notes),
        PLACE,
        LetterShelf().letters,
        room=lambda: 9,
        post=lambda arrival: None,
        missed=lambda: told.append(None),
    )
    inbox.open()

    for number in (1, 2, 4, 3):
        inbox.receive(Handed(frame_of(envelope(number))))

    assert len(told) == 1


def test_what_never_comes_is_told_with_its_sender(chart: Chart, notes: Notes) -> None:
    chart.receive(1)
    chart.receive(5)
    chart.inbox.expire(0)
    assert chart.waiting == [1]

    chart.inbox.expire(math.inf)

    assert chart.waiting == [1, 5]
    assert notes.gaps == [("talker", 3)]


def test_what_the_sender_has_no_more_is_not_waited_for(chart: Chart, notes: Notes) -> None:
    chart.receive(1)
    chart.receive(5)

    chart.inbox.skip((THEIRS.incarnation, "talker"), [(1, 3)])
    assert (chart.waiting, notes.gaps) == ([1], [("talker", 2)])

    chart.receive(4)
    assert chart.waiting == [1, 4, 5]


def test_what_was_asked_for_fills_the_hole_and_nothing_else_gets_in(
    chart: Chart, notes: Notes
) -> None:
    chart.receive(1)
    delivery = chart.receive(4)
    asked = [("key", envelope(number)) for number in (1, 2, 3, 4)]

    assert chart.inbox.repair([*asked, ("key", envelope(7, chart="stranger"))]) == 2

    assert chart.waiting == [1, 2, 3, 4]
    chart.handle(4)
    assert delivery.acks == 1
    assert (notes.gaps, notes.drops) == ([], [])


def test_a_copy_of_an_event_that_waits_for_an_earlier_one_keeps_both_frames(chart: Chart) -> None:
    chart.receive(1)
    frames = [chart.receive(3), chart.receive(3)]
    chart.handle()
    chart.receive(2)
    chart.handle()
    assert [frame.acks for frame in frames] == [0, 0]

    chart.handle()

    assert [frame.acks for frame in frames] == [1, 1]


def test_a_goodbye_waits_for_its_turn(chart: Chart, notes: Notes) -> None:
    chart.receive(1)
    chart.receive(3, signal=GOODBYE)
    assert notes.left == []

    chart.receive(2)

    assert notes.left == [("there", "talker")]


def test_a_beat_tells_of_what_is_missing_before_it(chart: Chart) -> None:
    chart.receive(1)
    beat = chart.receive(4, signal=BEAT)

    assert chart.inbox.holes() == {(THEIRS.incarnation, "talker"): [(2, 3)]}
    chart.inbox.repair([("key", envelope(2)), ("key", envelope(3))])

    assert chart.waiting == [1, 2, 3]
    assert beat.acks == 1


# The end


def test_at_the_end_a_begun_frame_is_fed_to_its_last_event_and_no_other_begins() -> None:
    chart, fed = Chart(places=1), list[None]()
    chart.inbox.open()
    begun, other = chart.receive(1, 2), chart.receive(3, 4)

    chart.inbox.finish(lambda: fed.append(None))
    assert fed == []
    chart.handle(1)
    chart.handle(1)

    assert (fed, chart.waiting) == ([None], [])
    assert (begun.acks, other.acks) == (1, 0)
    assert chart.inbox.close() == 2


def test_the_end_waits_for_the_rest_of_a_frame_that_is_begun_while_it_comes_in(
    chart: Chart, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[int]] = []

    def amid_the_frame(**_: object) -> None:
        chart.inbox.feed()
        chart.inbox.finish(lambda: told.append(chart.waiting))

    # The copy in the middle is told of while the frame is taken apart
    monkeypatch.setattr(notes, "dropped", amid_the_frame)
    delivery = chart.receive(1, 1, 2)

    assert told == [[1, 2]]
    chart.handle(2)
    assert delivery.acks == 1


def test_at_the_end_what_came_by_repair_is_fed_too_since_no_broker_has_it() -> None:
    chart = Chart(places=1)
    chart.inbox.open()
    chart.receive(1)
    chart.receive(4)
    chart.inbox.repair([("key", envelope(2)), ("key", envelope(3))])

    chart.inbox.finish(lambda: None)
    chart.handle(3)

    assert [text.rsplit("/", 1)[1] for text in chart.handled] == ["1", "2", "3"]


def test_what_comes_at_the_end_begins_no_frame(chart: Chart) -> None:
    chart.receive(1)
    held = chart.receive(3, 4)
    chart.inbox.finish(lambda: None)

    chart.inbox.expire(math.inf)
    late = chart.receive(5)

    assert chart.waiting == [1]
    assert (held.acks, late.acks) == (0, 0)


def test_a_callback_that_takes_its_time_holds_up_nobody_else() -> None:
    entered, leave = threading.Event(), threading.Event()

    def post(arrival: Arrival) -> None:
        entered.set()
        leave.wait(10)

    inbox = Inbox(mesh(), PLACE, LetterShelf().letters, room=lambda: 9, post=post)
    inbox.open()
    delivery = Handed(frame_of(envelope(1), envelope(2)))
    slow = threading.Thread(target=inbox.receive, args=(delivery,))
    slow.start()
    assert entered.wait(10)

    assert inbox.holes() == {}
    inbox.finish(lambda: None)
    assert inbox.close() == 2

    leave.set()
    slow.join(10)
    assert not slow.is_alive()


# All of it together


steps = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), st.lists(st.integers(1, 12), min_size=1, max_size=4)),
        st.tuples(st.just("handle"), st.just([1])),
        st.tuples(st.just("expire"), st.just([1])),
        st.tuples(st.just("places"), st.lists(st.integers(0, 5), min_size=1, max_size=1)),
    ),
    min_size=10,
    max_size=60,
)


@given(steps)
def test_whatever_comes_twice_each_event_is_handled_once_before_any_of_its_frames_is_acknowledged(
    moves: list[tuple[str, list[int]]],
) -> None:
    chart = Chart(places=2)
    chart.inbox.open()
    frames: list[tuple[set[int], Handed]] = []

    def check() -> None:
        handled = [int(text.rsplit("/", 1)[1]) for text in chart.handled]
        assert len(handled) == len(set(handled))
        assert all(delivery.acks == (numbers <= set(handled)) for numbers, delivery in frames)

    for move, arguments in moves:
        if move == "receive":
            frames.append((set(arguments), chart.receive(*arguments)))
        elif move == "places":
            chart.places = arguments[0]
            chart.inbox.feed()
        elif move == "expire":
            chart.inbox.expire(math.inf)
        elif chart.fifo:
            chart.handle()
        check()

    chart.places = 100
    chart.inbox.expire(math.inf)
    chart.handle(len(chart.fifo))
    check()
    assert all(delivery.acks == 1 and not delivery.rejects for _, delivery in frames)


class OneByOne(Inbox):
    """An inbox that asks for each event what there is to ask."""

    def _is_in_turn(self, run: object) -> bool:
        return False


frames = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["talker", "other", "listener"]),
            st.integers(1, 8),
            st.sampled_from(["ping", "ping", "ping", BEAT]),
            st.sampled_from([OURS, THEIRS, THEIRS]),
        ),
        min_size=1,
        max_size=6,
    ),
    max_size=8,
)


@given(frames, st.integers(1, 4))
def test_frames_that_are_taken_as_a_whole_are_taken_as_event_by_event(
    given_frames: list[list[tuple[str, int, str, Identity]]], places: int
) -> None:
    charts = [Chart(places), Chart(places, kind=OneByOne)]
    told: list[tuple[list[str], list[int], int]] = []

    for chart in charts:
        chart.inbox.open()
        deliveries = []
        for each in given_frames:
            facts = [
                envelope(number, signal, number, chart=sender, sender=node)
                for sender, number, signal, node in each
            ]
            deliveries.append(Handed(frame_of(*facts)))
            chart.inbox.receive(deliveries[-1])
            if len(chart.fifo) > 1:
                chart.handle()
        chart.inbox.expire(math.inf)
        while chart.fifo:
            chart.handle()
        told.append((chart.handled, [each.acks for each in deliveries], chart.inbox.close()))

    assert told[0] == told[1]


class Crowded(Chart):
    """A chart whose own events take the place of what was posted last, once."""

    crowd_out = True

    def post(self, arrival: Arrival) -> None:
        super().post(arrival)
        if self.crowd_out and len(self.fifo) == 3:
            self.crowd_out = False
            self.places = 2
            self.inbox.take_back(self.fifo.pop())


def test_what_is_taken_back_while_more_are_posted_stays_in_front_of_those() -> None:
    chart = Crowded()
    chart.inbox.open()

    chart.receive(*range(1, 8))

    assert chart.waiting == [1, 2]
    chart.places = 4
    chart.inbox.feed()
    assert chart.waiting == [1, 2, 3, 4]
    chart.handle(7)
    assert chart.handled == [envelope(number).id for number in range(1, 8)]


def test_nothing_that_was_taken_back_or_begun_is_posted_after_the_end() -> None:
    chart = Crowded()
    chart.inbox.open()
    chart.receive(*range(1, 8))

    assert chart.inbox.close() == 7
    chart.places = 100
    chart.inbox.feed()

    assert chart.waiting == [1, 2]


# Several charts of a node


def three_charts() -> list[Chart]:
    ours = mesh()
    charts = [Chart(ours=ours) for _ in range(3)]
    for each in charts:
        each.inbox.open()
    return charts


@pytest.mark.parametrize(
    "payload", [[1, [2]], {"a": {"b": [1]}}, {1, 2}, ([1], "x"), {"when": (b"x", [1.5])}]
)
def test_what_one_chart_makes_of_its_payload_no_other_sees(payload: Any) -> None:
    charts, frame = three_charts(), frame_of(envelope(1, payload=payload))

    got = []
    for chart in charts:
        chart.inbox.receive(Handed(frame))
        got.append(chart.fifo[0].payload)

    assert got == [payload] * 3
    assert not set(map(id, mutables(got[0]))) & set(map(id, mutables(got[1])))
    assert not set(map(id, mutables(got[1]))) & set(map(id, mutables(got[2])))
    assert not set(map(id, mutables(got[0]))) & set(map(id, mutables(got[2])))
    for each in mutables(got[0]):
        each.clear()
    assert got[1:] == [payload] * 2


def mutables(value: Any) -> list[Any]:
    """All that can be changed in a value, from the outside."""
    inner = list(value.values()) if isinstance(value, dict) else value
    parts = inner if isinstance(value, (list, dict, set, tuple)) else ()
    own = [value] if isinstance(value, (list, dict, set)) else []
    return [*own, *(found for part in parts for found in mutables(part))]


@pytest.mark.parametrize("payload", [None, True, 7, 1.5, "text", b"bytes", (1, ("x", None))])
def test_what_nothing_can_change_is_read_once(payload: Any) -> None:
    charts, frame = three_charts(), frame_of(envelope(1, payload=payload))

    for chart in charts:
        chart.inbox.receive(Handed(frame))

    first, *others = [chart.fifo[0].payload for chart in charts]
    assert first == payload
    assert all(each is first for each in others)


def test_a_payload_that_cannot_be_read_is_set_aside_by_each_chart() -> None:
    charts = three_charts()
    frame = frame_of(replace(envelope(1), payload=b"\xc1"), envelope(2))

    for chart in charts:
        chart.inbox.receive(Handed(frame))

    assert [chart.waiting for chart in charts] == [[2]] * 3
    assert [len(chart.home.kept) for chart in charts] == [1] * 3


def test_two_events_of_one_number_in_a_frame_are_never_read_for_one_another() -> None:
    """As who has the key may send them."""
    first, second = three_charts()[:2]
    second.receive(1, payload="before")
    frame = frame_of(
        envelope(2, payload="one"),
        envelope(2, payload="other", chart="third"),
        envelope(2, payload="copy"),
    )

    for chart in (first, second):
        chart.inbox.receive(Handed(frame))

    payloads = [[each.payload for each in chart.fifo] for chart in (first, second)]
    assert payloads == [["one", "other"], ["before", "one", "other"]]


@pytest.mark.parametrize("signal", [HELLO, BEAT])
def test_what_another_node_claims_is_told_and_is_nothing_for_the_chart(
    chart: Chart, signal: str
) -> None:
    claims: list[str] = []
    chart.inbox._mesh.claimed = claims.append
    words = [b"192.168.1.75:5672", b"x" * 301, b"", b"\xff"]

    for number, word in enumerate(words, start=1):
        said = msgspec.structs.replace(envelope(number, signal), payload=word)
        chart.inbox.receive(Handed(frame_of(said)))

    assert claims == ["192.168.1.75:5672", "\ufffd"]
    assert chart.fifo == []


def test_an_own_claim_is_no_news(chart: Chart) -> None:
    claims: list[str] = []
    chart.inbox._mesh.claimed = claims.append

    said = msgspec.structs.replace(envelope(1, HELLO, sender=OURS), payload=b"192.168.1.75:5672")
    chart.inbox.receive(Handed(frame_of(said)))

    assert claims == []


# What somebody sends who has the key


def test_a_number_that_no_sender_can_have_is_a_dead_letter(
    chart: Chart, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    chart.receive(1)

    far = chart.receive(2**62)
    chart.receive(2)

    assert chart.waiting == [1, 2]
    assert notes.drops == ["jump"]
    (letter,) = chart.home.kept
    assert letter.reason == "jump"
    assert f"ping (the1rs/talker/{2**62}) from there/talker is a dead letter" in caplog.text
    chart.home.confirm()
    assert far.acks == 1


def test_a_time_that_has_not_come_yet_makes_no_honest_event_an_old_one(chart: Chart) -> None:
    """The times of a sender tell what is older than the chart."""
    now = time.time()
    chart.receive(10, sent_at=now + 1e9)

    # As one that the sender sends a minute later by its clock
    chart.receive(5, sent_at=now + 60)

    assert chart.waiting == [10, 5]


def test_frames_in_doubt_that_are_too_many_are_counted_and_told(
    monkeypatch: pytest.MonkeyPatch, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("miros_mesh.networks.order.doubts.MAX_WAITING", 2)
    # Sealed before the chart listens
    frames = [frame_of(envelope(number)) for number in (1, 2, 3)]
    chart = Chart(observer=notes)
    chart.inbox.open()

    for frame in frames:
        chart.inbox.receive(Handed(frame))

    assert notes.drops == ["old"]
    assert "node there: a frame was sealed shortly before its receiver listened" in caplog.text
    assert [letter.reason for letter in chart.home.kept] == ["old"]


def test_copies_of_a_frame_in_doubt_hold_up_no_others(notes: Notes) -> None:
    """What waits is not acknowledged, and a broker gives only so much ahead."""
    body = frame_of(envelope(1))
    chart = Chart(observer=notes)
    chart.inbox.open()

    copies = [Handed(body) for _ in range(5)]
    for copy in copies:
        chart.inbox.receive(copy)

    assert [copy.acks for copy in copies] == [1, 1, 1, 1, 0]
    assert notes.drops == ["duplicate"] * 4
    marks = chart.inbox.doubts(1.0, 10)[THEIRS.incarnation]
    chart.inbox.vouched(THEIRS.incarnation, 1.0, dict.fromkeys(marks, 0.0))
    assert chart.waiting == [1]


def test_of_a_sender_that_did_not_answer_few_frames_wait_until_it_does(notes: Notes) -> None:
    frames = [frame_of(envelope(number)) for number in range(1, 41)]
    chart = Chart(observer=notes)
    chart.inbox.open()

    def receive(first: int, last: int) -> None:
        for frame in frames[first:last]:
            chart.inbox.receive(Handed(frame))

    receive(0, 1)
    chart.inbox.doubt_no_longer(time.monotonic() + 1)
    receive(1, 21)
    assert notes.drops == ["old"] * (20 - MAX_OF_SILENT)

    chart.inbox.doubts(1.0, 100)
    chart.inbox.vouched(THEIRS.incarnation, 1.0, {})
    notes.drops.clear()
    receive(21, 40)
    assert notes.drops == []


def test_senders_that_are_forgotten_are_told_of(
    chart: Chart, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("miros_mesh.networks.order.streams.MAX_SENDERS_OF_A_NODE", 5)

    for number in range(10):
        chart.receive(1, sender=Identity("there", f"made up {number}"))

    assert len(chart.waiting) == 10
    assert "those that were silent for longest are forgotten" in caplog.text


# A queue that others consume, too

STANDBY, SHARE = Sharing(ordered=True, max_deliveries=3), Sharing(ordered=False, max_deliveries=3)
sharings = pytest.mark.parametrize("sharing", [STANDBY, SHARE])


def taking_part(sharing: Sharing, places: int = 100) -> Chart:
    chart = Chart(places, sharing=sharing)
    chart.inbox.open()
    return chart


@sharings
def test_what_a_member_has_sent_to_its_group_is_no_echo(sharing: Sharing) -> None:
    chart = taking_part(sharing)

    delivery = chart.receive(1, 2, sender=OURS, chart=PLACE.chart)

    assert chart.waiting == [1, 2]
    chart.handle(2)
    assert delivery.acks == 1


def test_where_each_gets_some_no_number_is_waited_for() -> None:
    chart = taking_part(SHARE)

    chart.receive(7)
    chart.receive(3)

    assert chart.waiting == [7, 3]
    assert chart.inbox.holes() == {}


@sharings
def test_what_was_not_begun_is_let_go_when_the_connection_is_lost(sharing: Sharing) -> None:
    # Given a frame that is begun, one that waits, and room for one event
    chart = taking_part(sharing, places=1)
    begun, waiting = chart.receive(1, 2), chart.receive(3)

    # When the connection is lost, and others get what waited
    chart.inbox.begin_anew()

    # Then the frame that was begun is handled to its end, and no other
    chart.handle(2)
    assert (begun.acks, waiting.acks) == (1, 0)
    assert chart.waiting == []
    # And what comes now is taken, whatever its number; what was handled is known
    copy = chart.receive(1, 2)
    assert copy.acks == 1
    chart.receive(9)
    assert chart.waiting == [9]


@sharings
def test_what_was_let_go_is_taken_when_it_comes_here(sharing: Sharing) -> None:
    chart = taking_part(sharing, places=0)
    chart.receive(1)
    chart.inbox.begin_anew()
    chart.places = 100

    again = chart.receive(1)

    assert chart.waiting == [1]
    chart.handle()
    assert again.acks == 1


def test_what_is_asked_for_again_may_have_been_handled_by_others() -> None:
    chart, alone = taking_part(STANDBY), Chart()
    alone.inbox.open()
    for each in (chart, alone):
        each.receive(1)
        each.receive(3)
        each.inbox.repair([(TOPIC, envelope(2))])

    assert [each.redelivered for each in chart.fifo] == [False, True, False]
    assert [each.redelivered for each in alone.fifo] == [False, False, False]


@pytest.mark.parametrize(
    ("sharing", "most", "poison"), [(STANDBY, 2, True), (SHARE, 2, True), (SHARE, 3, False)]
)
def test_an_event_is_poison_once_it_came_as_often_as_it_may(
    sharing: Sharing, most: int, *, poison: bool
) -> None:
    chart = taking_part(sharing._replace(max_deliveries=most))
    once = Handed(frame_of(envelope(1)))
    twice = Handed(frame_of(envelope(2)), returned=True)

    for delivery in (once, twice):
        chart.inbox.receive(delivery)

    first, second = chart.fifo
    assert not chart.inbox.is_poison(first)
    assert chart.inbox.is_poison(second) is poison


def test_without_a_limit_and_on_its_own_no_event_is_poison() -> None:
    for chart in (taking_part(SHARE._replace(max_deliveries=0)), Chart()):
        chart.inbox.open()
        chart.inbox.receive(Handed(frame_of(envelope(1)), returned=True))
        assert not chart.inbox.is_poison(chart.fifo[0])
