"""The status of a node on its way out, and that of every node on its way in."""

from __future__ import annotations

import time

import msgspec
import pytest

from miros_mesh.errors import PayloadError
from miros_mesh.health import Health
from miros_mesh.networks.network import Network
from miros_mesh.networks.snoop.node_status import StatusNetwork
from miros_mesh.observer import Observer
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import (
    MAX_LISTED,
    ChartStatus,
    ChartWork,
    NodeStatus,
    OpenRequest,
    PeerStatus,
    WorkingStatus,
)
from miros_mesh.wire.keyring import KeyRing
from support.ports_in_hand import TOPIC, Handed, Shelf
from support.sealed import FRAME_LIMIT, KEY, OURS, THEIRS

codec = Codec(
    "pulse", KeyRing([KEY]), NodeStatus, max_frame_bytes=FRAME_LIMIT, extended=(WorkingStatus,)
)
HEALTH = Health(
    node=OURS.node,
    consuming=True,
    peers={"home": "up", "away": "down"},
    dead_charts=(),
    outbox_events=3,
    home="home",
)
CHART = ChartStatus("talker", "waiting", 7, "ping", dead=False)


class Nodes:
    """A network of node status, what it sends, and what it shows."""

    def __init__(self) -> None:
        network = Network(
            "pulse", codec, Observer(), frame_events=3, frame_bytes=1_000, expendable=True
        )
        self.shelf, self.shown = Shelf(), list[NodeStatus]()
        self.statuses = StatusNetwork(network, OURS, "pulse")
        network.attach(self.shelf)
        self.statuses.watch("watching", self.shown.extend)

    @property
    def sent(self) -> list[NodeStatus]:
        return [each for parcel in self.shelf.parcels for each in codec.open(parcel.seal())]


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


def test_a_status_says_how_the_node_its_peers_and_its_charts_are(nodes: Nodes) -> None:
    before = time.time()

    nodes.statuses.send(HEALTH, [CHART])

    (sent,) = nodes.sent
    assert (sent.node, sent.chart, sent.incarnation) == (OURS.node, OURS.node, OURS.incarnation)
    assert before <= sent.time <= time.time()
    assert (sent.consuming, sent.outbox_events, sent.leaving) == (True, 3, False)
    assert sent.peers == (PeerStatus("home", "up"), PeerStatus("away", "down"))
    assert sent.charts == (CHART,)


def test_a_status_says_what_the_charts_have_to_do(nodes: Nodes) -> None:
    work = ChartWork(
        "till", 3, "1nc/desk/1", 4.5, (OpenRequest("0urs/till/9", "ask", 1.5),), "", "tills"
    )

    nodes.statuses.send(HEALTH, [CHART], work=[work])

    (sent,) = nodes.sent
    assert isinstance(sent, WorkingStatus)
    assert (sent.charts, sent.work) == ((CHART,), (work,))


def test_a_status_that_is_too_large_with_it_goes_without(nodes: Nodes) -> None:
    asks = tuple(OpenRequest("0urs/till/9" * 20, "ask" * 80, 1.5) for _ in range(16))
    work = [ChartWork(f"{number}", 0, "", 0.0, asks) for number in range(100)]

    nodes.statuses.send(HEALTH, [CHART], work=work)

    (sent,) = nodes.sent
    assert type(sent) is NodeStatus
    assert (sent.charts, sent.sequence) == ((CHART,), 1)


def test_statuses_are_numbered_and_travel_alone(nodes: Nodes) -> None:
    nodes.statuses.send(HEALTH, [])
    nodes.statuses.send(HEALTH, [], leaving=True)

    assert [(each.sequence, each.leaving) for each in nodes.sent] == [(1, False), (2, True)]
    assert len(nodes.shelf.parcels) == 2
    assert nodes.shelf.events == 0
    assert all(parcel.expendable for parcel in nodes.shelf.parcels)
    assert {parcel.routing_key for parcel in nodes.shelf.parcels} == {"pulse"}


def test_of_too_many_charts_the_first_are_listed(nodes: Nodes) -> None:
    charts = [ChartStatus(f"{number}", "", 0, "", dead=False) for number in range(MAX_LISTED + 9)]

    nodes.statuses.send(HEALTH, charts)

    (sent,) = nodes.sent
    assert sent.charts == tuple(charts[:MAX_LISTED])


def test_a_status_that_cannot_travel_is_refused_and_the_next_has_its_number(nodes: Nodes) -> None:
    with pytest.raises(PayloadError):
        nodes.statuses.send(HEALTH, [ChartStatus("", "", 0, "", dead=False)])
    nodes.statuses.send(HEALTH, [CHART])

    assert [each.sequence for each in nodes.sent] == [1]


def test_every_status_is_shown_and_acknowledged_the_own_one_too(nodes: Nodes) -> None:
    nodes.statuses.send(HEALTH, [CHART])
    (own,) = nodes.sent
    other = msgspec.structs.replace(own, node=THEIRS.node, incarnation=THEIRS.incarnation)

    deliveries = [Handed(codec.seal([codec.encode(each)], TOPIC)) for each in (own, other)]
    take = nodes.statuses.receiver()
    for delivery in deliveries:
        take(delivery)
    take(Handed(codec.seal([codec.encode(own)], TOPIC)))

    assert nodes.shown == [own, other]
    assert [delivery.acks for delivery in deliveries] == [1, 1]


def test_a_refused_frame_is_rejected_and_shows_nothing(nodes: Nodes) -> None:
    delivery = Handed(b"\x01 rubbish")

    nodes.statuses.receiver()(delivery)

    assert (delivery.acks, delivery.rejects, nodes.shown) == (0, 1, [])
