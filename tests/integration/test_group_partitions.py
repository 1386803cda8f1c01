"""A group whose events are filed by their keys: those of one key go to one member, in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest
from miros import Event

from support.charts_at_work import Ground, Launch, Recorder, event
from support.group_members import Member, join, send, sender
from support.waiting import wait_until

KEYS = 40
MANY = 600


def key_of(received: Event) -> int:
    return int(received.payload) % KEYS


def member(
    launch: Launch, ground: Ground, node: str, handle: Any, by: Any = key_of, **settings: Any
) -> Any:
    # Short, since members hear of each other at each of these
    given = {"heartbeat_interval_s": 1.0, **settings}
    return join(launch, ground, node, handle, partition_by=by, settings=given)


def by_key(numbers: Iterable[int]) -> dict[int, list[int]]:
    keys = defaultdict(list)
    for number in numbers:
        keys[number % KEYS].append(number)
    return keys


def all_handled(members: list[Member], amount: int) -> bool:
    return len({n for each in members for n in each.payloads}) == amount


def know_each_other(charts: list[Any]) -> None:
    """Wait until each member has heard of all others."""

    def known(chart: Any) -> int:
        seat = chart._session
        return len(seat.node.roster.members(seat._announced))

    wait_until(lambda: all(known(each) == len(charts) - 1 for each in charts), 20)


def test_a_member_alone_handles_every_key_in_order(ground: Ground, launch: Launch) -> None:
    only = Member()
    member(launch, ground, "till", only)

    send(sender(launch, ground), range(MANY))

    wait_until(lambda: all_handled([only], MANY), 30)
    assert len(only.done) == MANY
    assert not any(each.redelivered for each in only.done)
    for numbers in by_key(only.payloads).values():
        assert numbers == sorted(numbers)


def test_each_key_has_one_member_and_is_handled_in_order(ground: Ground, launch: Launch) -> None:
    members = [Member(), Member(), Member()]
    charts = [member(launch, ground, f"till{n}", each) for n, each in enumerate(members)]
    know_each_other(charts)
    shop = sender(launch, ground)

    # When the members have found their places
    send(shop, range(KEYS))
    wait_until(lambda: all_handled(members, KEYS), 30)
    for each in members:
        each.done.clear()
    send(shop, range(MANY))
    wait_until(lambda: all_handled(members, MANY), 30)

    # Then no key is handled by two of them, and all have some
    handled = [n for each in members for n in each.payloads]
    assert sorted(handled) == list(range(MANY))
    keys = [set(by_key(each.payloads)) for each in members]
    assert sum(map(len, keys)) == KEYS
    assert all(keys)
    for each in members:
        for numbers in by_key(each.payloads).values():
            assert numbers == sorted(numbers)


def test_members_come_and_go_and_nothing_is_lost_or_handled_twice(
    ground: Ground, launch: Launch
) -> None:
    members = [Member(pause_s=0.0005)]
    charts = [member(launch, ground, "till0", members[0])]
    shop = sender(launch, ground, frame_events=5)

    for turn in range(1, 4):
        send(shop, range((turn - 1) * MANY, turn * MANY))
        members.append(Member(pause_s=0.0005))
        charts.append(member(launch, ground, f"till{turn}", members[-1]))
        know_each_other(charts)
        charts.pop(0).stop()

    wait_until(lambda: all_handled(members, 3 * MANY), 60)
    assert sorted(n for each in members for n in each.payloads) == list(range(3 * MANY))


def test_an_event_that_has_no_key_is_set_aside_and_no_other(ground: Ground, launch: Launch) -> None:
    class Told(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.aside: list[str] = []

        def set_aside(self, *, chart: str, reason: str) -> None:
            self.aside.append(reason)

    def keys(received: Event) -> Any:
        # 3 has none, and that of 5 is of no use
        if received.payload == 3:
            raise KeyError("none")
        return 1.5 if received.payload == 5 else "a"

    told, only = Told(), Member()
    chart = member(launch, ground, "till", only, keys, observers=(told,))

    send(sender(launch, ground), range(10))

    wait_until(lambda: all_handled([only], 8), 30)
    wait_until(lambda: told.aside == ["partition_by"] * 2)
    assert only.payloads == [n for n in range(10) if n not in (3, 5)]
    assert chart.health().dead_charts == ()


def test_what_a_handler_learns_of_a_filed_event_is_what_its_sender_said(
    ground: Ground, launch: Launch
) -> None:
    learnt: list[Any] = []

    def handle(chart: Any, received: Event) -> None:
        if received.signal_name == "pay":
            learnt.append(chart.received)
            chart.reply(event("paid", received.payload))

    class Answers(list[Any]):
        def __call__(self, chart: Any, received: Event) -> None:
            if received.signal_name == "paid":
                self.append((received.payload, chart.received.sender))

    member(launch, ground, "till", handle)
    answers = Answers()
    shop = launch("shop", ground.node("shop"), answers, tx_routing_key="orders", rx_routing_key="x")

    asked = shop.request(event("pay", 7), timeout_s=20.0)

    wait_until(lambda: answers == [(7, "till/payment")])
    (told,) = learnt
    assert (told.sender, told.event_id, told.routing_key) == ("shop/shop", asked, "orders")
    assert told.wants_reply
    assert not told.redelivered


def test_a_member_that_dies_of_an_event_leaves_its_keys_to_the_others(
    ground: Ground, launch: Launch
) -> None:
    class Fragile(Member):
        def __call__(self, chart: Any, received: Event) -> None:
            if received.payload == 17 and not died:
                died.append(1)
                raise ValueError("fatal")
            super().__call__(chart, received)

    died: list[int] = []
    members = [Fragile(), Fragile()]
    charts = [member(launch, ground, f"till{n}", each) for n, each in enumerate(members)]
    know_each_other(charts)

    send(sender(launch, ground), range(MANY))

    wait_until(lambda: all_handled(members, MANY), 30)
    (again,) = (each for m in members for each in m.done if each.payload == 17)
    assert again.redelivered


pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
