"""Networks that exist, and patterns of kinds that may show something."""

from __future__ import annotations

import pytest

from miros_mesh.errors import SelectionError
from miros_mesh.observe.snoop.networks import SNOOP_NETWORKS, check_kinds, known


@pytest.mark.parametrize("networks", [(), ("mesh",), ("snoop_trace", "trace")])
def test_a_network_that_cannot_be_watched_is_refused(networks: tuple[str, ...]) -> None:
    with pytest.raises(SelectionError, match="networks must be some of snoop_trace, snoop_spy"):
        known(networks)


def test_what_exists_is_taken_in_the_order_given() -> None:
    assert known(reversed(SNOOP_NETWORKS)) == ("snoop_spy", "snoop_trace")


@pytest.mark.parametrize("pattern", ["trace", "scribble", "t*", "*"])
def test_a_kind_that_comes_by_the_network_is_taken(pattern: str) -> None:
    check_kinds([pattern], ["snoop_trace"])


def test_every_pattern_that_shows_nothing_is_named() -> None:
    with pytest.raises(SelectionError) as refused:
        check_kinds(["spy", "step", "trace"], ["snoop_trace"])
    assert refused.value.problems == (
        "no record of kind 'spy' comes by snoop_trace alone",
        "no record is of kind 'step'; kinds are trace, scribble, spy",
    )
