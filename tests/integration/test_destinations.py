"""Events under several topics and to single charts: order, loss, age, and what is refused."""

from __future__ import annotations

import time
from typing import Any

import kombu
import pytest
from miros import Event

from miros_mesh import MeshConfig, NetworkedActiveObject, NoListener
from miros_mesh.address import direct_topic
from miros_mesh.errors import (
    ChartAddressError,
    ChartNameTakenError,
    MeshError,
    OldFramesError,
    RoutingKeyError,
    TtlError,
)
from miros_mesh.networks.network import DIRECT, exchange_of
from miros_mesh.networks.received import Received
from miros_mesh.node.queues import chart_queue, topics_of
from support.charts_at_work import KEY, Ground, Heard, Launch, Recorder, event, node_of
from support.waiting import wait_until

ORDERS, STOCK, OTHER = "shop.orders", "shop.stock", "plant.press"
TO_X, TO_Y = "there/x", "there/y"
TURNS = 15
LIMIT_S = 20.0


class Told(Recorder):
    """Keeps also the gaps, and how much was repaired."""

    def __init__(self) -> None:
        super().__init__()
        self.missing = 0
        self.repaired_events = 0
        self.aside: list[tuple[str, str]] = []

    def set_aside(self, *, chart: str, reason: str) -> None:
        self.aside.append((chart, reason))

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.missing += missing

    def repaired(self, *, network: str, events: int) -> None:
        self.repaired_events += events


class Noting(list[tuple[Any, Received]]):
    """What a chart has handled, with what it was told of each event."""

    def __call__(self, chart: NetworkedActiveObject, e: Event) -> None:
        if received := chart.received:
            self.append((e.payload, received))

    @property
    def payloads(self) -> list[Any]:
        return [payload for payload, _ in self]


def send(chart: NetworkedActiveObject, number: int) -> None:
    """Send a turn: under three topics, and to two charts."""
    for name, where in (
        ("orders", {"routing_key": ORDERS}),
        ("x", {"to": TO_X}),
        ("stock", {"routing_key": STOCK}),
        ("y", {"to": TO_Y}),
        ("other", {"routing_key": OTHER}),
    ):
        chart.transmit(event("number", f"{name} {number}"), **where)


def turns(*names: str, first: int = 1, last: int = TURNS) -> list[str]:
    return [f"{name} {number}" for number in range(first, last + 1) for name in names]


def test_each_chart_gets_its_topics_and_what_is_for_it_alone_in_one_order(
    ground: Ground, launch: Launch
) -> None:
    x, y, everything, told = Noting(), Noting(), Noting(), Told()
    there = ground.node("there", observers=(told,))
    launch("x", there, x, rx_routing_key=["shop.stock", "shop.orders"])
    launch("y", there, y, rx_routing_key="shop.*")
    launch("all", ground.node("elsewhere", observers=(told,)), everything, rx_routing_key="#")
    sender = launch("sender", ground.node("here"), Heard(), rx_routing_key="none")

    for number in range(1, TURNS + 1):
        send(sender, number)

    wait_until(lambda: len(x) == len(y) == len(everything) == 3 * TURNS, LIMIT_S)
    assert x.payloads == turns("orders", "x", "stock")
    assert y.payloads == turns("orders", "stock", "y")
    # One that hears all topics gets nothing that is for others alone
    assert everything.payloads == turns("orders", "stock", "other")
    assert (told.missing, told.repaired_events, told.drops) == (0, 0, [])
    # And each is told what came how
    ways = {payload.split()[0]: (each.routing_key, each.to) for payload, each in x}
    assert ways == {"orders": (ORDERS, ""), "stock": (STOCK, ""), "x": ("", TO_X)}
    assert {each.sender for _, each in x} == {"here/sender"}
    assert [each.deliveries for _, each in x] == [1] * len(x)


def test_an_answer_goes_to_who_has_sent_the_event_that_is_handled(
    ground: Ground, launch: Launch
) -> None:
    def echo(chart: NetworkedActiveObject, e: Event) -> None:
        if received := chart.received:
            chart.transmit(event("echo", e.payload), to=received)

    heard, bystander = Noting(), Noting()
    launch("echo", ground.node("there"), echo, rx_routing_key=ORDERS, tx_routing_key=STOCK)
    launch("bystander", ground.node("there"), bystander, rx_routing_key="#")
    sender = launch("sender", ground.node("here"), heard, rx_routing_key="none")

    for number in range(TURNS):
        sender.transmit(event("number", number), routing_key=ORDERS)

    wait_until(lambda: len(heard) == TURNS, LIMIT_S)
    assert heard.payloads == bystander.payloads == list(range(TURNS))
    assert {each.to for _, each in heard} == {"here/sender"}
    assert sender.received is None


