"""What is missing in the inbox of a chart, and what it does at its end."""

from __future__ import annotations

import math
import threading

import pytest

from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.inbox import Inbox
from miros_mesh.networks.mesh import BEAT, GOODBYE
from support.inboxes import Chart, Notes
from support.ports_in_hand import Handed
from support.sealed import PLACE, THEIRS, LetterShelf, envelope, frame_of, mesh

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
