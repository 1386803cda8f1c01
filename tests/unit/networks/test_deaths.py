"""What one process of a node name tells the next one of what ended its charts."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from miros_mesh.link.ports import Parcel
from miros_mesh.networks.deaths import LARGEST_NOTE_BYTES, ChartDeaths, Deaths
from miros_mesh.networks.network import Network
from miros_mesh.observer import Observer
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import DeadChart, Death, DeathNote, Envelope
from miros_mesh.wire.identity import Identity
from miros_mesh.wire.keyring import KeyRing
from support.ports_in_hand import Handed, Shelf
from support.sealed import KEY, envelope
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
        notes = [Handed(body) for body in bodies]
        for note in notes:
            self.deaths.receive(note)
        return notes

    def dies(self, event: Envelope | None, *done: Envelope) -> bytes:
        """The note of a death."""
        self.chart.died(ERROR, event, done, 0)
        return self.shelf.parcels[-1].seal()


class Confirming(Shelf):
    """A publisher whose broker confirms at once."""

    def put(self, parcel: Parcel) -> Sequence[Parcel]:
        super().put(parcel)
        parcel.stored()
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

    process.hear(codec.seal([codec.encode(note)]))

    assert len(process.chart.handled) == 100_000
