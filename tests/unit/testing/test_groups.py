"""Groups on a mesh in memory: they settle, and hold what they promise against its faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Literal

import pytest
from miros import Event

from miros_mesh import NetworkedActiveObject
from miros_mesh.testing import MemoryMesh
from support.charts_at_work import Heard, alone
from support.group_members import Member, unmarked_repeats

MANY = 60
Mode = Literal["standby", "share"]
Start = Callable[[Mode], list[Member]]


@pytest.fixture
def tills(mesh: MemoryMesh) -> Iterator[Start]:
    """Two members of a group, on nodes of their own."""
    with ExitStack() as ends:

        def start(mode: Mode) -> list[Member]:
            members = [Member(), Member()]
            for number, member in enumerate(members):
                chart = NetworkedActiveObject(
                    "till",
                    config=mesh.config(node_name=f"till{number}"),
                    group="tills",
                    group_mode=mode,
                )
                chart.start_at(alone(member))
                ends.callback(chart.stop)
            return members

        yield start


@pytest.fixture
def shop(mesh: MemoryMesh, join: Callable[..., NetworkedActiveObject]) -> NetworkedActiveObject:
    return join("shop", Heard())


def sell(shop: NetworkedActiveObject, *numbers: int) -> None:
    for number in numbers:
        shop.transmit(Event(signal="sale", payload=number))


@pytest.mark.parametrize("fault", ["none", "double", "reorder"])
def test_in_standby_one_member_handles_all_once_and_in_order(
    mesh: MemoryMesh, shop: NetworkedActiveObject, tills: Start, fault: str
) -> None:
    members = tills("standby")
    # A stream begins with the first event that is heard of it
    sell(shop, 0)
    mesh.settle()
    if fault != "none":
        harm: Callable[..., Any] = getattr(mesh.faults, fault)
        harm("sale", times=MANY // 3)
    sell(shop, *range(1, MANY))
    mesh.settle()
    assert sorted((member.payloads for member in members), key=len) == [[], list(range(MANY))]


def test_sharing_members_handle_each_event_once_between_them(
    mesh: MemoryMesh, shop: NetworkedActiveObject, tills: Start
) -> None:
    members = tills("share")
    sell(shop, *range(MANY))
    mesh.settle()
    assert sorted(n for member in members for n in member.payloads) == list(range(MANY))


def test_a_copy_that_another_member_handles_is_marked(
    mesh: MemoryMesh, shop: NetworkedActiveObject, tills: Start
) -> None:
    members = tills("share")
    mesh.faults.double("sale")
    sell(shop, *range(MANY))
    mesh.settle()
    done = [each for member in members for each in member.done]
    assert {each.payload for each in done} == set(range(MANY))
    assert not unmarked_repeats(done)
