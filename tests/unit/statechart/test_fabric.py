"""Who hears what is published, and what a chart that stops leaves behind on miros' fabric."""

from __future__ import annotations

from miros import ActiveObject

from miros_mesh.statechart import fabric as fabrics
from miros_mesh.statechart.fabric import subscribe, unsubscribe
from miros_mesh.statechart.mailbox import Mailbox
from support.forked import succeeds_in_a_child


def test_a_queue_that_hears_no_more_leaves_its_place_to_the_next() -> None:
    fabric = ActiveObject("any").fabric
    signal = "A_SIGNAL_OF_THIS_TEST"
    for _ in range(20):
        boxes = [Mailbox() for _ in range(3)]
        for box in boxes:
            subscribe(fabric, box, signal)
            subscribe(fabric, box, signal)
        for box in boxes:
            unsubscribe(fabric, box)
    assert len(fabric.fifo_subscriptions[signal]) == 3


def test_a_queue_behind_one_that_leaves_misses_nothing() -> None:
    fabric = ActiveObject("any").fabric
    signal = "ANOTHER_SIGNAL_OF_THIS_TEST"
    ours, theirs = Mailbox(), Mailbox()
    subscribe(fabric, ours, signal)
    listeners = fabric.fifo_subscriptions[signal]
    listeners.append(theirs)
    walk = iter(listeners)
    next(walk)
    unsubscribe(fabric, ours)
    assert next(walk) is theirs


def test_a_child_forked_during_a_change_can_subscribe_and_unsubscribe() -> None:
    fabric, box = ActiveObject("any").fabric, Mailbox()
    fabrics.renew_in_children()

    def change() -> None:
        subscribe(fabric, box, "A_SIGNAL_OF_THE_CHILD")
        unsubscribe(fabric, box)

    with fabrics._changing:
        assert succeeds_in_a_child(change)
