"""One frame for several charts of a node, and one queue for several nodes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from miros_mesh.networks.inbox import Sharing
from miros_mesh.networks.mesh import BEAT, HELLO
from support.inboxes import Chart
from support.ports_in_hand import TOPIC, Handed
from support.sealed import OURS, PLACE, envelope, frame_of, mesh

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
