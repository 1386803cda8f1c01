"""How long a node's queues outlive it."""

from __future__ import annotations

import pytest

from miros_mesh import MeshConfig
from miros_mesh.link.ports import Binding
from miros_mesh.node.queues import NodeQueues, chart_queue
from miros_mesh.wire.identity import Identity

DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("node_name", "given", "kept_s"),
    [
        (None, None, 120.0),
        ("named", None, DAY_S),
        (None, 30.0, 30.0),
        ("named", 30.0, 30.0),
        ("named", 10 * DAY_S, 10 * DAY_S),
    ],
)
def test_a_chart_of_a_named_node_is_waited_for_a_day(
    node_name: str | None, given: float | None, kept_s: float
) -> None:
    config = MeshConfig(node_name=node_name, queue_expires_s=given)
    queues = NodeQueues(config, Identity("node", "life"))

    assert queues.of_chart("chart", "key").expires_s == kept_s
    # What one process alone can use is not kept for the next.
    assert queues.of_repair("repair", "key").expires_s == 120.0
    assert queues.of_watchers("snoop_spy").expires_s == 120.0


def test_a_chart_may_hear_by_several_patterns() -> None:
    queues = NodeQueues(MeshConfig(), Identity("node", "life"))

    spec = queues.of_chart("chart", "a.#", "b")

    assert spec.bindings == (
        Binding("miros_mesh.v1.mesh", "a.#"),
        Binding("miros_mesh.v1.mesh", "b"),
    )
    # Other topics need another queue, whose order says nothing.
    names = [chart_queue("node", "chart", *each) for each in (("a.#", "b"), ("a.#",), ("b", "c"))]
    assert spec.name == names[0] == chart_queue("node", "chart", "b", "a.#", "b")
    assert len(set(names)) == 3


def test_the_network_of_a_queue_is_told_by_what_it_is_bound_to() -> None:
    queues = NodeQueues(MeshConfig(), Identity("node", "life"))

    assert queues.network(queues.of_repair("repair", "key")) == "repair"
    assert queues.network(queues.of_chart("chart", "key")) == "mesh"