def test_an_event_to_a_chart_that_there_is_not_is_told(ground: Ground, launch: Launch) -> None:
    """Whether a program asks to be told of topics without listeners or not; once."""
    said: list[tuple[str, Any]] = []
    launch("x", ground.node("there"), Heard(), rx_routing_key=ORDERS)
    for name, asks in (("here", False), ("beside", True)):
        sender = launch(
            "sender",
            ground.node(name, tell_no_listener=asks),
            lambda _, e: said.append((e.signal_name, e.payload)),
            tx_routing_key=ORDERS,
            rx_routing_key="none",
        )
        sender.transmit(event("number", 1), to=f"{name}/nothing")
        sender.transmit(event("number", 2), to=TO_X)
        wait_until(lambda: [each for each in said if each[0] == "NO_LISTENER"], LIMIT_S)
        assert said == [("NO_LISTENER", NoListener("", f"{name}/nothing", 1))]
        said.clear()


def test_what_is_too_old_when_its_turn_comes_is_a_dead_letter(
    ground: Ground, launch: Launch
) -> None:
    """Also where it waits in the FIFO; what comes behind it is handled."""
    heard, told = Noting(), Told()
    there = ground.node("there", observers=(told,))
    busy: list[float] = []

    def slow(chart: NetworkedActiveObject, e: Event) -> None:
        if e.signal_name == "wait":
            end = time.monotonic() + e.payload
            wait_until(lambda: time.monotonic() > end, LIMIT_S)
            busy.append(end)
        heard(chart, e)

    launch("x", there, slow, rx_routing_key=ORDERS)
    sender = launch(
        "sender", ground.node("here"), Heard(), tx_routing_key=ORDERS, rx_routing_key="none"
    )
    sender.transmit(event("wait", 1.0))
    sender.transmit(event("number", 1), ttl_s=0.1)
    sender.transmit(event("number", 2), to="there/x", ttl_s=0.2)
    sender.transmit(event("number", 3), ttl_s=60.0)
    sender.transmit(event("number", 4))

    wait_until(lambda: heard.payloads == [1.0, 3, 4], LIMIT_S)
    assert [reason for _, reason, _ in told.drops] == ["expired", "expired"]
    assert told.aside == [("x", "expired")] * 2


BAD: list[tuple[dict[str, Any], type[MeshError], str]] = [
    ({"to": "nowhere"}, ChartAddressError, "node/chart"),
    ({"to": "/x"}, ChartAddressError, "node/chart"),
    ({"to": 3}, ChartAddressError, "node/chart"),
    ({"to": TO_X, "routing_key": ORDERS}, ChartAddressError, "not both"),
    ({"routing_key": ""}, RoutingKeyError, "leave it out"),
    ({"to": None}, ChartAddressError, "leave it out"),
    ({"routing_key": "a.*"}, RoutingKeyError, "rx_routing_key"),
    ({"routing_key": "x" * 256}, RoutingKeyError, "255"),
    ({"routing_key": direct_topic("there", "x")}, RoutingKeyError, "to='node/chart'"),
    ({"ttl_s": 0}, TtlError, "above 0"),
    ({"ttl_s": -1.0}, TtlError, "above 0"),
    ({"ttl_s": float("nan")}, TtlError, "above 0"),
    ({"ttl_s": float("inf")}, TtlError, "above 0"),
    ({"ttl_s": "1"}, TtlError, "above 0"),
    ({"ttl_s": True}, TtlError, "above 0"),
]


def test_bad_input_is_refused_and_costs_no_number(launch: Launch) -> None:
    heard, config = Noting(), MeshConfig(node_name="one")
    launch("x", MeshConfig(node_name="there"), heard, rx_routing_key=ORDERS)
    sender = launch("sender", config, Heard(), tx_routing_key=ORDERS, rx_routing_key="none")
    for given, error, said in BAD:
        with pytest.raises(error, match=said):
            sender.transmit(event("number", 0), **given)

    sender.transmit(event("number", 1))

    wait_until(lambda: heard.payloads == [1], LIMIT_S)
    assert node_of(sender).mesh.network.sequence_of("sender") == 1


