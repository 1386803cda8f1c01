"""How long a node's queues outlive it."""

from __future__ import annotations

from typing import Any

import pytest

from miros_mesh import MeshConfig
from miros_mesh.address import validate_routing_pattern
from miros_mesh.errors import RoutingKeyError
from miros_mesh.link.ports import Binding, QueueSpec, Terms
from miros_mesh.node.groups import LONGEST_GROUP_BYTES, group_of
from miros_mesh.node.queues import NodeQueues, chart_queue, topics_of
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

    assert queues.of_chart("chart", ("key",)).expires_s == kept_s
    # What one process alone can use is not kept for the next.
    assert queues.of_repair("repair", "key").expires_s == 120.0
    assert queues.of_watchers("snoop_spy").expires_s == 120.0


def test_a_chart_may_hear_by_several_patterns() -> None:
    queues = NodeQueues(MeshConfig(), Identity("node", "life"))

    spec = queues.of_chart("chart", ("a.#", "b"))

    assert spec.bindings == (
        Binding("miros_mesh.v1.mesh", "a.#"),
        Binding("miros_mesh.v1.mesh", "b"),
        Binding("miros_mesh.v1.direct", "miros_mesh.to.node.chart"),
    )
    # Other topics need another queue.
    patterns = ("a.#", "b"), ("a.#",), ("b", "c")
    names = [chart_queue("node", "chart", topics_of(each)) for each in patterns]
    assert spec.name == names[0]
    assert len(set(names)) == 3


def test_the_queue_of_a_chart_with_one_pattern_is_named_as_ever() -> None:
    """A node of a name finds what its process of an earlier release has left."""
    assert topics_of(["a.#"]) == "a.#"
    assert chart_queue("node", "chart", "a.#") == "miros_mesh.v1.mesh.node.chart.32bf28bc"


def test_of_very_many_patterns_a_note_has_room_for_what_tells_them_apart() -> None:
    many = [f"topic.{number}.{'x' * 100}" for number in range(100)]
    assert len(topics_of(many)) <= 255
    assert topics_of(many) != topics_of(many[1:])


def test_the_network_of_a_queue_is_told_by_what_it_is_bound_to() -> None:
    queues = NodeQueues(MeshConfig(), Identity("node", "life"))

    assert queues.network(queues.of_repair("repair", "key")) == "repair"
    assert queues.network(queues.of_chart("chart", ("key",))) == "mesh"


def test_a_chart_that_hears_its_address_alone_has_a_text_that_is_no_pattern() -> None:
    # Notes refuse an empty one, and with it all that they say of the node.
    assert topics_of([])
    with pytest.raises(RoutingKeyError):
        validate_routing_pattern(topics_of([]))


# Groups


def of_group(
    mode: str, topics: tuple[str, ...] = ("orders",), by: Any = None, name: str = "payments"
) -> QueueSpec:
    group = group_of(name, mode, by, lambda arrival: arrival)
    assert group is not None
    return NodeQueues(MeshConfig(), Identity("node", "life")).of_group("till", group, topics)


def test_the_queue_of_a_group_is_the_same_on_every_node_and_others_consume_it() -> None:
    spec = of_group("share")

    assert spec.name.startswith("miros_mesh.v1.group.payments.till.")
    assert spec.bindings == (Binding("miros_mesh.v1.mesh", "orders"),)
    assert (spec.consumers, spec.replicated, spec.delete_on_stop) == ("shared", True, False)
    assert spec.terms == Terms("miros_mesh.v1.group.payments.till.terms", "share orders")
    assert of_group("standby").consumers == "standby"


def test_a_group_of_other_terms_has_another_queue_and_the_same_to_agree_by() -> None:
    specs = [
        of_group("share"),
        of_group("standby"),
        of_group("share", ("orders.#",)),
        of_group("share", by=len),
    ]

    assert len({each.name for each in specs}) == len(specs)
    assert len({each.terms.text for each in specs if each.terms}) == len(specs)
    assert len({each.terms.queue for each in specs if each.terms}) == 1


def test_who_files_by_keys_is_one_and_has_sixteen_queues_to_file_into() -> None:
    group = of_group("share", by=len)
    queues = NodeQueues(MeshConfig(), Identity("node", "life"))

    specs = queues.of_partitions(group)

    assert group.consumers == "standby"
    assert [each.name for each in specs] == [f"{group.name}.p{n}" for n in range(16)]
    assert all(each.bindings == (Binding("miros_mesh.v1.group", each.name),) for each in specs)
    assert all(each.terms is None and each.consumers == "standby" for each in specs)


def test_the_names_of_a_group_with_the_longest_name_are_names_of_queues() -> None:
    group = of_group("share", by=len, name="g" * LONGEST_GROUP_BYTES)

    longest = NodeQueues(MeshConfig(), Identity("node", "life")).of_partitions(group)[-1]

    # The chart's name may have the rest, less what a later generation and a letter add
    assert len(longest.name.encode()) < 120


def test_what_ancestors_send_to_a_chart_has_a_queue_that_goes_with_the_node() -> None:
    queues = NodeQueues(MeshConfig(node_name="named"), Identity("named", "life"))

    spec = queues.of_ancestors("chart", "old.exchange", ("a.#", "b"), None)

    assert spec.bindings == (
        Binding("old.exchange", "a.#", durable=False),
        Binding("old.exchange", "b", durable=False),
    )
    assert (spec.delete_on_stop, spec.expires_s, spec.replicated) == (True, 120.0, False)
    assert (spec.chart, spec.dead_letters) == ("chart", False)
    # Never longer than the chart's own.
    assert len(spec.name) <= len(queues.of_chart("chart", ("a.#", "b")).name)


@pytest.mark.parametrize(("mode", "consumers"), [("standby", "standby"), ("share", "shared")])
def test_what_ancestors_send_to_a_group_is_shared_as_the_groups_events_are(
    mode: str, consumers: str
) -> None:
    group = group_of("team", mode, None, lambda _: None)
    assert group
    queues = NodeQueues(MeshConfig(), Identity("node", "life"))

    spec = queues.of_ancestors("chart", "old.exchange", ("a.#",), group)

    assert spec.consumers == consumers
    assert spec.bindings == (Binding("old.exchange", "a.#", durable=False),)
    assert spec.name == f"{queues.of_group('chart', group, ('a.#',)).name}.old"
    assert (spec.terms, spec.expires_s) == (None, 120.0)
