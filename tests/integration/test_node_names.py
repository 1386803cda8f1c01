"""A node name belongs to one live process, and to one node of a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from miros_mesh.errors import NodeNameTakenError
from support.actor import Actor
from support.charts_at_work import Ground, Heard, Launch, event
from support.waiting import wait_until

SCRIPT = Path(__file__).with_name("named_chart.py")


@pytest.fixture(params=["embedded", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Where a process of its own finds it: a URL, or nothing."""
    return (request.getfixturevalue("vhost_url"),) if request.param == "rabbitmq" else ()


def test_a_second_live_process_of_a_node_name_is_told_so(broker: tuple[str, ...]) -> None:
    with Actor(SCRIPT, "cellar", "lamp", *broker) as first:
        assert first.heard() == {"reason": None}

        with Actor(SCRIPT, "cellar", "pump", *broker) as second:
            refused = second.heard()
        with Actor(SCRIPT, "attic", "lamp", *broker) as other:
            assert other.heard() == {"reason": None}

    assert refused["reason"] == "name_taken"
    assert "miros_mesh.v1.name.cellar" in refused["why"]
    assert "a node_name of its own" in refused["why"]


def test_a_killed_process_leaves_its_node_name_to_the_next_one(broker: tuple[str, ...]) -> None:
    with Actor(SCRIPT, "cellar", "lamp", *broker) as first:
        first.heard()
        first.kill()

        with Actor(SCRIPT, "cellar", "lamp", *broker) as second:
            assert second.heard() == {"reason": None}


def test_a_process_that_stops_leaves_its_node_name_to_the_next_one(broker: tuple[str, ...]) -> None:
    for _ in range(3):
        with Actor(SCRIPT, "cellar", "lamp", *broker) as process:
            assert process.heard() == {"reason": None}
            process.tell()
            assert process.lines_until_end() == []


def test_two_nodes_of_one_process_cannot_have_one_name(ground: Ground, launch: Launch) -> None:
    # Given a node with a name
    heard = Heard()
    launch("listener", ground.node("cellar"), heard)

    # When another one of that name, with other settings, is started
    with pytest.raises(NodeNameTakenError):
        launch("intruder", ground.node("cellar", dedup_window=4_096))

    # Then the first works on, and charts with its settings join it
    launch("sender", ground.node("cellar")).transmit(event("names_heard"))
    wait_until(lambda: heard)
