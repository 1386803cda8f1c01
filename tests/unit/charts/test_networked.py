"""The names by which the documents of miros-rabbitmq call what a chart has."""

from __future__ import annotations

from typing import Any

import pytest

from miros_mesh import MeshConfig, NetworkedActiveObject, NetworkedFactory
from miros_mesh.errors import ConfigError, RoutingKeyError
from miros_mesh.wire.keyring import generate_key

KINDS = [NetworkedActiveObject, NetworkedFactory]
NAMES = [
    ("snoop_trace_encryption_key", "trace_snoop_encryption_key"),
    ("snoop_spy_encryption_key", "spy_snoop_encryption_key"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "older"), NAMES)
def test_a_snoop_key_may_be_given_by_its_older_name(kind: type[Any], name: str, older: str) -> None:
    mesh, key = generate_key(), generate_key()

    by_old = kind("chart", mesh_encryption_key=mesh, **{older: key})
    by_new = kind("chart", mesh_encryption_key=mesh, **{name: key})

    # Charts share a node if their settings compare equal.
    assert by_old._config == by_new._config
    assert getattr(by_old._config, name) == (key,)


@pytest.mark.parametrize(("name", "older"), NAMES)
def test_one_key_by_both_names_is_one_key(name: str, older: str) -> None:
    key = generate_key()

    chart: Any = NetworkedActiveObject(**{name: key, older: key.decode()})

    assert getattr(chart._config, name) == (key,)


def test_two_keys_by_both_names_are_refused_by_their_names_alone() -> None:
    keys = {name: generate_key() for pair in NAMES for name in pair}

    with pytest.raises(ConfigError) as refused:
        NetworkedActiveObject(**keys)  # type: ignore[arg-type]

    assert refused.value.problems == tuple(
        f"{name} and {older}, which is its older name, are different keys; give {name} alone"
        for name, older in NAMES
    )
    assert not any(key.decode() in str(refused.value) for key in keys.values())


@pytest.mark.parametrize("older", [older for _, older in NAMES])
def test_a_key_by_its_older_name_wins_over_the_settings(older: str) -> None:
    key = generate_key()
    config = MeshConfig(
        snoop_trace_encryption_key=generate_key(), snoop_spy_encryption_key=generate_key()
    )

    chart: Any = NetworkedActiveObject(config=config, **{older: key})

    assert key in (*chart._config.keys_for("snoop_trace"), *chart._config.keys_for("snoop_spy"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_slip_in_the_old_documents_is_told_what_it_means(kind: type[Any]) -> None:
    chart = kind("chart")

    with pytest.raises(
        AttributeError, match=f"{kind.__name__} has no enable_snoop_snoop.*"
    ) as told:
        chart.enable_snoop_snoop()

    assert "call enable_snoop_spy" in str(told.value)
    assert (told.value.name, told.value.obj) == ("enable_snoop_snoop", chart)
    assert not hasattr(chart, "enable_snoop_snoop")


def test_another_attribute_that_is_missing_is_told_as_ever() -> None:
    chart: Any = NetworkedActiveObject("chart")

    with pytest.raises(AttributeError) as told:
        _ = chart.enable_snoop_trac

    assert str(told.value) == "'NetworkedActiveObject' object has no attribute 'enable_snoop_trac'"
    assert told.value.name == "enable_snoop_trac"


def test_what_a_property_of_a_program_misses_is_told_and_not_the_property() -> None:
    class Own(NetworkedActiveObject):
        @property
        def door(self) -> object:
            return [].no_such_thing  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="'list' object has no attribute 'no_such_thing'"):
        _ = Own("chart").door


@pytest.mark.parametrize("none", [[], ()])
def test_to_hear_none_of_the_topics_is_no_way_to_hear_its_own(none: Any) -> None:
    # As of a list that a program has filtered
    with pytest.raises(RoutingKeyError, match="no routing pattern"):
        NetworkedActiveObject(rx_routing_key=none)
    assert NetworkedActiveObject(rx_routing_key="").rx_routing_key == "miros.mesh"
