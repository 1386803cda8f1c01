"""What an ancestor sends to one chart: in the order in which it comes, each once."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from cryptography.fernet import Fernet

from miros_mesh.networks.ancestor.inbox import AncestorInbox
from miros_mesh.networks.ancestor.network import MESH, AncestorNetwork
from miros_mesh.networks.arrival import Arrival, Reason
from miros_mesh.networks.inbox import Inbox
from miros_mesh.wire.ancestor.events import EventCodec
from miros_mesh.wire.envelope import Envelope
from miros_mesh.wire.freshness import Limits
from miros_mesh.wire.keyring import KeyRing
from support.ports_in_hand import TOPIC, Handed
from support.post_office import Notebook
from support.sealed import KEY, PLACE, LetterShelf, mesh, serializer


class Chart:
    """A chart with a FIFO of so many places, and its inbox for what ancestors send."""

    def __init__(self, places: int = 100) -> None:
        self.places = places
        self.fifo: list[Arrival] = []
        self.addresses: list[str] = []
        self.notes = Notebook()
        self.home = LetterShelf(self.notes)
        codec = EventCodec(
            KeyRing([KEY]),
            serializer,
            {},
            address=lambda: "10.0.0.7",
            heard=self.addresses.append,
            max_event_bytes=1_000,
            max_bytes=10_000,
        )
        network: AncestorNetwork[Envelope] = AncestorNetwork(MESH, codec, self.notes, Limits())
        self.inbox: Inbox = AncestorInbox(
            mesh(self.notes),
            PLACE,
            self.home.letters,
            ancestors=network,
            hears=(TOPIC,),
            room=lambda: self.places - len(self.fifo),
            post=self.fifo.append,
        )
        self.inbox.open()

    def receive(self, number: object, body: bytes | None = None) -> Handed:
        text = f'{{"signal_name": "number", "payload": {number}}}'
        delivery = Handed(body or Fernet(KEY).encrypt(pickle.dumps(("10.0.0.1", text))))
        self.inbox.receive(delivery)
        return delivery

    def handle(self) -> Arrival:
        arrival = self.fifo.pop(0)
        self.inbox.finished(arrival)
        self.inbox.feed()
        return arrival


@pytest.fixture
def chart() -> Chart:
    return Chart()


def test_events_are_posted_as_they_come_and_acknowledged_when_they_were_handled(
    chart: Chart,
) -> None:
    deliveries = [chart.receive(number) for number in range(5)]
    assert [each.acks for each in deliveries] == [0] * 5
    assert [chart.handle().payload for _ in range(5)] == [0, 1, 2, 3, 4]
    assert [each.acks for each in deliveries] == [1] * 5
    assert chart.addresses == ["10.0.0.1"] * 5


def test_what_has_no_room_waits(chart: Chart) -> None:
    chart.places = 2
    for number in range(4):
        chart.receive(number)
    assert [each.payload for each in chart.fifo] == [0, 1]
    assert [chart.handle().payload for _ in range(4)] == [0, 1, 2, 3]


def test_a_body_that_comes_again_is_handled_once_and_acknowledged_twice(chart: Chart) -> None:
    first = chart.receive(1)
    again = chart.receive(1, first.body)
    chart.handle()
    late = chart.receive(1, first.body)
    assert chart.fifo == []
    assert [each.acks for each in (first, again, late)] == [1, 1, 1]


def test_what_cannot_be_read_is_rejected_and_no_dead_letter(chart: Chart) -> None:
    delivery = chart.receive(0, b"hello")
    assert (delivery.acks, delivery.rejects) == (0, 1)
    assert chart.home.kept == []


def test_an_event_that_is_set_aside_is_a_letter_like_any_other(chart: Chart) -> None:
    delivery = chart.receive(7)
    arrival = chart.fifo.pop(0)
    chart.inbox.set_aside(arrival, Reason("handler", "ValueError"))
    (letter,) = chart.home.kept
    assert letter.event
    assert (letter.queue, serializer.loads(letter.event.payload)) == (PLACE.queue, 7)
    chart.home.confirm()
    assert delivery.acks == 1


def test_after_the_connection_was_lost_what_was_not_begun_comes_again(chart: Chart) -> None:
    chart.places = 1
    begun, waiting = chart.receive(0), chart.receive(1)
    chart.inbox.begin_anew()

    again: list[Any] = [chart.receive(0, begun.body), chart.receive(1, waiting.body)]
    assert [chart.handle().payload for _ in range(2)] == [0, 1]
    assert chart.fifo == []
    assert [each.acks for each in again] == [1, 1]


def test_a_closed_one_takes_nothing_and_counts_what_came(chart: Chart) -> None:
    chart.receive(0)
    assert chart.inbox.close() == 1
    delivery = chart.receive(1)
    assert (delivery.acks, delivery.rejects) == (0, 0)
    assert chart.inbox.close() == 2
