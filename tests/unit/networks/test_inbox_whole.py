"""Whatever comes in whichever order, the inbox of a chart keeps what it promises."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.inbox import Inbox
from miros_mesh.networks.mesh import BEAT
from miros_mesh.wire.identity import Identity
from support.inboxes import Chart
from support.ports_in_hand import Handed
from support.sealed import OURS, THEIRS, envelope, frame_of

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
