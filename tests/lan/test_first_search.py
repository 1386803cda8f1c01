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


def test_what_was_sent_before_is_heard_in_order_and_before_what_is_newer(street: Street) -> None:
    # Given two hosts, and a third one whose search takes its time
    others = street.start(B, C)
    street.meet(*others)
    street.list_hosts(A, NOBODY)
    third = street.start(A)[0]

    # When it sends all the while, and goes on after that
    third.do("count", signal="number", per_s=200)
    third.wait_for("searched", source="manual")
    street.meet(third, *others)
    sent = third.do("counted")

    # Then each of the others hears all of it
    for each in others:
        wait_until(lambda: len(each.handled("number")) == sent, LIMIT_S)  # noqa: B023
        assert each.handled("number") == list(range(sent))
        assert each.handled(FIRST).count(third.chart) == 1


def test_brokers_of_the_cache_get_the_first_events_too(street: Street) -> None:
    # Given a host that remembers two others
    others = street.start(B, C)
    searcher = street.start(A)[0]
    searcher.wait_up(street.addresses(B, C))
    wait_until(lambda: street.cache(A).exists(), LIMIT_S)
    street.end(searcher)

    # When it starts again
    again = street.start(A)[0]

    # Then they hear its first event, and it has not searched
    for each in others:
        each.wait_for("handled", signal=FIRST, payload=again.chart)
    assert again.facts("cache_read", hit=True)
    assert not again.facts("searched", source="lan")


def test_with_skip_the_first_events_go_to_no_broker_that_is_found_later(street: Street) -> None:
    nodes = street.start(A, B, C, first_search_wait="skip")
    street.meet(*nodes)
    for node in nodes:
        hear(node, [each for each in nodes if each is not node], f"word_of_{node.name}")

    # What came first would have come before that
    assert heard_starts(nodes) == []
    assert seen_starts(nodes) == []


def test_with_block_a_chart_starts_when_the_first_search_has_ended(street: Street) -> None:
    # Given two hosts that are there already
    others = street.start(B, C)
    street.meet(*others)
    street.list_hosts(A, NOBODY)

    # When a third one starts
    third = street.begin(A, first_search_wait="block")
    third.wait_for("searched", source="manual")
    third.wait_started()

    # Then it knew both before its first event, which they hear
    assert set(third.peers()) == street.addresses(B, C)
    assert all(each["at"] <= at_start(third) for each in third.facts("searched"))
    for each in others:
        each.wait_for("handled", signal=FIRST, payload=third.chart)


def at_start(node: Node) -> float:
    """When its chart began, by what it saw of its own start."""
    own = [f for f in node.facts("trace") if START in f["line"] and node.chart in f["line"]]
    return float(own[0]["at"])


def test_what_there_is_no_room_for_is_told_and_the_newest_is_heard(street: Street) -> None:
    # Given two hosts, and a third one that may keep five events and searches for seconds
    others = street.start(B, C)
    street.meet(*others)
    street.list_hosts(A, NOBODY)
    third = street.start(A, outbox_events=5)[0]

    # When it sends more than that
    for number in range(20):
        third.do("transmit", signal="number", payload=number)
    assert not third.facts("searched", source="manual"), "too slow: the search is over"
    third.wait_for("searched", source="manual")

    # Then it is told, and the others hear the last ones
    for each in others:
        each.wait_for("handled", signal="number", payload=19)
        assert each.handled("number") == list(range(15, 20))
        assert third.chart not in each.handled(FIRST)
    assert third.facts("dropped", network="mesh", reason="outbox_overflow")
    told = third.wait_for("handled", signal="OUTBOX_OVERFLOW")
    assert "brokers to come" in told["payload"]


def test_a_program_that_ends_at_once_is_heard(street: Street) -> None:
    # Given two hosts
    others = street.start(B, C)
    street.meet(*others)

    # When a third one stops as soon as it has started
    third = street.start(A, drain_timeout_s=30.0)[0]
    assert not third.facts("searched", source="lan"), "too slow: the search is over"
    report = street.end(third)

    # Then it has waited for its search, and its one event was confirmed at all three brokers
    assert "sent=3, confirmed=3, left_over=0" in report
    for each in others:
        each.wait_for("handled", signal=FIRST, payload=third.chart)


@pytest.mark.parametrize("limit_s", [0.0, 0.2])
def test_a_stop_in_the_middle_of_a_search_says_what_is_left_over(
    street: Street, limit_s: float
) -> None:
    # Given a host whose search takes seconds
    street.list_hosts(A, NOBODY)
    node = street.start(A, drain_timeout_s=limit_s)[0]
    node.do("transmit", signal="word", payload=None)
    # Two events for its own broker, and two for those to come
    wait_until(lambda: node.do("outbox") == 2, LIMIT_S)

    # When it stops before that has ended
    report = street.end(node)
    assert not node.facts("searched", source="manual"), "too slow: the search is over"

    # Then what its own broker has is confirmed, and the same is left over for those to come
    assert "sent=4, confirmed=2, left_over=2, dropped=0" in report
    assert node.facts("dropped", reason="stopped", events=2)
