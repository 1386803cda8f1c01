"""What somebody may send who has the key, and what an inbox makes of it."""

from __future__ import annotations

import time

import pytest

from miros_mesh.networks.order.doubts import MAX_OF_SILENT
from miros_mesh.wire.identity import Identity
from support.inboxes import Chart, Notes
from support.ports_in_hand import Handed
from support.sealed import THEIRS, envelope, frame_of


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
