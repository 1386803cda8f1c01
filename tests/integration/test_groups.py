"""Charts of one name on several nodes share a queue: by turns, or all of them at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from miros import Event

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.errors import GroupError
from support.charts_at_work import Ground, Heard, Launch, Recorder, alone, event
from support.group_members import GROUP, TOPIC, Member, join, send, sender, unmarked_repeats
from support.kept_letters import kept_letters
from support.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

MANY = 300
MODES = ("standby", "share")
modes = pytest.mark.parametrize("mode", MODES)


def all_done(members: list[Member], amount: int) -> Callable[[], bool]:
    return lambda: len({each.payload for m in members for each in m.done}) == amount


def test_in_standby_one_member_handles_all_in_order(ground: Ground, launch: Launch) -> None:
    members = [Member(), Member(), Member()]
    for number, member in enumerate(members):
        join(launch, ground, f"till{number}", member, "standby")

    send(sender(launch, ground), range(MANY))

    wait_until(all_done(members, MANY))
    assert sorted(len(each.done) for each in members) == [0, 0, MANY]
    assert max(members, key=lambda each: len(each.done)).payloads == list(range(MANY))


def test_sharing_members_handle_each_event_once_and_each_handles_some(
    ground: Ground, launch: Launch
) -> None:
    members = [Member(pause_s=0.001), Member(pause_s=0.001), Member(pause_s=0.001)]
    for number, member in enumerate(members):
        join(launch, ground, f"till{number}", member)

    send(sender(launch, ground, frame_events=1), range(MANY))

    wait_until(all_done(members, MANY))
    assert sorted(n for each in members for n in each.payloads) == list(range(MANY))
    # How many is a matter of load, and the machine may have more to do than this.
    assert all(each.done for each in members)
    assert not any(each.redelivered for member in members for each in member.done)


@modes
def test_what_a_member_that_leaves_has_not_begun_the_next_one_gets_at_once(
    mode: str, ground: Ground, launch: Launch
) -> None:
    # Given a member that stands still with more frames in hand than its chart has room for
    first, second = Member(), Member()
    first.gate.clear()
    leaving = join(launch, ground, "till1", first, mode)
    # The sender has sent all of it, and says nothing more
    shop = sender(launch, ground, frame_events=50)
    send(shop, range(MANY))
    assert shop.stop().all_confirmed
    join(launch, ground, "till2", second, mode)

    # When it leaves
    end = threading.Thread(target=leaving.stop)
    end.start()
    first.gate.set()
    end.join()

    # Then the other one handles the rest, marked where it was in hand, and nothing twice
    wait_until(all_done([first, second], MANY), 5.0)
    assert first.payloads
    assert second.payloads
    if mode == "standby":
        assert first.payloads + second.payloads == list(range(MANY))
        assert second.done[0].redelivered
        assert second.done[0].deliveries == 2
    else:
        assert sorted(first.payloads + second.payloads) == list(range(MANY))
        assert any(each.redelivered for each in second.done)


@modes
def test_members_come_and_go_while_events_flow_and_nothing_is_lost_or_handled_twice(
    mode: str, ground: Ground, launch: Launch
) -> None:
    members = [Member(pause_s=0.0005)]
    charts = [join(launch, ground, "till0", members[0], mode)]
    shop = sender(launch, ground, frame_events=5)

    for turn in range(1, 5):
        send(shop, range((turn - 1) * MANY, turn * MANY))
        members.append(Member(pause_s=0.0005))
        charts.append(join(launch, ground, f"till{turn}", members[-1], mode))
        charts.pop(0).stop()

    wait_until(all_done(members, 4 * MANY))
    handled = [n for each in members for n in each.payloads]
    assert sorted(handled) == list(range(4 * MANY))
    if mode == "standby":
        assert handled == sorted(handled)


@modes
def test_a_group_keeps_what_comes_while_no_member_is_there(
    mode: str, ground: Ground, launch: Launch
) -> None:
    join(launch, ground, "till1", Member(), mode).stop()
    # Of a mesh in memory nothing is left when the last node goes.
    shop = sender(launch, ground)
    send(shop, range(MANY))

    member = Member()
    join(launch, ground, "till2", member, mode)

    wait_until(all_done([member], MANY))
    assert member.payloads == list(range(MANY))


@modes
def test_a_member_handles_what_it_has_sent_to_its_own_group(
    mode: str, ground: Ground, launch: Launch
) -> None:
    member = Member()
    chart = join(launch, ground, "till", member, mode, tx_routing_key=TOPIC)

    send(chart, range(10))

    wait_until(all_done([member], 10))
    assert member.payloads == list(range(10))


def test_what_members_send_to_their_own_group_is_handled_once_by_any(
    ground: Ground, launch: Launch
) -> None:
    members = [Member(), Member()]
    charts = [
        join(launch, ground, f"till{number}", member, tx_routing_key=TOPIC)
        for number, member in enumerate(members)
    ]

    for number in range(MANY):
        send(charts[number % 2], [number])

    wait_until(all_done(members, MANY))
    assert sorted(n for each in members for n in each.payloads) == list(range(MANY))


@modes
def test_a_member_without_a_node_name_takes_part(mode: str, ground: Ground, launch: Launch) -> None:
    members = [Member(), Member()]
    for number, member in enumerate(members):
        # Those of equal settings would share a node.
        settings = {"node_name": None, "dedup_window": 2_000 + number}
        join(launch, ground, "", member, mode, settings=settings)

    send(sender(launch, ground), range(MANY))

    wait_until(all_done(members, MANY))
    assert sum(len(each.done) for each in members) == MANY


@modes
def test_events_to_one_member_and_replies_reach_it_alone(
    mode: str, ground: Ground, launch: Launch
) -> None:
    # Given two members, of which each tells who it is
    def answering(name: str) -> Callable[[NetworkedActiveObject, Event], None]:
        def handle(chart: NetworkedActiveObject, received: Event) -> None:
            if received.signal_name == "who":
                chart.reply(event("me", name))
            elif received.signal_name == "me":
                heard[name].append(received.payload)

        return handle

    heard: dict[str, list[str]] = {"till1": [], "till2": []}
    charts = {
        name: join(launch, ground, name, answering(name), mode) for name in ("till1", "till2")
    }
    asking = Heard()
    shop = launch("shop", ground.node("shop"), asking, rx_routing_key="none", spied=False)

    # When each is asked alone, and asks the other one
    for name in charts:
        shop.request(event("who"), timeout_s=20.0, to=f"{name}/payment")
        wait_until(lambda name=name: asking == [("me", name)])
        asking.clear()
    charts["till1"].request(event("who"), timeout_s=20.0, to="till2/payment")
    charts["till2"].request(event("who"), timeout_s=20.0, to="till1/payment")

    # Then each gets what is its own
    wait_until(lambda: heard == {"till1": ["till2"], "till2": ["till1"]})


@modes
def test_one_member_answers_each_event_of_a_group_to_its_sender(
    mode: str, ground: Ground, launch: Launch
) -> None:
    def answer(chart: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == "pay":
            chart.reply(event("paid", received.payload))

    for node in ("till1", "till2"):
        join(launch, ground, node, answer, mode)
    asking = Heard()
    shop = launch("shop", ground.node("shop"), asking, rx_routing_key="none", spied=False)

    for number in range(20):
        shop.request(event("pay", number), timeout_s=20.0, routing_key=TOPIC)

    wait_until(lambda: len(asking) == 20)
    assert sorted(asking.payloads) == list(range(20))


# Poison


@modes
def test_an_event_that_ends_its_members_is_set_aside_by_the_last_that_it_may_end(
    mode: str, ground: Ground, launch: Launch, request: pytest.FixtureRequest
) -> None:
    class Fragile(Member):
        def __call__(self, chart: NetworkedActiveObject, received: Event) -> None:
            if received.payload == 17:
                tried.append(1)
                raise ValueError("fatal")
            super().__call__(chart, received)

    class Told(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.aside: list[str] = []

        def set_aside(self, *, chart: str, reason: str) -> None:
            self.aside.append(reason)

    # Given members, as many as an event may end, and two more
    tried: list[int] = []
    members, told = [Fragile() for _ in range(5)], [Told() for _ in range(5)]
    for number, member in enumerate(members):
        settings = {"max_deliveries": 3, "observers": (told[number],)}
        join(launch, ground, f"till{number}", member, mode, settings=settings)

    # When one of many events is fatal
    send(sender(launch, ground), range(40))

    # Then it has ended two of them and the third has set it aside and lives
    wait_until(all_done(list(members), 39))
    wait_until(lambda: len(tried) == 3)
    wait_until(lambda: sum(len(each.deaths) for each in told) == 2)
    assert [each for one in told for each in one.aside] == ["poison"]
    assert unmarked_repeats(each for member in members for each in member.done) == []
    if "memory" not in request.node.name:
        # A mesh in memory has no letters to look at from outside
        (letter,) = wait_until(lambda: kept_letters(ground.node("till0")))
        assert (letter.reason, letter.detail, letter.deliveries) == ("poison", "ValueError", 3)
        assert letter.queue.startswith(f"miros_mesh.v1.group.{GROUP}.payment.")


# Bad input


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"group_mode": "share"}, "group="),
        ({"partition_by": len}, "group="),
        ({"group": ""}, "name of a group"),
        ({"group": 7}, "name of a group"),
        ({"group": "two\nlines"}, "printable"),
        ({"group": "g" * 61}, "60"),
        ({"group": "g", "group_mode": "each"}, "standby, share"),
        ({"group": "g", "group_mode": ["share"]}, "standby, share"),
        ({"group": "g", "group_mode": "share", "partition_by": "key"}, "function"),
        ({"group": "g", "partition_by": len}, "group_mode='share'"),
        ({"group": "g", "group_mode": "standby", "partition_by": len}, "group_mode='share'"),
    ],
)
def test_a_group_that_cannot_be_is_refused_when_the_chart_is_made(
    given: dict[str, object], says: str
) -> None:
    with pytest.raises(GroupError, match=says):
        NetworkedActiveObject("payment", config=MeshConfig(), **given)


@pytest.mark.parametrize(
    ("other", "present"),
    [
        ({"group_mode": "standby"}, "share orders"),
        ({"rx_routing_key": "orders.#"}, "share orders"),
        ({"rx_routing_key": ("orders", "refunds")}, "share orders"),
        ({"partition_by": lambda e: e.payload}, "share orders"),
    ],
)
def test_a_member_that_disagrees_with_those_that_are_there_is_refused(
    other: dict[str, object], present: str, ground: Ground, launch: Launch
) -> None:
    member = Member()
    join(launch, ground, "till1", member)
    topics = other.get("rx_routing_key", TOPIC)
    words = topics if isinstance(topics, str) else " ".join(topics)
    kind = "partition_by" if "partition_by" in other else other.get("group_mode", "share")

    with pytest.raises(GroupError) as refused:
        join(launch, ground, "till2", Member(), **other)

    # It names what is wanted, what is there, and how to put it right
    assert f"'{kind} {words}'" in str(refused.value)
    assert repr(present) in str(refused.value)
    assert "delete" not in str(refused.value)
    # Nothing of it is left, and the others go on
    send(sender(launch, ground), range(10))
    wait_until(all_done([member], 10))


def test_a_chart_that_was_refused_may_start_when_the_others_have_stopped(
    ground: Ground, launch: Launch
) -> None:
    there = join(launch, ground, "till1", Member())
    other = NetworkedActiveObject(
        "payment",
        rx_routing_key=TOPIC,
        group=GROUP,
        group_mode="standby",
        config=ground.node("till2"),
    )
    with pytest.raises(GroupError):
        other.start_at(alone(Heard()))
    there.stop()

    other.start_at(alone(Heard()))

    other.stop()


def test_groups_of_other_names_and_charts_of_other_names_share_nothing(
    ground: Ground, launch: Launch
) -> None:
    members = [Member(), Member(), Member()]
    join(launch, ground, "till1", members[0])
    join(launch, ground, "till2", members[1], group="audit", mode="standby")
    config = ground.node("till3")
    launch("refund", config, members[2], rx_routing_key=TOPIC, group=GROUP, group_mode="standby")

    send(sender(launch, ground), range(10))

    for member in members:
        wait_until(all_done([member], 10))
