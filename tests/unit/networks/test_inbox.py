"""What arrives for one chart: fed in order while there is room, acknowledged once handled."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from miros_mesh.networks.mesh import GOODBYE
from miros_mesh.wire.envelope import RESERVED_PREFIX, SENT_AGAIN, kept
from support.inboxes import Chart, Notes
from support.ports_in_hand import Handed
from support.sealed import OURS, PLACE, THEIRS, envelope, frame_of

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
