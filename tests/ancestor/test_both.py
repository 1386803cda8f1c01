"""Nodes of miros-rabbitmq 0.2.0 itself and of this library on one mesh."""

from __future__ import annotations

from collections.abc import Sequence

from ancestor.conftest import Start
from ancestor.hosts import ADDRESSES, LIMIT_S, A, B, C, D, Program
from support.waiting import wait_until

EVENTS = 1_000
PER_S = 100.0
ENDS_S = 120.0


def met(programs: Sequence[Program]) -> None:
    """Wait until each has heard each of the others."""
    for number in range(1_000_000, 1_000_060):
        for each in programs:
            each.do("transmit", first=number, amount=1, per_s=1000.0)
        try:
            wait_until(lambda: all_heard(programs), 2.0)
        except AssertionError:
            continue
        return
    raise AssertionError({each.name: sorted(each.heard()) for each in programs})


def all_heard(programs: Sequence[Program]) -> bool:
    names = {each.name for each in programs}
    return all(names - {each.name} <= set(each.heard()) for each in programs)


def counted(listener: Program, sender: Program) -> list[int]:
    """The numbers of a sender that were handled; those of before left out."""
    return [each for each in listener.heard().get(sender.name, []) if each < EVENTS]


def test_two_old_and_two_new_hear_each_other_and_each_event_once(start: Start) -> None:
    old = [start(A, "old"), start(B, "old")]
    new = [start(C, "new"), start(D, "new")]
    programs = [*old, *new]
    for each in programs:
        each.wait_for("started")
    met(programs)

    for each in programs:
        each.do("transmit", first=0, amount=EVENTS, per_s=PER_S)
    for each in programs:
        each.wait_for("sent", ENDS_S)

    pairs = [(x, y) for x in programs for y in programs if x is not y]
    # The old ones promise nothing; here none of them is busy.
    for listener, sender in pairs:
        wait_until(
            lambda: len(counted(listener, sender)) >= EVENTS,  # noqa: B023
            LIMIT_S,
            message=f"{sender.name} to {listener.name}",
        )
    for listener, sender in pairs:
        assert sorted(counted(listener, sender)) == list(range(EVENTS)), (
            sender.name,
            listener.name,
        )
    where = new[0].received()
    assert where[old[0].name] == [ADDRESSES[A], "miros-rabbitmq"]
