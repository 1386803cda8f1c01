"""Repair between two nodes in hand: what is asked, what is answered, and what is believed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from msgspec.structs import astuple

from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.history import History
from miros_mesh.networks.inbox import Inbox
from miros_mesh.networks.mesh import BEAT, Mesh
from miros_mesh.networks.network import Network
from miros_mesh.networks.order.ranges import Range
from miros_mesh.networks.order.routes import Routes
from miros_mesh.networks.repair import Repair
from miros_mesh.observer import Observer
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import (
    ENVELOPE_BYTES,
    Envelope,
    ListenerRepair,
    RepairMessage,
    RoutedRepair,
    TracedEnvelope,
)
from miros_mesh.wire.identity import Identity
from miros_mesh.wire.keyring import KeyRing
from support.ports_in_hand import TOPIC, Handed, Shelf
from support.post_office import LIMIT_S
from support.sealed import (
    FRAME_LIMIT,
    KEY,
    OURS,
    PLACE,
    THEIRS,
    LetterShelf,
    envelope,
    frame_of,
    mesh_codec,
    serializer,
)
from support.waiting import wait_until

LARGE = 10_000
"""What events and names may take in one message."""
TALKER = (THEIRS.incarnation, "talker")
OWN = (OURS.incarnation, "listener")
codec = Codec(
    "repair",
    KeyRing([KEY]),
    RepairMessage,
    max_frame_bytes=FRAME_LIMIT,
    extended=(ListenerRepair, RoutedRepair),
)


class Told(Observer):
    def __init__(self) -> None:
        self.repaired_events = 0
        self.gaps: list[tuple[str, int]] = []
        self.drops: list[tuple[str, str]] = []

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self.drops += [(network, reason)] * events

    def repaired(self, *, network: str, events: int) -> None:
        self.repaired_events += events

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.gaps.append((sender, missing))


class Node:
    """Our node: its repair, one inbox, and what it sends. Connected for as long as told."""

    def __init__(self, *, max_events: int = 1_000, interval_s: float = 60.0) -> None:
        self.told, self.events, self.repairs = Told(), Shelf(), Shelf()
        self.history = history = History(max_events=max_events, max_bytes=10**6)
        mesh = Network(
            "mesh",
            mesh_codec,
            self.told,
            frame_events=3,
            frame_bytes=FRAME_LIMIT,
            history=history,
            routes=Routes(),
        )
        repairs = Network("repair", codec, self.told, frame_events=3, frame_bytes=FRAME_LIMIT)
        mesh.attach(self.events)
        repairs.attach(self.repairs)
        self.mesh = Mesh(mesh, OURS, serializer, self.told, dedup_window=64)
        self.fifo: list[Arrival] = []
        self.whole_since: float | None = 0.0
        self.failing = False
        self.repair = Repair(
            repairs,
            self.mesh,
            history,
            self._inboxes,
            interval_s=interval_s,
            timeout_s=30.0,
            message_bytes=LARGE,
            whole_since=lambda: self.whole_since,
        )
        self.inbox = Inbox(
            self.mesh,
            PLACE,
            LetterShelf().letters,
            room=lambda: 100,
            post=self.fifo.append,
            missed=self.repair.look,
        )
        # It has listened for a minute, so that a test may say that it asked before.
        self.inbox._since -= 60.0
        self.inbox.open()

    def _inboxes(self) -> list[Inbox]:
        if self.failing:
            self.failing = False
            raise ValueError("a mistake of ours")
        return [self.inbox]

    @property
    def sent(self) -> list[RepairMessage]:
        return [each for parcel in self.repairs.parcels for each in codec.open(parcel.seal())]

    @property
    def handled(self) -> list[int]:
        return [arrival.envelope.sequence for arrival in self.fifo]

    def get(self, *numbers: int, sent_at: float = 0.0) -> None:
        """Receive a frame of events."""
        frame = frame_of(*(envelope(number, sent_at=sent_at) for number in numbers))
        self.inbox.receive(Handed(frame))

    def get_live_of_the_same_node(self) -> None:
        """Receive an event of now, of another chart of the node that talks to us."""
        live = envelope(1, chart="other", sent_at=time.time())
        self.inbox.receive(Handed(frame_of(live)))

    def get_old_and_live(self, old: int, live: int) -> None:
        """Receive an event of long ago, and one of now."""
        self.get(old)
        self.get(live, sent_at=time.time())

    def hear(self, message: RepairMessage) -> Handed:
        delivery = Handed(codec.seal([codec.encode(message)], TOPIC))
        self.repair.receive(delivery)
        return delivery

    def transmit(self, *payloads: Any) -> None:
        for payload in payloads:
            self.mesh.transmit("listener", "key", "ping", payload, None)


def message(
    kind: Literal["ask", "again", "gone"],
    stream: tuple[str, str],
    *numbers: Range,
    events: tuple[Envelope, ...] = (),
    sequence: int = 1,
    to: str = OURS.incarnation,
    sender: Identity = THEIRS,
) -> RepairMessage:
    """What another node says to us."""
    origin = sender.node, sender.node, sender.incarnation, sequence
    return RepairMessage(*origin, to, kind, stream, numbers, events)


def asked_for_one(stream: tuple[str, str], *numbers: Range, listening_s: float) -> RepairMessage:
    """What a chart of another node asks for itself."""
    asked = message("ask", stream, *numbers)
    return ListenerRepair(*astuple(asked), "listener", listening_s)


def answered_to_one(
    node: Node,
    kind: Literal["again", "gone"],
    *numbers: Range,
    before: int,
    events: tuple[Envelope, ...] = (),
    sequence: int = 1,
    listener: str = "listener",
    asked_s_ago: float = 0.0,
) -> RepairMessage:
    """What another node answers to a chart of ours."""
    plain = message(kind, TALKER, *numbers, events=events, sequence=sequence)
    listening_s = node.inbox.listening_s(time.monotonic()) - asked_s_ago
    return ListenerRepair(*astuple(plain), listener, listening_s, before)


@pytest.fixture
def node() -> Node:
    """A node whose thread does not run."""
    return Node()


@pytest.fixture
def running() -> Iterator[Node]:
    made = Node()
    made.repair.start()
    yield made
    made.repair.stop(LIMIT_S)


# Asking


def test_what_is_missing_is_asked_for_at_its_sender(running: Node) -> None:
    running.get(1)
    running.get(4, 5, 7)

    (asked,) = wait_until(lambda: running.sent)

    assert (asked.to, asked.kind, asked.stream) == (THEIRS.incarnation, "ask", TALKER)
    assert asked.numbers == ((2, 3), (6, 6))
    assert running.repairs.parcels[0].routing_key == THEIRS.incarnation
    assert running.repairs.events == 0


@pytest.mark.parametrize("message_bytes", [1, 512, 4096])
def test_a_question_names_no_more_than_one_message_of_small_settings_takes(
    node: Node, message_bytes: int
) -> None:
    """One that cannot be sent would hold up all repair."""
    node.repair._message_bytes = message_bytes
    for number in range(2**62, 2**62 + 1_600, 2):
        node.get(number)
    later = time.monotonic() + 1
    missing = node.repair._missing(later)
    node.repair._ask(missing, later)
    node.repair._ask(missing, later + 1)

    (asked,) = node.sent
    assert len(asked.numbers) == min((message_bytes + ENVELOPE_BYTES // 2) // 19, 799)
    assert len(codec.encode(asked)) <= message_bytes + ENVELOPE_BYTES


def test_it_is_asked_again_after_a_pause_and_no_more_once_it_came(running: Node) -> None:
    running.get(1)
    running.get(3)
    wait_until(lambda: len(running.sent) >= 2)

    running.get(2)
    wait_until(lambda: not running.repair._asking)

    assert running.handled == [1, 2, 3]
    assert {asked.numbers for asked in running.sent} == {((2, 2),)}


def test_the_next_loss_is_asked_for_soon_also_after_long_pauses_for_the_one_before(
    node: Node,
) -> None:
    """Between two looks one may be answered, and the next one show."""

    def look(later_s: float) -> list[tuple[Range, ...]]:
        before = len(node.sent)
        node.repair._ask(node.repair._missing(now + later_s), now + later_s)
        return [asked.numbers for asked in node.sent[before:]]

    now = time.monotonic()
    node.get(1)
    node.get(3)
    assert [look(later_s) for later_s in (0, 0.1, 0.7, 2.0)] == [[], *[[((2, 2),)]] * 3]
    node.get(2)
    node.get(5)
    assert [look(later_s) for later_s in (2.05, 2.15, 2.2)] == [[], [((4, 4),)], []]


def test_nothing_is_asked_or_given_up_while_the_node_is_not_connected(node: Node) -> None:
    node.whole_since = None
    node.get(1)
    node.get(3)

    assert node.repair._missing(time.monotonic() + 1_000) == {}

    assert node.inbox.holes() == {TALKER: [(2, 2)]}


def test_what_is_missing_for_too_long_is_given_up(node: Node) -> None:
    node.get(1)
    node.get(3)

    assert node.repair._missing(time.monotonic() + 1_000) == {}

    assert (node.handled, node.told.gaps) == ([1, 3], [("talker", 1)])


def test_time_without_a_connection_does_not_count(node: Node) -> None:
    node.get(1)
    node.get(3)
    later = time.monotonic() + 1_000
    node.whole_since = later - 1

    missing = node.repair._missing(later)
    assert [(asked.stream, each.holes) for asked, each in missing.items()] == [(TALKER, [[(2, 2)]])]


def test_a_chart_that_fell_silent_says_its_number() -> None:
    node = Node(interval_s=0.01)
    node.mesh.join("listener", "key")
    node.transmit(1)
    node.repair.start()

    wait_until(lambda: len(node.events.parcels) >= 3)
    node.repair.stop(LIMIT_S)

    signals = [e.signal for each in node.events.parcels for e in mesh_codec.open(each.seal())]
    assert signals == ["ping", BEAT, BEAT]


def test_an_error_of_ours_is_logged_and_the_next_look_comes(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.failing = True
    with caplog.at_level(logging.ERROR):
        node.repair.start()
        wait_until(lambda: not node.failing)
        node.get(1)
        node.get(3)
        wait_until(lambda: node.sent)
        node.repair.stop(LIMIT_S)

    assert "mesh-here-repair: an error of the library" in caplog.text


def test_a_stop_that_comes_between_two_looks_ends_the_thread_at_once(node: Node) -> None:
    class StopsNext(threading.Event):
        """Is set right after the thread has found that it is not."""

        def is_set(self) -> bool:
            before = super().is_set()
            if not before:
                node.repair.stop(0)
            return before

    thread = node.repair._thread
    thread.stopping = StopsNext()
    node.repair.start()

    assert thread.join(LIMIT_S)


def test_a_chart_that_heard_an_old_event_asks_for_itself_and_says_how_long_it_listens(
    running: Node,
) -> None:
    running.get_old_and_live(5, 2_010)
    running.get(2_012, sent_at=time.time())

    asked = wait_until(lambda: running.sent)[0]

    assert isinstance(asked, ListenerRepair)
    assert (asked.kind, asked.numbers) == ("ask", ((6, 2_009), (2_011, 2_011)))
    assert asked.listener == "listener"
    assert 0 < asked.listening_s < running.inbox.listening_s(time.monotonic())


def test_what_is_older_than_the_chart_is_not_waited_for_where_its_sender_is_silent(
    node: Node,
) -> None:
    node.get(5)
    node.get(9)
    node.get_live_of_the_same_node()
    now = time.monotonic()

    assert [each[:2] for each in node.repair._missing(now + 1)] == [(TALKER, node.inbox)]
    assert node.repair._missing(now + 3) == {}

    assert node.handled == [5, 1, 9]
    assert node.told.gaps == []


# Answering


def test_who_asks_for_all_again_and_again_gets_it_twice(node: Node) -> None:
    """Twice a mebibyte: its history has less room than the least that is given."""
    node.transmit(*(bytes(9_000) for _ in range(100)))

    for number in range(1, 31):
        node.hear(message("ask", OWN, (1, 100), sequence=number))

    sent_bytes = sum(len(event.payload) for each in node.sent for event in each.events)
    assert 1_900_000 < sent_bytes < 2_200_000
    assert set(node.told.drops) == {("repair", "repair_limit")}
    # Of what is sent in part the rest is not called gone
    assert [each for each in node.sent if each.kind == "gone"] == []


def test_many_askers_together_get_no_more(node: Node) -> None:
    node.transmit(*(bytes(9_000) for _ in range(100)))

    for number in range(50):
        asker = Identity("made up", f"made up {number}")
        node.hear(message("ask", OWN, (1, 100), sender=asker))

    sent_bytes = sum(len(event.payload) for each in node.sent for event in each.events)
    assert sent_bytes < 2_200_000


def test_a_message_with_a_number_that_no_node_can_have_silences_none(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.transmit(1)
    node.hear(message("ask", OWN, (1, 1), sequence=1))

    node.hear(message("ask", OWN, (1, 1), sequence=2**62))
    node.hear(message("ask", OWN, (1, 1), sequence=2))

    assert [each.kind for each in node.sent] == ["again", "again"]
    assert node.told.drops == [("repair", "jump")]
    assert "a message of node there" in caplog.text


def test_of_very_many_streams_some_are_asked_for_in_each_look(node: Node) -> None:
    for number in range(250):
        sender = Identity("made up", f"made up {number}")
        node.inbox.receive(Handed(frame_of(*(envelope(n, sender=sender) for n in (1, 3)))))
    now = time.monotonic()
    node.repair._ask(node.repair._missing(now), now)

    asked = []
    for _ in range(3):
        now += 0.1
        before = len(node.sent)
        node.repair._ask(node.repair._missing(now), now)
        asked.append(len(node.sent) - before)

    assert asked == [100, 100, 50]
    assert len({each.to for each in node.sent}) == 250


def test_what_is_asked_for_is_sent_again_to_the_node_that_asks(node: Node) -> None:
    node.transmit("a", "b", "c", "d")

    delivery = node.hear(message("ask", OWN, (2, 3)))

    (answer,) = node.sent
    assert (answer.to, answer.kind, answer.stream) == (THEIRS.incarnation, "again", OWN)
    assert [serializer.loads(event.payload) for event in answer.events] == ["b", "c"]
    assert [event.sequence for event in answer.events] == [2, 3]
    assert delivery.acks == 1


def test_what_is_forgotten_is_told_as_gone() -> None:
    node = Node(max_events=2)
    node.transmit(1, 2, 3, 4)

    node.hear(message("ask", OWN, (1, 1), (2, 3)))

    again, gone = node.sent
    assert [event.sequence for event in again.events] == [3]
    assert (gone.kind, gone.numbers) == ("gone", ((1, 2),))


def test_gone_is_what_is_not_kept_and_was_sent_and_no_more() -> None:
    node = Node()
    node.transmit(1, 2, 3, 4, 5)
    node.history.forget("listener", 2)
    node.history.forget("listener", 4)

    node.hear(message("ask", OWN, (1, 3), (5, 9)))

    again, gone = node.sent
    assert [event.sequence for event in again.events] == [1, 3, 5]
    assert (gone.kind, gone.numbers) == ("gone", ((2, 2),))


def test_what_is_kept_and_has_no_room_in_an_answer_is_not_gone(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miros_mesh.networks.repair._EVENTS_PER_ANSWER", 2)
    node.transmit(1, 2, 3, 4, 5, 6)
    node.history.forget("listener", 1)
    node.history.forget("listener", 6)

    node.hear(message("ask", OWN, (1, 6)))

    again, gone = node.sent
    assert [event.sequence for event in again.events] == [2, 3]
    assert gone.numbers == ((1, 1),)


def test_after_a_refusal_for_its_size_an_answer_comes_in_smaller_portions(node: Node) -> None:
    node.transmit(*range(4))
    node.hear(message("ask", OWN, (1, 4)))
    portions = [[len(answer.events) for answer in node.sent]]

    for sequence, size_bytes in ((2, LARGE), (3, LARGE // 4), (4, 1)):
        node.repair.refused(size_bytes)
        node.repairs.parcels.clear()
        node.hear(message("ask", OWN, (1, 4), sequence=sequence))
        portions.append([len(answer.events) for answer in node.sent])

    assert portions == [[4], [2, 2], [1, 1, 1, 1], [1, 1, 1, 1]]


def test_of_a_chart_that_nothing_is_kept_of_all_that_it_sent_is_gone() -> None:
    node = Node(max_events=0)
    node.transmit(1, 2)

    node.hear(message("ask", OWN, (1, 9)))

    (gone,) = node.sent
    assert (gone.kind, gone.numbers) == ("gone", ((1, 2),))


def test_a_chart_is_given_what_was_sent_since_it_listens_and_told_what_was_before(
    node: Node,
) -> None:
    node.transmit("a", "b", "c")
    for place, (chart, number, at, to, sent) in enumerate(list(node.history._sent)):
        node.history._sent[place] = chart, number, at - 100.0, to, sent
    node.transmit("d", "e", "f")
    node.history.forget("listener", 5)

    node.hear(asked_for_one(OWN, (2, 9), listening_s=50.0))

    again, gone = node.sent
    assert isinstance(again, ListenerRepair)
    assert isinstance(gone, ListenerRepair)
    assert [event.sequence for event in again.events] == [4, 6]
    assert gone.numbers == ((5, 5),)
    for answer in (again, gone):
        told = answer.listener, answer.listening_s, answer.before
        assert told == ("listener", 50.0, 3)


def test_a_chart_that_is_owed_nothing_is_told_so(node: Node) -> None:
    node.transmit("a", "b", "c")

    node.hear(asked_for_one(OWN, (1, 2), listening_s=0.0))

    (answer,) = node.sent
    assert isinstance(answer, ListenerRepair)
    assert (answer.kind, answer.numbers, answer.before) == ("gone", (), 3)
    assert (answer.listener, answer.listening_s) == ("listener", 0.0)


def test_what_is_forgotten_and_was_owed_is_gone() -> None:
    node = Node(max_events=2)
    node.transmit(1, 2, 3, 4)

    node.hear(asked_for_one(OWN, (1, 3), listening_s=1_000.0))

    again, gone = node.sent
    assert [event.sequence for event in again.events] == [3]
    assert gone.numbers == ((1, 2),)


def test_an_answer_that_is_too_large_comes_in_portions(node: Node) -> None:
    node.transmit(*("x" * (LARGE // 3) for _ in range(5)))

    node.hear(message("ask", OWN, (1, 5)))

    assert len(node.sent) > 1
    assert [event.sequence for answer in node.sent for event in answer.events] == [1, 2, 3, 4, 5]


def test_an_event_that_was_traced_comes_again_without_its_trace(node: Node) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event = TracedEnvelope(
        "here", "listener", OURS.incarnation, 1, "ping", b"\x01", 0.0, None, trace
    )
    node.mesh.network.send("key", event)

    node.hear(message("ask", OWN, (1, 1)))

    (answer,) = node.sent
    assert [type(each) for each in answer.events] == [Envelope]


def test_a_question_that_is_replayed_gets_no_second_answer(node: Node) -> None:
    node.transmit(1)

    for sequence in (4, 4, 9, 9, 4):
        delivery = node.hear(message("ask", OWN, (1, 1), sequence=sequence))
        assert delivery.acks == 1

    assert len(node.sent) == 2


@pytest.mark.parametrize(
    ("stream", "to"),
    [(OWN, THEIRS.incarnation), (TALKER, OURS.incarnation), (("e1se", "listener"), "0urs")],
)
def test_a_question_to_another_node_or_for_its_events_gets_no_answer(
    node: Node, stream: tuple[str, str], to: str
) -> None:
    node.transmit(1)

    delivery = node.hear(message("ask", stream, (1, 1), to=to))

    assert (node.sent, delivery.acks) == ([], 1)


# Believing


def test_what_was_sent_again_fills_the_hole_and_is_counted(node: Node) -> None:
    node.get(1)
    node.get(4)

    node.hear(message("again", TALKER, events=(envelope(2), envelope(3), envelope(4))))

    assert node.handled == [1, 2, 3, 4]
    assert (node.told.repaired_events, node.told.gaps) == (2, [])


def test_a_hole_that_is_gone_takes_no_other_with_it(node: Node) -> None:
    node.get(1)
    node.get(3)
    node.get(5)

    node.hear(message("gone", TALKER, (4, 4)))
    assert (node.handled, node.told.gaps) == ([1], [("talker", 1)])
    node.hear(message("again", TALKER, events=(envelope(2),), sequence=2))

    assert node.handled == [1, 2, 3, 5]
    assert node.told.gaps == [("talker", 1)]


def test_what_its_sender_has_no_more_is_not_waited_for(node: Node) -> None:
    node.get(1)
    node.get(4)

    node.hear(message("gone", TALKER, (2, 3)))

    assert (node.handled, node.told.gaps) == ([1, 4], [("talker", 2)])


def test_what_is_not_owed_is_passed_over_in_silence(node: Node) -> None:
    node.get_old_and_live(5, 2_010)

    node.hear(answered_to_one(node, "gone", before=2_009))

    assert (node.handled, node.told.gaps) == ([5, 2_010], [])


def test_what_is_owed_behind_an_old_event_is_given_or_a_gap(node: Node) -> None:
    node.get_old_and_live(5, 2_010)

    again = (envelope(2_009, sent_at=time.time()),)
    node.hear(answered_to_one(node, "again", before=2_007, events=again))
    node.hear(answered_to_one(node, "gone", (2_008, 2_008), before=2_007, sequence=2))

    assert (node.handled, node.told.gaps) == ([5, 2_009, 2_010], [("talker", 1)])
    assert node.told.repaired_events == 1


def test_an_answer_to_all_or_to_another_chart_gives_an_unsure_one_nothing(node: Node) -> None:
    node.get_old_and_live(5, 8)

    node.hear(message("again", TALKER, events=(envelope(6), envelope(7))))
    node.hear(message("gone", TALKER, (6, 7), sequence=2))
    node.hear(answered_to_one(node, "gone", before=7, sequence=3, listener="other"))

    assert (node.handled, node.told.gaps) == ([5], [])
    assert node.inbox.holes() == {TALKER: [(6, 7)]}


def test_an_answer_that_travelled_for_long_is_not_believed(node: Node) -> None:
    """Its sender takes the chart to have begun when the question came."""
    node.get_old_and_live(5, 8)

    node.hear(answered_to_one(node, "gone", (7, 7), before=6, asked_s_ago=60.0))
    node.hear(answered_to_one(node, "gone", (7, 7), before=6, asked_s_ago=-60.0, sequence=2))
    assert node.inbox.holes() == {TALKER: [(6, 7)]}

    node.hear(answered_to_one(node, "gone", before=7, sequence=3))
    assert node.inbox.holes() == {}


@pytest.mark.parametrize("kind", ["again", "gone"])
def test_only_the_sender_of_a_stream_can_say_what_is_in_it(
    node: Node, kind: Literal["again", "gone"]
) -> None:
    node.get(1)
    node.get(3)
    other = Identity("elsewhere", "e1se")

    node.hear(message(kind, TALKER, (2, 2), events=(envelope(2),), sender=other))

    assert (node.handled, node.told.gaps) == ([1], [])


def test_a_refused_frame_is_rejected(node: Node) -> None:
    delivery = Handed(b"\x01 rubbish")

    node.repair.receive(delivery)

    assert (delivery.acks, delivery.rejects) == (0, 1)
