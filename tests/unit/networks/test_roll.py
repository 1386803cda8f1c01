"""The roll of a node on its way out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from miros_mesh.networks.network import Network
from miros_mesh.networks.roll import LARGEST_ROLL_BYTES, Roll
from miros_mesh.observer import Observer
from miros_mesh.wire.codec import FRAME_OVERHEAD_BYTES, Codec
from miros_mesh.wire.envelope import (
    MAX_LISTED,
    GroupedRoll,
    KeyedRoll,
    NodeRoll,
    RollEntry,
)
from miros_mesh.wire.keyring import KeyRing
from support.ports_in_hand import Shelf
from support.sealed import KEY, OURS

codec = Codec(
    "roll",
    KeyRing([KEY]),
    NodeRoll,
    max_frame_bytes=LARGEST_ROLL_BYTES + FRAME_OVERHEAD_BYTES,
    max_event_bytes=LARGEST_ROLL_BYTES,
)


class Interrupted(Network[NodeRoll]):
    """A network on whose user something happens right before a whole roll is sent."""

    meanwhile: Callable[[], object] | None = None

    def send(self, routing_key: str, message: NodeRoll, **how: Any) -> int:
        if message.whole and (meanwhile := self.meanwhile):
            self.meanwhile = None
            meanwhile()
        return super().send(routing_key, message, **how)


class Said:
    """The roll of our node, and what it says to a peer."""

    def __init__(self) -> None:
        self.network = Interrupted("roll", codec, Observer(), frame_events=3, frame_bytes=1_000)
        self.shelf = Shelf()
        self.network.attach(self.shelf)
        self.roll = Roll(self.network, OURS, 5)

    @property
    def rolls(self) -> list[NodeRoll]:
        return [each for parcel in self.shelf.parcels for each in codec.open(parcel.seal())]

    @property
    def entries(self) -> list[tuple[bool, tuple[RollEntry, ...]]]:
        return [(each.whole, each.charts) for each in self.rolls]


@pytest.fixture
def said() -> Said:
    return Said()


def test_what_is_new_of_a_chart_is_said_at_once() -> None:
    before = time.time()
    said = Said()
    said.roll.joined("pump", "plant.north")
    said.roll.died("pump")
    said.roll.left("pump")

    assert said.entries == [
        (False, (RollEntry("pump", "plant.north", "alive"),)),
        (False, (RollEntry("pump", "plant.north", "died"),)),
        (False, (RollEntry("pump", "plant.north", "stopped"),)),
    ]
    assert [each.sequence for each in said.rolls] == [1, 2, 3]
    (first, *_) = said.rolls
    assert (first.node, first.chart, first.incarnation) == (OURS.node, OURS.node, OURS.incarnation)
    assert before <= first.started <= time.time()
    assert first.next_s == 5.0


def test_all_charts_are_said_those_that_died_too(said: Said) -> None:
    said.roll.joined("pump", "plant.north")
    said.roll.joined("valve", "plant.south")
    said.roll.joined("gone", "plant.south")
    said.roll.died("valve")
    said.roll.left("gone")
    del said.shelf.parcels[:]

    said.roll.say()

    assert said.entries == [
        (
            True,
            (RollEntry("pump", "plant.north", "alive"), RollEntry("valve", "plant.south", "died")),
        )
    ]


def test_it_is_no_event_and_travels_alone_and_in_its_turn(said: Said) -> None:
    said.roll.joined("pump", "plant.north")
    said.roll.say()

    assert len(said.shelf.parcels) == 2
    assert said.shelf.events == 0
    # What is expendable waits while there are events, and a busy node would be silent
    assert not any(parcel.expendable for parcel in said.shelf.parcels)
    assert {parcel.routing_key for parcel in said.shelf.parcels} == {"roll"}


def test_a_node_without_charts_says_nothing_nor_of_a_chart_that_never_joined(said: Said) -> None:
    said.roll.say()
    said.roll.died("pump")
    said.roll.left("pump")

    assert said.rolls == []


def test_of_too_many_charts_it_says_nothing_and_that_once(
    said: Said, caplog: pytest.LogCaptureFixture
) -> None:
    # Given as many as a roll takes, with names and topics as long as they may be
    for number in range(MAX_LISTED):
        said.roll.joined(f"{number:0140}", f"{number:0255}")
    del said.shelf.parcels[:]
    # When there are more
    for name in ("one", "another"):
        said.roll.joined(name, "plant")
        said.roll.left(name)
    said.roll.say()
    # Then the roll holds the first ones, and it is logged
    (roll,) = said.rolls
    assert [each.name for each in roll.charts] == [f"{n:0140}" for n in range(MAX_LISTED)]
    [record] = caplog.records
    assert "chart one is one too many" in record.getMessage()


def test_a_whole_roll_never_leaves_out_a_chart_that_was_said_before_it(said: Said) -> None:
    said.roll.joined("first", "plant")
    # When a chart joins after the others were listed, and before that is sent
    said.network.meanwhile = lambda: said.roll.joined("late", "plant")
    said.roll.say()
    # Then they are listed once more
    assert [[each.name for each in roll.charts] for roll in said.rolls] == [
        ["first"],
        ["late"],
        ["first", "late"],
    ]
    assert [each.sequence for each in said.rolls] == [1, 2, 3]


def test_a_roll_names_the_groups_of_charts_that_share_by_keys_and_else_is_as_it_was() -> None:
    codec = Codec(
        "roll",
        KeyRing([KEY]),
        NodeRoll,
        max_frame_bytes=LARGEST_ROLL_BYTES + FRAME_OVERHEAD_BYTES,
        extended=(KeyedRoll, GroupedRoll),
    )
    network = Network("roll", codec, Observer(), frame_events=3, frame_bytes=1_000)
    shelf = Shelf()
    network.attach(shelf)
    roll = Roll(network, OURS, 5, tuple)

    roll.joined("alone", "topic")
    roll.joined("member", "topic", "queue of the group")
    roll.say()
    roll.left("member")
    roll.say()

    said = [each for parcel in shelf.parcels for each in codec.open(parcel.seal())]
    groups = [each.groups for each in said if isinstance(each, GroupedRoll)]
    member = (("member", "queue of the group"),)
    assert [type(each) for each in said[-2:]] == [KeyedRoll, KeyedRoll]
    assert groups == [member, member]
