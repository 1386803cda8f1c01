"""docs/discovery.md says what the code does."""

from __future__ import annotations

import re

import pytest

from miros_mesh.discovery.chart import DiscoveryChart, reactions
from miros_mesh.discovery.signals import PUBLIC
from miros_mesh.discovery.verdict import Verdict
from support import discovery_diagrams

PAGE = discovery_diagrams.PAGE.read_text()
TRACE = re.compile(r"^\[[-0-9:. ]+\] \[(\S+)\] e->(\w+)\(\) (\w+)->(\w+)$", re.MULTILINE)


def kinds_of_chart() -> set[type[DiscoveryChart]]:
    """Those of the package; tests make more."""
    return {
        each
        for each in DiscoveryChart.__subclasses__()
        if each.__module__.startswith("miros_mesh.")
    }


def test_the_diagrams_and_tables_are_up_to_date() -> None:
    assert discovery_diagrams.renewed(PAGE) == PAGE, "run: make drawings"


def test_every_chart_has_its_diagram() -> None:
    assert kinds_of_chart() == set(discovery_diagrams.CHARTS)
    assert not [
        kind.__name__
        for kind in discovery_diagrams.CHARTS
        if f"made from the code: {kind.__name__} -->" not in PAGE
    ]


def test_every_verdict_is_explained() -> None:
    assert not [verdict for verdict in Verdict if f"| `{verdict}` |" not in PAGE]


@pytest.mark.parametrize("line", TRACE.findall(PAGE), ids="-".join)
def test_a_trace_on_the_page_is_one_that_a_chart_can_print(line: tuple[str, ...]) -> None:
    _, signal, source, target = line
    assert any(_can_print(kind, signal, source, target) for kind in discovery_diagrams.CHARTS)


def _can_print(kind: type[DiscoveryChart], signal: str, source: str, target: str) -> bool:
    parents = dict(kind.NEST)
    if source == "top":
        return signal == "start_at" and _settles(kind, kind.NEST[0][0]) == target
    around = [source]
    while source in parents and (outer := parents[around[-1]]):
        around.append(outer)
    return any(
        reaction.signal == signal
        and reaction.state in around
        and target in [_settles(kind, each) for each in reaction.to]
        for _, reaction in reactions(kind)
    )


def _settles(kind: type[DiscoveryChart], state: str) -> str:
    """The state in which a transition to another one ends."""
    for _, reaction in reactions(kind):
        if (reaction.state, reaction.signal) == (state, "INIT_SIGNAL"):
            return _settles(kind, reaction.to[0])
    return state


@pytest.mark.parametrize("kind", discovery_diagrams.CHARTS)
def test_a_chart_hears_and_publishes_public_signals_and_leads_to_its_own_states(
    kind: type[DiscoveryChart],
) -> None:
    states = {state for state, _ in kind.NEST}
    heard = {reaction.signal for _, reaction in reactions(kind) if reaction.signal in PUBLIC}
    assert set(kind.HEARS) == heard
    # A program may publish anything under these names.
    assert heard <= set(kind.READS)
    assert set(kind.PUBLISHES) <= set(PUBLIC)
    assert all({reaction.state, *reaction.to} <= states for _, reaction in reactions(kind))
