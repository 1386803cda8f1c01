"""What has come for one stream of a client, until it is asked for."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pytest

from miros_mesh import Message
from miros_mesh.clients.reader import MOST_NOTICES, MOST_READY, Reader
from miros_mesh.errors import StreamInUseError
from miros_mesh.networks.arrival import Arrival, Reason
from miros_mesh.wire.envelope import Envelope, RoutedEnvelope
from support.waiting import wait_until

ME, OTHER = "me", "other"


@dataclass
class Inbox:
    """What becomes of the arrivals of an inbox."""

    old: bool = False
    done: list[int] = field(default_factory=list)
    too_old: list[int] = field(default_factory=list)

    def is_expired(self, event: Envelope) -> bool:
        return self.old

    def expired(self, arrival: Arrival) -> None:
        self.too_old.append(arrival.payload)

    def finished(self, arrival: Arrival) -> None:
        self.done.append(arrival.payload)

    def set_aside(self, arrival: Arrival, reason: Reason) -> None:
        raise NotImplementedError

    def take_back(self, arrival: Arrival) -> None:
        raise NotImplementedError


def arrival(inbox: Inbox, number: int, ttl_s: float | None = None) -> Arrival:
    plain = Envelope("afar", "sender", "1ncarn", number, "knock", b"", 0.0, None)
    if ttl_s is None:
        return Arrival(plain, inbox, payload=number)
    fields = (getattr(plain, name) for name in Envelope.__struct_fields__)
    return Arrival(RoutedEnvelope(*fields, ttl_s=ttl_s), inbox, payload=number)


def filled(inbox: Inbox, amount: int) -> Reader:
    reader = Reader()
    for number in range(1, amount + 1):
        reader.put(arrival(inbox, number))
    return reader


def payload(message: Message | None) -> object:
    assert message
    return message.payload


def test_an_event_is_done_when_the_next_one_is_asked_for() -> None:
    inbox = Inbox()
    reader = filled(inbox, 2)

    assert payload(reader.take(ME)) == 1
    assert inbox.done == []
    assert payload(reader.take(ME)) == 2
    assert inbox.done == [1]
    assert reader.take(ME) is None
    assert inbox.done == [1, 2]


def test_an_event_is_done_once_however_often_that_is_said() -> None:
    inbox = Inbox()
    reader = filled(inbox, 1)
    reader.take(ME)
    reader.handled()
    reader.handled()
    assert inbox.done == [1]


def test_it_says_where_an_event_comes_from() -> None:
    message = filled(Inbox(), 1).take(ME)
    assert message
    assert message.received
    assert message.received.sender == "afar/sender"


def test_a_signal_of_the_library_waits_in_its_turn_and_needs_no_acknowledgement() -> None:
    inbox = Inbox()
    reader = filled(inbox, 1)
    reader.put(Message("PEER_UP", "here"))
    reader.put(arrival(inbox, 2))

    assert [payload(reader.take(ME)) for _ in range(3)] == [1, "here", 2]
    assert inbox.done == [1]


def test_of_too_many_signals_of_the_library_the_oldest_go_and_no_event_does() -> None:
    inbox = Inbox()
    reader = filled(inbox, 1)
    for number in range(MOST_NOTICES + 5):
        reader.put_notice(Message("PEER_UP", f"peer {number}"))

    heard = [payload(reader.take(ME)) for _ in range(len(reader))]
    assert heard == [1, *(f"peer {number}" for number in range(5, MOST_NOTICES + 5))]


def test_an_event_that_has_become_too_old_is_set_aside_and_not_handed_out() -> None:
    inbox = Inbox(old=True)
    reader = Reader()
    reader.put(arrival(inbox, 1, ttl_s=1.0))
    reader.put(arrival(inbox, 2))

    assert payload(reader.take(ME)) == 2
    assert inbox.too_old == [1]
    assert inbox.done == []


def test_it_has_room_for_a_hundred() -> None:
    assert MOST_READY == 100
    assert [filled(Inbox(), amount).room() for amount in (0, 99, 100)] == [100, 1, 0]


def test_once_ended_nothing_comes_and_nothing_waits() -> None:
    inbox = Inbox()
    reader = filled(inbox, 3)
    reader.take(ME)
    reader.end()
    reader.put(arrival(inbox, 4))

    assert reader.ended
    assert len(reader) == 0
    assert reader.take(ME) is None
    # What was in hand by then may still be brought to its end.
    assert inbox.done == [1]


def test_what_is_put_back_comes_first_again() -> None:
    inbox = Inbox()
    reader = filled(inbox, 2)
    reader.take(ME)
    reader.put_back()
    assert [payload(reader.take(ME)) for _ in range(2)] == [1, 2]


def test_two_may_not_wait_for_the_next_event_and_one_may_after_the_other() -> None:
    reader = Reader()
    with reader.waiting_alone(), pytest.raises(StreamInUseError), reader.waiting_alone():
        pass
    with reader.waiting_alone():
        pass


def test_each_change_is_told_elsewhere() -> None:
    told: list[int] = []
    reader = Reader()
    reader.changed_elsewhere = lambda: told.append(len(reader))
    reader.put(arrival(Inbox(), 1))
    reader.ring()
    reader.end()
    assert told == [1, 1, 0]


@pytest.mark.parametrize("holder", [ME, None])
def test_nobody_waits_for_who_waits_nor_for_what_was_let_go_of(holder: str | None) -> None:
    reader = filled(Inbox(), 1)
    reader.take(ME)
    if holder is None:
        reader.forsake()
    began = time.monotonic()
    reader.wait_handled(began + 60.0, holder or OTHER)
    assert time.monotonic() < began + 30.0


@pytest.mark.parametrize("end", ["handled", "let_go"])
def test_what_another_has_in_hand_is_waited_for(end: str) -> None:
    reader = filled(Inbox(), 1)
    reader.take(ME)
    thread = threading.Thread(target=lambda: reader.wait_handled(time.monotonic() + 60.0, OTHER))
    thread.start()
    wait_until(lambda: reader.changed._waiters)  # type: ignore[attr-defined]
    assert thread.is_alive()
    getattr(reader, end)()
    thread.join(30.0)
    assert not thread.is_alive()


def test_the_wait_for_another_has_a_limit() -> None:
    reader = filled(Inbox(), 1)
    reader.take(ME)
    reader.wait_handled(time.monotonic() + 0.05, OTHER)
