"""What one process of a node name tells the next one of what ended its charts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from miros_mesh.errors import PermissionDeniedError
from miros_mesh.link.ports import Parcel
from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.inbox import Inbox
from miros_mesh.networks.network import Network
from miros_mesh.networks.notes import deaths
from miros_mesh.networks.notes.deaths import LARGEST_NOTE_BYTES, ChartDeaths, Deaths
from miros_mesh.observer import Observer
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import DeadChart, Death, DeathNote, Envelope
from miros_mesh.wire.identity import Identity
from miros_mesh.wire.keyring import KeyRing
from support.ports_in_hand import Handed, Shelf
from support.sealed import KEY, PLACE, THEIRS, LetterShelf, envelope, frame_of, mesh
from support.waiting import wait_until

codec = Codec("deaths", KeyRing([KEY]), DeathNote, max_frame_bytes=LARGEST_NOTE_BYTES + 1_000)
ERROR = ValueError("hush")


class Process:
    """The notes of one process of a node name. Its broker confirms at once."""

    def __init__(self, incarnation: str, *, most: int = 2) -> None:
        network = Network("deaths", codec, Observer(), frame_events=3, frame_bytes=1_000)
        self.shelf = Confirming()
        network.attach(self.shelf)
        self.deaths = Deaths(network, Identity("lasting", incarnation), most)

    @property
    def chart(self) -> ChartDeaths:
        return self.deaths.of("listener")

    def hear(self, *bodies: bytes) -> list[Handed]:
        """Get what lies in the queue of notes."""
        notes = [Handed(body, topic="lasting") for body in bodies]
        for note in notes:
            self.deaths.receive(note)
        return notes

    def dies(self, event: Envelope | None, *done: Envelope) -> bytes:
        """The note of a death."""
        self.chart.died(ERROR, event, done, 0)
        return self.shelf.parcels[-1].seal()


class Confirming(Shelf):
    """A publisher whose broker answers at once."""

    answer: str = "stored"

    def put(self, parcel: Parcel) -> Sequence[Parcel]:
        super().put(parcel)
        if self.answer == "refused":
            parcel.refused("broker", PermissionDeniedError("no"))
        elif self.answer == "stored":
            parcel.stored("broker", True)
        else:
            parcel.dropped("broker")
        return ()


def test_the_next_process_knows_what_was_handled_and_what_was_fatal() -> None:
    first, second = Process("one"), Process("two")

    second.hear(first.dies(envelope(4), *map(envelope, (1, 2, 3, 7))))

    chart = second.chart
    assert [n for n in range(1, 9) if chart.has_handled(envelope(n))] == [1, 2, 3, 7]
    assert not chart.has_handled(envelope(1, chart="another"))
    assert chart.too_often(envelope(4)) is None
    assert second.deaths.of("neighbour").fatal == {}


def test_deaths_are_counted_over_all_processes_and_by_event() -> None:
    first, second, third = Process("one"), Process("two"), Process("three")

    second.hear(first.dies(envelope(4)))
    third.hear(second.dies(envelope(4)))

    death = third.chart.too_often(envelope(4))
    assert death == Death(envelope(4).id, 2, "ValueError")
    assert third.chart.too_often(envelope(5)) is None


def test_zero_is_for_ever() -> None:
    process = Process("one", most=0)
    for _ in range(9):
        process.dies(envelope(4))

    assert process.chart.too_often(envelope(4)) is None


def test_a_note_has_no_text_of_the_exception() -> None:
    (note,) = codec.open(Process("one").dies(envelope(4)))

    assert "hush" not in repr(note)


def test_a_death_by_an_event_of_its_own_tells_what_was_handled() -> None:
    first, second = Process("one"), Process("two")

    second.hear(first.dies(None, envelope(1)))

    assert second.chart.has_handled(envelope(1))
    assert second.chart.fatal == {}


def test_the_newest_note_counts_and_the_older_one_is_acknowledged() -> None:
    first, second, third = Process("one"), Process("two"), Process("three")
    older = first.dies(envelope(4), envelope(1))
    second.hear(older)
    second.chart.acknowledged([envelope(1)])
    newer = second.dies(envelope(4))

    old, new = third.hear(older, newer)

    assert (old.acks, new.acks) == (1, 0)
    assert not third.chart.has_handled(envelope(1))
    assert third.chart.too_often(envelope(4))


def test_a_note_goes_when_its_last_event_was_acknowledged() -> None:
    first, second = Process("one"), Process("two")
    (note,) = second.hear(first.dies(envelope(4), envelope(1), envelope(2)))

    second.chart.acknowledged([envelope(1), envelope(2)])
    assert note.acks == 0

    second.chart.acknowledged([envelope(4)])
    assert note.acks == 1
    assert not second.chart


def test_a_note_that_comes_again_brings_back_nothing() -> None:
    first, second = Process("one"), Process("two")
    body = first.dies(envelope(4), envelope(1))
    second.hear(body)
    second.chart.acknowledged([envelope(1)])

    (again,) = second.hear(body)

    assert not second.chart.has_handled(envelope(1))
    second.chart.acknowledged([envelope(4)])
    assert again.acks == 1


def test_an_older_note_that_somebody_sends_again_takes_no_place() -> None:
    first, second = Process("one"), Process("two")
    older = first.dies(envelope(4), envelope(1))
    newer = first.dies(envelope(5), envelope(2))
    (held,) = second.hear(newer)

    (again,) = second.hear(older)

    assert (held.acks, again.acks) == (0, 1)
    assert second.chart.has_handled(envelope(2))


def test_what_was_there_before_has_come_with_an_own_note() -> None:
    """Notes of an earlier process that come after it are sent by somebody else."""
    first, second, third = Process("one"), Process("two"), Process("three")
    older = first.dies(envelope(4), envelope(1))
    (held,) = third.hear(second.dies(envelope(5), envelope(2)))
    third.deaths.read(0)
    third.hear(third.shelf.parcels[0].seal())

    (again,) = third.hear(older)

    assert (held.acks, again.acks) == (0, 1)
    assert third.chart.has_handled(envelope(2))
    (held_again,) = third.hear(second.shelf.parcels[-1].seal())
    assert (held.acks, held_again.acks) == (1, 0)


def test_a_note_of_another_node_is_refused() -> None:
    process = Process("one")
    note = DeathNote("other", "other", "two", 1, 0.0, (DeadChart("listener", (), ()),))
    bound = Handed(codec.seal([codec.encode(note)], "other"), topic="other")

    process.deaths.receive(bound)

    assert bound.rejects == 1


def test_what_a_dead_chart_acknowledges_is_not_forgotten() -> None:
    process = Process("one")
    before = process.chart
    process.dies(envelope(4), envelope(1))

    before.acknowledged([envelope(1)])

    assert process.chart.has_handled(envelope(1))


def test_two_charts_are_told_apart_in_one_note() -> None:
    first, second = Process("one"), Process("two")
    first.dies(envelope(4))
    first.deaths.of("neighbour").died(ERROR, envelope(5), [], 0)

    second.hear(first.shelf.parcels[-1].seal())

    assert list(second.chart.fatal) == [envelope(4).id]
    assert list(second.deaths.of("neighbour").fatal) == [envelope(5).id]


def test_a_process_waits_for_the_notes_before_its_own_question() -> None:
    first, second = Process("one"), Process("two")
    note = first.dies(envelope(4))
    reading = threading.Thread(target=second.deaths.read, args=(10,))
    reading.start()
    second.hear(note)
    assert reading.is_alive()

    wait_until(lambda: second.shelf.parcels)
    (question,) = second.hear(second.shelf.parcels[0].seal())

    reading.join(10)
    assert not reading.is_alive()
    assert question.acks == 1
    assert second.chart


def test_a_process_whose_notes_do_not_come_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    Process("one").deaths.read(0)

    assert "the notes of earlier deaths did not come within 0 s" in caplog.text


def test_the_question_of_an_earlier_process_is_acknowledged() -> None:
    first, second = Process("one"), Process("two")
    first.deaths.read(0)

    (question,) = second.hear(first.shelf.parcels[0].seal())

    assert question.acks == 1


def test_a_note_of_a_stranger_is_rejected() -> None:
    process = Process("one")

    (rubbish,) = process.hear(b"\x01 rubbish")

    assert (rubbish.acks, rubbish.rejects) == (0, 1)
    assert not process.chart


def test_a_note_of_endless_numbers_takes_no_endless_memory() -> None:
    dead = DeadChart("listener", (), (("inc", "talker", 1, 2**63 - 1),))
    note = DeathNote("lasting", "lasting", "other", 1, 0.0, (dead,))
    process = Process("one")

    process.hear(codec.seal([codec.encode(note)], "lasting"))

    assert len(process.chart.handled) == 100_000


def test_the_last_of_two_notes_at_once_knows_both_deaths(monkeypatch: pytest.MonkeyPatch) -> None:
    """One chart dies while the note of another one is made and not sent yet."""
    first, second = Process("one"), Process("two")
    send = first.deaths._send

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(first.deaths, "_send", send)
        first.deaths.of("neighbour").died(ERROR, envelope(5), [], 0)
        return send(*arguments)

    monkeypatch.setattr(first.deaths, "_send", late)
    first.dies(envelope(4), envelope(1))

    second.hear(*(each.seal() for each in first.shelf.parcels))

    assert list(second.chart.fatal) == [envelope(4).id]
    assert second.chart.has_handled(envelope(1))
    assert list(second.deaths.of("neighbour").fatal) == [envelope(5).id]


@pytest.mark.parametrize("answer", ["dropped", "refused"])
def test_a_note_that_does_not_get_to_the_broker_is_not_waited_for(
    answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process("one")
    process.shelf.answer = answer

    process.chart.died(ERROR, envelope(4), [], 600)

    assert "the note of the end of chart listener is not at the broker yet" in caplog.text


def test_a_process_that_may_write_no_notes_goes_on_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    process = Process("one")
    process.shelf.answer = "refused"

    process.deaths.read(600)

    assert "the broker refuses notes of deaths (miros_mesh.v1.deaths)" in caplog.text
    assert "did not come" not in caplog.text


def test_charts_that_come_and_go_are_forgotten() -> None:
    process = Process("one")
    for number in range(50):
        process.deaths.of(f"chart {number}")
        process.deaths.left(f"chart {number}")

    assert process.deaths._charts == {}


def test_of_charts_that_died_and_stay_away_the_last_are_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deaths, "MAX_LISTED", 3)
    first, second = Process("one"), Process("two")
    for number in range(5):
        name = f"chart {number}"
        first.deaths.of(name).died(ERROR, envelope(number + 1), [], 0)
        first.deaths.left(name)
    assert list(first.deaths._charts) == ["chart 2", "chart 3", "chart 4"]

    second.hear(first.shelf.parcels[-1].seal())
    assert {*second.deaths._charts} == {"chart 2", "chart 3", "chart 4"}


def test_what_is_handled_of_a_chart_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deaths, "_MOST_HANDLED", 3)
    process = Process("one")
    for number in range(1, 6):
        process.dies(None, envelope(number))

    assert [n for n in range(1, 6) if process.chart.has_handled(envelope(n))] == [3, 4, 5]


class Working:
    """A chart of a process, with an inbox."""

    def __init__(self, process: Process) -> None:
        self.home = LetterShelf()
        self.fifo: list[Arrival] = []
        self.inbox = Inbox(
            mesh(dedup_window=16),
            PLACE,
            self.home.letters,
            deaths=process.chart,
            room=lambda: 100,
            post=self.fifo.append,
        )
        self.inbox.open()

    def get(self, *numbers: int, sent_at: float = 0.0) -> Handed:
        events = (envelope(number, sent_at=sent_at) for number in numbers)
        delivery = Handed(frame_of(*events))
        self.inbox.receive(delivery)
        return delivery

    def handle(self, *numbers: int) -> None:
        for arrival in list(self.fifo):
            if arrival.envelope.sequence in numbers:
                self.fifo.remove(arrival)
                self.inbox.finished(arrival)

    @property
    def waiting(self) -> list[int]:
        return [arrival.envelope.sequence for arrival in self.fifo]


def test_a_chart_that_stops_notes_what_it_has_handled_of_a_frame() -> None:
    first, second = Process("one"), Process("two")
    chart = Working(first)
    chart.get(1, 2)
    chart.get(3, 4, 5, 6)
    chart.get(7, 8)
    chart.handle(1, 2, 3, 5)
    chart.inbox.close()
    chart.inbox.stopped(0)
    (note,) = second.hear(*(each.seal() for each in first.shelf.parcels))

    again = Working(second)
    frame = again.get(3, 4, 5, 6)
    again.get(7, 8)

    assert again.waiting == [4, 6, 7, 8]
    again.handle(4, 6)
    assert (frame.acks, note.acks) == (1, 1)
    assert not second.chart


def test_a_chart_that_stops_between_two_frames_notes_nothing() -> None:
    process = Process("one")
    chart = Working(process)
    chart.get(1, 2)
    chart.get(3, 4)
    chart.handle(1, 2)
    chart.inbox.close()

    chart.inbox.stopped(0)

    assert process.shelf.parcels == []


def test_what_waits_for_its_letter_counts_as_not_handled() -> None:
    """The first event is older than the window, and set aside; the letter is not stored yet."""
    first, second = Process("one"), Process("two")
    chart = Working(first)
    chart.get(2, sent_at=1_000.0)
    chart.get(40)
    chart.inbox.skip((THEIRS.incarnation, "talker"), [(3, 39)])
    chart.get(1, 41, 42)
    chart.handle(2, 40, 41)
    assert chart.waiting == [42]
    chart.inbox.close()
    chart.inbox.stopped(0)

    second.hear(*(each.seal() for each in first.shelf.parcels))

    assert [n for n in (1, 41, 42) if second.chart.has_handled(envelope(n))] == [41]
