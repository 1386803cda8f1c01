"""What charts send while their node searches for the first time, on three hosts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lan.hosts import LIMIT_S, A, B, C, Node, Street, hear
from support.waiting import wait_until

# What the ancestor's chart transmits in the INIT of its first state; its payload is its name. Its
# timers, which lead there again, ring after 20 s at the earliest.
FIRST = "other_to_outer"
START = "e->start_at() top->outer"
SOON_S = 15.0
# No host has this address, and a probe waits for it as long as it may.
NOBODY = "192.168.7.99"


def pairs(nodes: Sequence[Node]) -> list[tuple[Node, Node]]:
    """Every node with each of the others that it may hear."""
    return [(each, other) for each in nodes for other in nodes if other is not each]


def heard_starts(nodes: Sequence[Node]) -> list[tuple[str, str]]:
    """Who has handled the first event of whom, once for each time."""
    return [
        (each.host, other.host)
        for each, other in pairs(nodes)
        for _ in each.facts("handled", signal=FIRST, payload=other.chart)
    ]


def seen_starts(nodes: Sequence[Node]) -> list[tuple[str, str]]:
    """Who has seen in its trace that whom was started, once for each time."""
    return [
        (each.host, other.host)
        for each, other in pairs(nodes)
        for fact in each.facts("trace")
        if START in fact["line"] and other.chart in fact["line"]
    ]


def all_pairs(nodes: Sequence[Node]) -> list[tuple[str, str]]:
    return [(each.host, other.host) for each, other in pairs(nodes)]


def test_six_of_six_first_events_are_heard_and_their_traces_seen(street: Street) -> None:
    nodes = street.start(A, B, C)

    wait_until(
        lambda: heard_starts(nodes) == all_pairs(nodes),
        SOON_S,
        message=f"the first events are heard: {heard_starts(nodes)}",
    )
    wait_until(
        lambda: seen_starts(nodes) == all_pairs(nodes),
        SOON_S,
        message=f"the starts are seen: {seen_starts(nodes)}",
    )
    # Nothing counts as missing, and what follows is heard too
    for node in nodes:
        hear(node, [each for each in nodes if each is not node], f"word_of_{node.name}")
        assert not node.facts("gap")
        assert not node.facts("dropped")
