"""Marks in hand: what a process writes of its charts, and what the next one makes of them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from miros_mesh.errors import PayloadError
from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.inbox import Inbox
from miros_mesh.networks.letters.home import Letters, Place
from miros_mesh.networks.network import Network
from miros_mesh.networks.notes import marks
from miros_mesh.networks.notes.marks import Marks
from miros_mesh.observer import Observer
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import ChartMarks, MarkNote
from miros_mesh.wire.identity import Identity
from miros_mesh.wire.keyring import KeyRing
from support.ports_in_hand import TOPIC, Handed, Shelf
from support.sealed import FRAME_LIMIT, KEY, OURS, THEIRS, envelope, frame_of, mesh

TALKER = (THEIRS.incarnation, "talker")
EARLIER = Identity("here", "ear1ier")
codec = Codec("marks", KeyRing([KEY]), MarkNote, max_frame_bytes=FRAME_LIMIT)


class Told(Observer):
    def __init__(self) -> None:
        self.gaps: list[tuple[str, int]] = []
        self.drops: list[tuple[str, int]] = []

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.gaps.append((sender, missing))

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self.drops.append((reason, events))


class Node:
    """A process of our node name, and its one chart."""

    def __init__(self, *, anew: bool = False) -> None:
        self.told, self.shelf = Told(), Shelf()
        network = Network("marks", codec, self.told, frame_events=3, frame_bytes=FRAME_LIMIT)
        network.attach(self.shelf)
        self.marks = Marks(network, OURS, self.told, "mesh")
        self.fifo: list[Arrival] = []
        self.inbox = Inbox(
            mesh(),
            Place("listener", "queue"),
            Letters(OURS),
            room=lambda: 100,
            post=self.fifo.append,
        )
        self.inbox.open()
        self.marks.joined(self.inbox, TOPIC, anew=anew)

    def get(self, *numbers: int) -> None:
        self.inbox.receive(Handed(frame_of(*map(envelope, numbers))))

    def handle(self, count: int) -> None:
        for _ in range(count):
            self.inbox.finished(self.fifo.pop(0))

    def hear(self, note: MarkNote) -> Handed:
        delivery = Handed(codec.seal([codec.encode(note)], OURS.node), topic=OURS.node)
        self.marks.receive(delivery)
        return delivery

    @property
    def written(self) -> list[tuple[ChartMarks, ...]]:
        return [note.charts for each in self.shelf.parcels for note in codec.open(each.seal())]


def note(last: int, *, sequence: int = 1, by: Identity = EARLIER) -> MarkNote:
    charts = (ChartMarks("listener", TOPIC, ((*TALKER, last),)),)
    return MarkNote(by.node, by.node, by.incarnation, sequence, 0.0, charts)


def test_a_mark_is_below_what_the_chart_has_not_handled() -> None:
    node = Node()
    node.get(4, 5, 6)
    node.handle(1)
    node.get(8)

    assert node.inbox.marks() == {TALKER: 4}
    node.handle(2)
    assert node.inbox.marks() == {TALKER: 6}


def test_marks_are_written_once_in_a_while_and_only_new_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node()
    node.get(1, 2)
    node.handle(2)
    node.marks.look()
    node.get(3)
    node.handle(1)
    node.marks.look()
    assert node.written == [(ChartMarks("listener", TOPIC, ((*TALKER, 2),)),)]

    monkeypatch.setattr(marks, "_WRITE_EVERY_S", 0.0)
    node.marks.write()
    node.marks.look()
    assert node.written[1:] == [(ChartMarks("listener", TOPIC, ((*TALKER, 3),)),)]


def test_the_marks_of_a_chart_that_has_left_and_of_others_are_written_on() -> None:
    node = Node()
    node.hear(note(7))
    node.get(1)
    node.handle(1)
    node.inbox.close()
    node.marks.left(node.inbox)
    node.hear(
        MarkNote("here", "here", "ear1iest", 1, 0.0, (ChartMarks("x", "t", ((*TALKER, 9),)),))
    )

    node.marks.write()

    assert node.written == [
        (ChartMarks("x", "t", ((*TALKER, 9),)), ChartMarks("listener", TOPIC, ((*TALKER, 1),)))
    ]


def test_what_is_between_the_mark_and_the_first_number_heard_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    node = Node(anew=True)
    node.hear(note(7))
    node.marks.look()
    assert node.told.gaps == []

    node.get(12)
    node.marks.look()
    node.marks.look()

    assert node.told.gaps == [("talker", 4)]
    assert node.told.drops == [("queue_expired", 4)]
    assert "chart listener has lost up to 4 events of talker" in caplog.text


@pytest.mark.parametrize(("last", "first"), [(7, 8), (7, 5)])
def test_what_was_not_lost_is_not_told(last: int, first: int) -> None:
    node = Node(anew=True)
    node.hear(note(last))
    node.get(first)

    node.marks.look()

    assert node.told.gaps == []


def test_an_old_event_that_comes_first_hides_no_loss() -> None:
    node = Node(anew=True)
    node.hear(note(7))
    node.get(5)
    node.get(12)
    node.marks.look()
    assert node.told.gaps == []

    node.inbox.pass_over(TALKER, 11)
    node.marks.look()

    assert node.told.gaps == [("talker", 4)]


def test_marks_that_come_late_are_compared_all_the_same() -> None:
    node = Node(anew=True)
    node.get(12)
    node.marks.look()

    node.hear(note(7))
    node.marks.look()

    assert node.told.gaps == [("talker", 4)]


def test_a_chart_whose_queue_was_kept_has_lost_nothing() -> None:
    node = Node(anew=False)
    node.hear(note(7))
    node.get(12)

    node.marks.look()

    assert node.told.gaps == []


def test_the_newest_note_stays_at_the_broker() -> None:
    node = Node()
    first, second = node.hear(note(7)), node.hear(note(8, sequence=2))
    late = node.hear(note(7))
    own = node.hear(note(9, by=OURS))

    acks = [each.acks for each in (first, second, late, own)]
    assert acks == [1, 1, 1, 0]


def test_no_note_of_an_earlier_process_takes_the_place_of_our_own() -> None:
    node = Node()
    node.hear(note(7))
    own = node.hear(note(9, by=OURS))

    again = node.hear(note(5))

    assert (own.acks, again.acks) == (0, 1)
    assert node.marks.before("listener", TOPIC) == {TALKER: 7}


def test_an_older_note_of_yet_another_process_sets_no_mark_back() -> None:
    node = Node()
    node.hear(note(7))

    node.hear(note(5, by=Identity("here", "ear1iest")))

    assert node.marks.before("listener", TOPIC) == {TALKER: 7}


def test_notes_of_a_member_take_no_endless_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "_MOST_MARKS", 3)
    node = Node()
    for number in range(6):
        charts = (ChartMarks("listener", TOPIC, ((f"inc{number}", "talker", 1),)),)
        node.hear(MarkNote("here", "here", f"process {number}", 1, 0.0, charts))

    known = node.marks.before("listener", TOPIC)
    assert [incarnation for incarnation, _ in known] == ["inc3", "inc4", "inc5"]


def test_a_note_of_another_node_is_refused() -> None:
    node = Node()
    body = codec.seal([codec.encode(note(7, by=THEIRS))], THEIRS.node)
    bound = Handed(body, topic=THEIRS.node)

    node.marks.receive(bound)

    assert bound.rejects == 1
    assert node.marks.before("listener", TOPIC) == {}


def test_a_note_that_comes_again_is_learned_once() -> None:
    node = Node(anew=True)
    node.hear(note(7))
    node.get(12)
    node.marks.look()

    assert node.hear(note(7)).acks == 0
    node.marks.look()

    assert node.told.gaps == [("talker", 4)]


def test_there_is_a_limit_to_the_marks_and_the_last_heard_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marks, "_MOST_MARKS", 2)
    node = Node()
    for chart in ("a", "b", "c", "a"):
        node.inbox.receive(Handed(frame_of(envelope(1, chart=chart))))

    node.marks.write()

    (charts,) = node.written
    assert [chart for _, chart, _ in charts[0].streams] == ["c", "a"]


def test_a_note_that_cannot_be_sent_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node()
    node.get(1)

    def refuse(*_: object, **__: object) -> int:
        raise PayloadError("too many")

    monkeypatch.setattr(node.marks._network, "send", refuse)
    node.marks.write()

    assert "is not noted: too many" in caplog.text


class Gone:
    """An inbox with marks of one sender, of a chart that comes and goes."""

    def __init__(self, chart: str, marks: dict[tuple[str, str], int]) -> None:
        self.chart = chart
        self._marks = marks

    def firsts(self, streams: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        return {}

    def marks(self) -> dict[tuple[str, str], int]:
        return self._marks


def test_of_charts_that_have_left_the_last_ones_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marks, "_MOST_LEFT", 3)
    node = Node()
    node.get(1)
    node.handle(1)
    for number in range(6):
        chart = Gone(f"chart {number}", {TALKER: number})
        node.marks.joined(chart, TOPIC, anew=False)
        node.marks.left(chart)

    node.marks.write()

    names = [each.chart for each in node.written[0]]
    assert names == ["listener", "chart 5", "chart 4", "chart 3"]


def test_charts_that_have_left_and_heard_nothing_are_forgotten() -> None:
    node = Node()
    for number in range(6):
        chart = Gone(f"chart {number}", {})
        node.marks.joined(chart, TOPIC, anew=False)
        node.marks.left(chart)

    assert node.marks._before == {}


def test_charts_that_have_left_keep_no_more_marks_than_a_note_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marks, "_MOST_MARKS", 5)
    node = Node()
    for number in range(4):
        chart = Gone(f"chart {number}", {("inc", f"sender {n}"): 7 for n in range(2)})
        node.marks.joined(chart, TOPIC, anew=False)
        node.marks.left(chart)

    assert [key.chart for key in node.marks._before] == ["chart 2", "chart 3"]
