"""Deliveries are settled with the last of their events, whichever thread has handled it."""

from __future__ import annotations

import threading

from miros_mesh.networks.arrival import Arrival, Ticket
from support.ports_in_hand import Handed
from support.sealed import envelope, inbox


def settled(delivery: Handed) -> tuple[int, int]:
    return delivery.acks, delivery.rejects


def test_a_delivery_is_acknowledged_with_its_last_event() -> None:
    delivery = Handed(b"")
    ticket = Ticket(delivery, 2)

    ticket.done()
    assert settled(delivery) == (0, 0)

    ticket.done()
    assert settled(delivery) == (1, 0)


def test_a_frame_is_acknowledged_once_however_often_it_is_done() -> None:
    delivery = Handed(b"")
    ticket = Ticket(delivery, 2)

    for _ in range(5):
        ticket.done()

    assert delivery.acks == 1
    assert not ticket.partly_done


def test_an_event_that_came_twice_settles_both_deliveries() -> None:
    deliveries = Handed(b""), Handed(b"")
    arrival = Arrival(envelope(), inbox(), tickets=[Ticket(each, 1) for each in deliveries])

    arrival.done()

    assert [settled(each) for each in deliveries] == [(1, 0), (1, 0)]


def test_a_frame_is_begun_for_all_of_its_events_with_the_first() -> None:
    ticket = Ticket(Handed(b""), 2)
    first, second = (Arrival(envelope(number), inbox(), tickets=[ticket]) for number in (1, 2))
    assert not second.begun

    first.begin()

    assert second.begun


def test_what_came_by_repair_counts_as_begun() -> None:
    assert Arrival(envelope(), inbox()).begun


def test_events_that_are_done_on_many_threads_settle_a_delivery_once() -> None:
    for _ in range(50):
        delivery, begin = Handed(b""), threading.Barrier(4)
        ticket = Ticket(delivery, 40)

        def handle(ticket: Ticket = ticket, begin: threading.Barrier = begin) -> None:
            begin.wait()
            for _ in range(10):
                ticket.done()

        threads = [threading.Thread(target=handle) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert settled(delivery) == (1, 0)
