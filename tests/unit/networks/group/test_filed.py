"""The inbox of filed events: what is ours is fed in order, what is another's is given back."""

from __future__ import annotations

from typing import Any

import pytest

from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.group.filed import FiledInbox
from miros_mesh.networks.inbox import Sharing
from miros_mesh.networks.network import Network
from miros_mesh.observer import Observer
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import Filed
from miros_mesh.wire.keyring import KeyRing
from support.ports_in_hand import Handed
from support.sealed import FRAME_LIMIT, KEY, OURS, PLACE, LetterShelf, envelope, mesh

codec = Codec("group", KeyRing([KEY]), Filed, max_frame_bytes=FRAME_LIMIT)
ONE, OTHER = "group.p0", "group.p1"


class Member:
    """A member of a group, with room for so many events, and what it was told to do."""

    def __init__(self, places: int = 100) -> None:
        self.places = places
        self.fifo: list[Arrival] = []
        self.theirs: set[str] = set()
        self.asides: list[str] = []
        self.inbox = FiledInbox(
            mesh(),
            PLACE,
            LetterShelf().letters,
            filed=Network("group", codec, Observer(), frame_events=3, frame_bytes=1_000),
            topics=(ONE, OTHER),
            line=self,
            kept_s=60.0,
            sharing=Sharing(ordered=False, max_deliveries=5),
            room=lambda: self.places - len(self.fifo),
            post=self.fifo.append,
        )
        self.inbox.open()

    def is_mine(self, topic: str) -> bool:
        return topic not in self.theirs

    def step_aside(self, topic: str) -> None:
        self.asides.append(topic)

    def receive(
        self, *numbers: int, topic: str = ONE, again: bool = False, returned: bool = False
    ) -> Handed:
        messages = [
            Filed(OURS.node, "c", OURS.incarnation, n, envelope(n), "orders", again)
            for n in numbers
        ]
        body = codec.seal([codec.encode(each) for each in messages], topic)
        delivery = Handed(body, returned=returned, topic=topic)
        self.inbox.receive(delivery)
        return delivery

    def handle(self, count: int = 1) -> None:
        for _ in range(count):
            self.inbox.finished(self.fifo.pop(0))
            self.inbox.feed()

    @property
    def waiting(self) -> list[int]:
        return [each.envelope.sequence for each in self.fifo]


@pytest.fixture
def member() -> Member:
    return Member()


def test_what_is_ours_is_fed_as_it_was_filed_and_acknowledged_once_handled(member: Member) -> None:
    # In the order of filing, whatever their numbers
    delivery = member.receive(5, 3, 9)

    assert member.waiting == [5, 3, 9]
    assert [each.topic for each in member.fifo] == ["orders"] * 3
    member.handle(2)
    assert delivery.acks == 0
    member.handle()
    assert delivery.acks == 1


def test_a_copy_that_another_sorter_has_filed_is_dropped(member: Member) -> None:
    first = member.receive(1)
    copy = member.receive(1, again=True)
    assert member.waiting == [1]

    member.handle()

    assert (first.acks, copy.acks) == (1, 1)
    assert member.receive(1, again=True).acks == 1
    assert member.waiting == []


@pytest.mark.parametrize("how", [{"again": True}, {"returned": True}])
def test_what_may_have_been_handled_before_says_so(how: dict[str, Any], member: Member) -> None:
    member.receive(1)
    member.receive(2, **how)

    assert [each.redelivered for each in member.fifo] == [False, True]


def test_what_is_anothers_goes_back_at_once(member: Member) -> None:
    member.theirs = {ONE}

    delivery = member.receive(1)
    later = member.receive(2)

    assert member.waiting == []
    assert (delivery.acks, delivery.rejects, later.acks) == (0, 0, 0)
    assert member.asides == [ONE]
    # Of another partition all goes on
    member.receive(3, topic=OTHER)
    assert member.waiting == [3]


def test_before_it_goes_back_what_was_begun_is_handled_and_the_rest_let_go() -> None:
    # Given room for one event, a frame that is begun and one that is not
    member = Member(places=1)
    begun, waiting = member.receive(1, 2), member.receive(3)

    # When something comes that is another's
    member.theirs = {ONE}
    member.receive(4)

    # Then the begun frame is handled as a whole, and only then is it given back
    assert member.asides == []
    member.handle(2)
    assert begun.acks == 1
    assert waiting.acks == 0
    assert member.asides == [ONE]
    assert member.waiting == []


def test_what_was_given_back_is_taken_when_it_comes_again(member: Member) -> None:
    member.theirs = {ONE}
    member.receive(1)
    member.inbox.lost(ONE)

    member.theirs = set()
    member.receive(1, returned=True)

    assert member.waiting == [1]


def test_what_was_begun_when_the_connection_was_lost_is_known_when_it_comes_again() -> None:
    member = Member(places=1)
    member.receive(1)
    member.receive(2)

    member.inbox.lost(ONE)
    again, other = member.receive(1, returned=True), member.receive(2, returned=True)

    member.handle()
    assert again.acks == 1
    assert member.waiting == [2]
    member.handle()
    assert other.acks == 1


def test_after_its_end_nothing_is_taken(member: Member) -> None:
    member.inbox.close()

    delivery = member.receive(1)

    assert (member.waiting, delivery.acks, delivery.rejects) == ([], 0, 0)


def test_what_was_filed_for_another_topic_is_refused(member: Member) -> None:
    body = member.receive(1).body
    stray = Handed(body, topic=OTHER)

    member.inbox.receive(stray)

    assert member.waiting == [1]
