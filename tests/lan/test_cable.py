"""A cable is pulled and put back."""

from __future__ import annotations

from lan.hosts import LIMIT_S, A, B, C, Node, Street
from support.waiting import wait_until

PER_S = 200
# Two missed heartbeats and a dead attempt to connect need not take a minute.
QUICK = {"heartbeat_interval_s": 1.0, "connect_timeout_s": 1.0}


def notices(node: Node, signal: str, address: str) -> list[str]:
    """The node's own signals about one host's broker that its chart has handled."""
    return [payload for payload in node.handled(signal) if f"@{address}:" in payload]


def test_a_pulled_cable_is_a_peer_down_and_costs_the_others_nothing(street: Street) -> None:
    # Given three hosts that know each other, and a stream of numbers from each of two
    nodes = ada, bob, cyd = street.start(A, B, C, **QUICK)
    street.meet(*nodes)
    ada.do("count", signal="from_ada", per_s=PER_S)
    bob.do("count", signal="from_bob", per_s=PER_S)
    wait_until(lambda: len(cyd.handled("from_ada")) > PER_S / 2, LIMIT_S)

    # When the cable of the third is pulled
    far = street.address(C)
    street.lan.network.cut(C)
    try:
        # Then the charts of the others hear of it
        for node in (ada, bob):
            wait_until(lambda: notices(node, "PEER_DOWN", far), LIMIT_S)  # noqa: B023
        before = len(bob.handled("from_ada"))
        wait_until(lambda: len(bob.handled("from_ada")) > before + PER_S / 2, LIMIT_S)
    finally:
        street.lan.network.mend(C)

    # And when it is put back, of that
    for node in (ada, bob):
        node.wait_up(street.addresses(*{A, B, C} - {node.host}))
        wait_until(lambda: len(notices(node, "PEER_UP", far)) >= 2, LIMIT_S)  # noqa: B023

    # And no event is lost: neither between the two, nor for the host that was cut off
    sent_by_ada, sent_by_bob = ada.do("counted"), bob.do("counted")
    assert sent_by_ada > PER_S
    for node, signal, sent in (
        (bob, "from_ada", sent_by_ada),
        (ada, "from_bob", sent_by_bob),
        (cyd, "from_ada", sent_by_ada),
        (cyd, "from_bob", sent_by_bob),
    ):
        wait_until(lambda: last(node, signal) == sent - 1, LIMIT_S, message=f"{node.name} {signal}")  # noqa: B023
        first = node.handled(signal)[0]
        assert node.handled(signal) == list(range(first, sent))
    for node in nodes:
        assert not node.facts("dropped", reason="outbox_overflow")
        assert not node.facts("gap")


def last(node: Node, signal: str) -> int:
    handled = node.handled(signal)
    return handled[-1] if handled else -1