@pytest.mark.parametrize("given", [{"to": TO_X}, {"routing_key": STOCK}, {"ttl_s": 1.0}])
def test_what_nodes_of_before_cannot_read_is_refused_while_it_is_written_for_them(
    launch: Launch, given: dict[str, Any]
) -> None:
    """Whether it is the first event or not; and the chart goes on."""
    heard = Noting()
    there = MeshConfig(node_name="there", old_frames="read")
    launch("x", there, heard, rx_routing_key=ORDERS)
    here = MeshConfig(node_name="one", old_frames="write")
    sender = launch("sender", here, Heard(), tx_routing_key=ORDERS, rx_routing_key="none")

    for number in (1, 2):
        with pytest.raises(OldFramesError, match="old_frames"):
            sender.transmit(event("number", 0), **given)
        sender.transmit(event("number", number), routing_key=ORDERS)

    wait_until(lambda: heard.payloads == [1, 2], LIMIT_S)


def test_a_name_stays_with_its_topic_while_it_is_written_for_nodes_of_before(
    launch: Launch,
) -> None:
    here = MeshConfig(node_name="one", old_frames="write")
    launch("stays", here, Heard())
    launch("sender", here, Heard(), tx_routing_key=ORDERS).stop()

    with pytest.raises(ChartNameTakenError, match=r"'sender'.*'shop.orders'.*'shop.stock'"):
        launch("sender", here, Heard(), tx_routing_key=STOCK)
    launch("sender", here, Heard(), tx_routing_key=ORDERS)


# Loss


QUEUE = chart_queue("there", "x", topics_of(["shop.*"]))


def test_a_queue_that_is_deleted_in_the_middle_is_repaired_in_order_and_others_get_nothing(
    vhost_url: str, launch: Launch
) -> None:
    ground = Ground(lambda **s: MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY, **s))
    x, everything, told = Noting(), Noting(), Told()
    quick = {"heartbeat_interval_s": 1.0, "observers": (told,)}
    launch("x", ground.node("there", **quick), x, rx_routing_key=["shop.*"])
    launch("all", ground.node("elsewhere", **quick), everything, rx_routing_key="#")
    sender = launch("sender", ground.node("here", **quick), Heard(), rx_routing_key="none")
    send(sender, 1)
    wait_until(lambda: len(x) == 3 and len(everything) == 3, LIMIT_S)

    with kombu.Connection(vhost_url) as connection:
        channel = connection.channel()
        for number in range(2, TURNS):
            if number == TURNS // 2:
                channel.queue_delete(QUEUE)
            send(sender, number)
    # Bound again, and behind what was lost
    wait_until(lambda: is_bound(vhost_url, QUEUE), LIMIT_S)
    send(sender, TURNS)

    wait_until(lambda: len(x) == 3 * TURNS and len(everything) == 3 * TURNS, LIMIT_S)
    assert x.payloads == turns("orders", "x", "stock")
    assert everything.payloads == turns("orders", "stock", "other")
    assert told.missing == 0


def is_bound(url: str, queue: str) -> bool:
    """Whether the queue is there again, as its declaration says without changing anything."""
    with kombu.Connection(url) as connection:
        channel = connection.channel()
        try:
            return bool(channel.queue_declare(queue, passive=True).consumer_count)
        except connection.channel_errors:
            return False


def test_what_no_queue_got_of_some_destinations_is_asked_for_and_those_alone(
    vhost_url: str, launch: Launch
) -> None:
    ground = Ground(lambda **s: MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY, **s))
    x, told = Noting(), Told()
    quick = {"heartbeat_interval_s": 1.0, "observers": (told,)}
    launch("x", ground.node("there", **quick), x, rx_routing_key=["shop.*"])
    sender = launch("sender", ground.node("here", **quick), Heard(), rx_routing_key="none")
    send(sender, 1)
    wait_until(lambda: len(x) == 3, LIMIT_S)
    binds = [
        {"exchange": exchange_of("mesh"), "routing_key": "shop.*"},
        {"exchange": DIRECT, "routing_key": direct_topic("there", "x")},
    ]
    with kombu.Connection(vhost_url) as connection:
        channel = connection.channel()
        for bind in binds:
            channel.queue_unbind(QUEUE, **bind)
        for number in range(2, TURNS):
            send(sender, number)
        publisher = next(iter(node_of(sender).peers._publishers.values()))
        assert publisher._outbox.wait_empty(5)  # type: ignore[attr-defined]
        for bind in binds:
            channel.queue_bind(QUEUE, **bind)

    # An event to it alone tells of those under topics, and those of each other
    sender.transmit(event("number", "last"), to=TO_X)

    wait_until(lambda: x.payloads[-1:] == ["last"], LIMIT_S)
    assert x.payloads == [*turns("orders", "x", "stock", last=TURNS - 1), "last"]
    wait_until(lambda: told.repaired_events, LIMIT_S)
    assert (told.missing, told.repaired_events) == (0, 3 * (TURNS - 2))
