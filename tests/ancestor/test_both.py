"""Nodes of miros-rabbitmq 0.2.0 itself and of this library on one mesh."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count, permutations, product

import pytest

from ancestor.conftest import Start
from ancestor.hosts import ADDRESSES, LIMIT_S, A, B, C, D, Kind, Program
from support.waiting import wait_until

EVENTS = 1_000
SOME = 300
PER_S = 100.0
ENDS_S = 240.0
# Below these are the numbers that are counted.
FIRST_GREETING = 1_000_000
MOST_GREETINGS = 20
TRIES = 4
_greetings = count(FIRST_GREETING)
TRACE = re.compile(r"\[(?:\x1b\[\d+m)?(?P<chart>\w+)(?:\x1b\[0m)?\] e->move\(\) idle->busy")


def test_two_old_and_two_new_hear_each_event_of_each_other_once(start: Start) -> None:
    on = met(start, {A: "old", B: "old", C: "new", D: "new"})
    programs, old, new = list(on.values()), [on[A], on[B]], [on[C], on[D]]

    for each in programs:
        each.do("transmit", first=0, amount=EVENTS, per_s=PER_S)
    for each in programs:
        wait_until(lambda: each.has_sent(EVENTS), ENDS_S, message=each.name)  # noqa: B023

    # The old ones promise nothing; here none of them has more than it can take.
    pairs = [(x, y) for x in programs for y in programs if x is not y]
    for listener, sender in pairs:
        wait_until(
            lambda: len(counted(listener, sender)) >= EVENTS,  # noqa: B023
            ENDS_S,
            message=f"{sender.name} to {listener.name}",
        )
    for listener, sender in pairs:
        numbers = counted(listener, sender)
        assert numbers == list(range(EVENTS)), (sender.name, listener.name)
        print(f"{sender.name} to {listener.name}: {len(numbers):,} events, once and in order")
    # An ancestor gets its own back, as it always has; who is new does not.
    assert all(each.name not in each.heard() for each in new)
    where = new[0].received()
    assert where[old[0].name] == [ADDRESSES[A], "miros-rabbitmq"]
    assert where[new[1].name][1] == new[1].name

    # One terminal shows what all four do, whosever it is.
    old[0].do("move")
    for each in programs:
        wait_until(
            lambda: moved(each) == {one.name for one in programs},  # noqa: B023
            LIMIT_S,
            message=f"traces of {each.name}",
        )


def test_brokers_are_found_by_what_is_there(start: Start) -> None:
    # An old one that knows no other host, and a new one that is told of none.
    old = start(A, "old", (A,))
    old.wait_for("started")
    searching = start(C, "new", ())
    # It finds the old one's broker by its search, though no mesh of ours was ever there.
    assert until(lambda: searching.name in old.heard(), searching)

    # An old one that has found a new one's broker, by its own means: who is there hears where the
    # old one is, and adopts its broker.
    other = start(B, "old", (B, D), scouts=True)
    alien = start(D, "new", (), MIROS_MESH_DISCOVERY="manual")
    other.wait_for("started")
    assert until(lambda: other.name in alien.heard(), other)
    assert until(lambda: alien.name in other.heard(), alien)


@pytest.mark.proof
def test_hosts_are_migrated_one_by_one_while_events_flow(
    start: Start, record_property: Callable[[str, object], None]
) -> None:
    on = met(start, {A: "old", B: "old", C: "new", D: "new"})
    old, new = {host: on[host] for host in (A, B)}, {host: on[host] for host in (C, D)}
    amount, per_s = 4_000, 50.0
    for each in new.values():
        each.do("transmit", first=0, amount=amount, per_s=per_s)
    for host in (A, B):
        old[host].do("transmit", first=0, amount=amount, per_s=per_s)

    # One host after the other, while all others send.
    ended: list[Program] = []
    for host in (A, B):
        wait_until(
            lambda: len(counted(new[C], old[host])) >= SOME,  # noqa: B023
            ENDS_S,
            message=f"events of {old[host].name}",
        )
        old[host].stop()
        ended.append(old.pop(host))
        new[host] = start(host, "new")
        programs = [*old.values(), *new.values()]
        assert until(lambda: not unheard(programs), *programs), unheard(programs)  # noqa: B023

    stayed = new[C], new[D]
    for each in stayed:
        wait_until(lambda: each.has_sent(amount), ENDS_S, message=each.name)  # noqa: B023
    for listener, sender in (stayed, stayed[::-1]):
        wait_until(
            lambda: len(counted(listener, sender)) == amount,  # noqa: B023
            ENDS_S,
            message=f"{sender.name} to {listener.name}",
        )
        assert counted(listener, sender) == list(range(amount))
    for gone in ended:
        record_property(f"lost of {gone.name}", lost_of(gone, stayed))
    # Those that came instead hear what the others send from then on, once and in order.
    for came, sender in product((new[A], new[B]), stayed):
        numbers = counted(came, sender)
        assert numbers == list(range(numbers[0], amount))


def lost_of(gone: Program, listeners: Sequence[Program]) -> int:
    """How many events of an ancestor that has ended were not heard by all; none came twice.

    All are of its end, that is, were in its own hands when it ended: none before is missing.
    """
    got = [counted(each, gone) for each in listeners]
    for numbers in got:
        assert numbers == list(range(len(numbers)))
    # What it had in hand for all of them is known to it alone.
    sent = max(map(max, got)) + 1
    lost = sum(sent - len(numbers) for numbers in got)
    print(f"{gone.name}: {sent} events to {len(listeners)} listeners, {lost} lost")
    return lost


def met(start: Start, kinds: Mapping[str, Kind]) -> dict[str, Program]:
    """Start programs on hosts, and wait until each has heard each of the others."""
    on = {host: start(host, kind) for host, kind in kinds.items()}
    for _ in range(TRIES):
        if until(lambda: not unheard(on.values()), *on.values()):
            return on
        # Now and then a publisher of an ancestor does not come up, and it never tries again.
        silent = {speaker for speaker, _ in unheard(on.values()) if speaker.kind == "old"}
        for host, program in on.items():
            if program in silent:
                print(f"{program.name} is silent, and started anew")
                program.kill()
                on[host] = start(host, "old")
    raise AssertionError([(x.name, y.name) for x, y in unheard(on.values())])


def unheard(programs: Collection[Program]) -> list[tuple[Program, Program]]:
    """The pairs of a speaker and a listener that has not heard it yet."""
    heard = {each.name: set(each.heard()) for each in programs}
    return [
        (speaker, listener)
        for speaker, listener in permutations(programs, 2)
        if speaker.name not in heard[listener.name]
    ]


def until(condition: Callable[[], bool], *speakers: Program) -> bool:
    """Let some speak until a condition is met; return whether it was."""
    for each in speakers:
        each.wait_for("started")
    for _ in range(MOST_GREETINGS):
        number = next(_greetings)
        for each in speakers:
            each.do("transmit", first=number, amount=1, per_s=1000.0)
        try:
            wait_until(condition, 2.0)
        except AssertionError:
            continue
        return True
    return False


def counted(listener: Program, sender: Program) -> list[int]:
    """The numbers of a sender that were handled; greetings left out."""
    return [each for each in listener.heard().get(sender.name, []) if each < FIRST_GREETING]


def moved(terminal: Program) -> set[str]:
    """The charts of which a terminal has shown that they moved."""
    return {found["chart"] for line in terminal.traces() if (found := TRACE.search(line))}
