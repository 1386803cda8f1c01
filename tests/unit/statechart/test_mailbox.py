"""Mailboxes: what enters them, and what they leave behind on miros' fabric."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from miros import ActiveObject, Event

from miros_mesh.statechart.mailbox import Mailbox, subscribe, unsubscribe

SIGNAL = "CONNECTION_DISCOVERY"


def event(origin: str | None = None) -> Event:
    return Event(signal=SIGNAL, payload=SimpleNamespace(origin=origin))


def test_events_of_other_nodes_do_not_enter() -> None:
    box = Mailbox("chart", "mine")
    box.append(event("yours"))
    box.append(Event(signal=SIGNAL, payload={"origin": "yours"}))
    assert len(box) == 0


def test_events_of_this_node_and_of_nobody_enter_in_order() -> None:
    box = Mailbox("chart", "mine")
    events = [event("mine"), event(), Event(signal=SIGNAL), Event(signal=SIGNAL, payload={})]
    for each in events:
        box.append(each)
    assert [box.popleft() for _ in range(4)] == events


def test_a_full_mailbox_drops_the_newest_and_says_so_once(caplog) -> None:
    box = Mailbox("chart", "mine")
    first = event()
    box.append(first)
    for _ in range(600):
        box.append(event())
    assert len(box) == 500
    assert box.popleft() is first
    assert caplog.text.count("chart is flooded") == 1


def test_what_many_threads_post_is_all_there() -> None:
    box = Mailbox("chart", "mine")
    threads = [
        threading.Thread(target=lambda: [box.put(event()) for _ in range(100)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(box) == box.qsize() == 400


def test_a_closed_mailbox_gives_back_what_it_held_and_takes_nothing() -> None:
    box = Mailbox("chart", "mine")
    held = event()
    box.append(held)
    assert box.close() == [held]
    assert not box.put(event())


def test_a_mailbox_that_has_gone_leaves_its_place_to_the_next() -> None:
    fabric = ActiveObject("any").fabric
    signal = "A_SIGNAL_OF_THIS_TEST"
    for _ in range(20):
        boxes = [Mailbox(f"chart {number}", "mine") for number in range(3)]
        for box in boxes:
            subscribe(fabric, box, signal)
            subscribe(fabric, box, signal)
        for box in boxes:
            unsubscribe(fabric, box)
    assert len(fabric.fifo_subscriptions[signal]) == 3


def test_a_program_that_subscribes_meanwhile_keeps_its_place() -> None:
    fabric = ActiveObject("any").fabric
    signal = "ANOTHER_SIGNAL_OF_THIS_TEST"
    ours, theirs = Mailbox("ours", "mine"), Mailbox("theirs", "mine")
    subscribe(fabric, ours, signal)
    listeners = fabric.fifo_subscriptions[signal]
    listeners.append(theirs)
    walk = iter(listeners)
    next(walk)
    unsubscribe(fabric, ours)
    assert next(walk) is theirs
