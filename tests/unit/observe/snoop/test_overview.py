"""What a table of nodes is made of."""

from __future__ import annotations

import pytest

from miros_mesh import NetworkedActiveObject
from miros_mesh.observe.snoop.listening import BACK_WITHIN_S, ListeningClock
from miros_mesh.observe.snoop.overview import GONE_S, Overview
from miros_mesh.observe.snoop.views import SILENT_S
from miros_mesh.testing.memory import MemoryMesh
from miros_mesh.wire.envelope import ChartStatus, NodeStatus, PeerStatus
from support.charts_at_work import Heard, alone
from support.waiting import wait_until


def pulse(sequence: int, handled: int = 0, **changes: object) -> NodeStatus:
    facts = {
        "node": "plant",
        "chart": "plant",
        "incarnation": "1ncarn",
        "time": 100.0 + sequence,
        "consuming": True,
        "outbox_events": 3,
        "peers": (PeerStatus("here", "up"),),
        "charts": (ChartStatus("pump", "closed", handled, "knock", dead=False),),
    }
    return NodeStatus(**{**facts, **changes}, sequence=sequence)


@pytest.fixture
def overview() -> Overview:
    return Overview(MemoryMesh().config())


def test_a_node_is_shown_with_its_charts(overview: Overview) -> None:
    overview._take([pulse(1, 10), pulse(2, 30)])
    [node] = overview.nodes
    [chart] = node.charts
    assert (node.name, node.consuming, node.outbox_events, node.peers) == (
        "plant",
        True,
        3,
        {"here": "up"},
    )
    assert (chart.state, chart.last_signal, chart.events_per_s) == ("closed", "knock", 20.0)
    assert not node.silent


def test_one_pulse_gives_no_rate_and_an_old_one_changes_nothing(overview: Overview) -> None:
    overview._take([pulse(5, 10), pulse(4, 99)])
    [chart] = overview.nodes[0].charts
    assert (chart.events_per_s, chart.handled) == (None, 10)


def test_a_node_that_was_started_anew_counts_anew(overview: Overview) -> None:
    overview._take([pulse(5, 1000), pulse(1, 1, incarnation="an0ther", time=200.0)])
    [chart] = overview.nodes[0].charts
    assert (chart.events_per_s, chart.handled) == (None, 1)


@pytest.mark.parametrize("leaving", [False, True])
def test_a_late_pulse_of_an_earlier_incarnation_changes_nothing(
    overview: Overview, leaving: bool
) -> None:
    overview._take(
        [
            pulse(5, 1000),
            pulse(1, 1, time=200.0, incarnation="an0ther"),
            pulse(6, 1001, leaving=leaving),
            pulse(2, 3, time=201.0, incarnation="an0ther"),
        ]
    )
    [chart] = overview.nodes[0].charts
    assert (chart.events_per_s, chart.handled) == (2.0, 3)


def test_a_node_that_leaves_is_gone(overview: Overview) -> None:
    overview._take([pulse(1), pulse(2, leaving=True)])
    assert overview.nodes == []


def test_the_number_of_nodes_is_bounded() -> None:
    overview = Overview(MemoryMesh().config(), max_nodes=2)
    overview._take([pulse(1, node=name) for name in "abc"])
    assert [node.name for node in overview.nodes] == ["b", "c"]


def test_no_node_falls_silent_or_is_forgotten_while_the_broker_is_away(
    overview: Overview,
) -> None:
    now = 100.0
    overview.clock = ListeningClock(lambda: now)
    overview._take([pulse(1), pulse(1, node="mill")])
    # The loss is known when no node was heard for long
    now += 2 * GONE_S
    overview.unsubscribed(broker="here", reason="broken")
    now += 2 * GONE_S
    assert [(node.name, node.silent) for node in overview.nodes] == [
        ("mill", False),
        ("plant", False),
    ]
    overview.subscribed(broker="here")
    now += BACK_WITHIN_S
    overview._take([pulse(2)])
    now += SILENT_S + 0.1
    overview._take([pulse(3)])
    assert [(node.name, node.silent) for node in overview.nodes] == [
        ("mill", True),
        ("plant", False),
    ]


def test_an_overview_that_is_connected_has_no_outage() -> None:
    with Overview(MemoryMesh().config()) as overview:
        assert overview.outage is None


def test_a_state_of_any_name_silences_no_node() -> None:
    # Given a chart whose state is named by what no frame can carry
    config, state = MemoryMesh().config(), alone(Heard(), spied=False)
    state.__name__ = "caf\udce9"
    chart = NetworkedActiveObject("odd", config=config)
    chart.enable_snoop_trace_no_color()
    with Overview(config) as overview:
        # When it starts
        chart.start_at(state)
        try:
            # Then its node tells of it
            wait_until(
                lambda: [c.state for n in overview.nodes for c in n.charts] == [r"caf\udce9"]
            )
        finally:
            chart.stop()
