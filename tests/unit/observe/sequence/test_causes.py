"""Which transition led to which, out of the ids that records carry."""

from __future__ import annotations

import pytest

from miros_mesh.observe.sequence.causes import Causes, causal_order, sender
from support.recorded_mesh import Mesh, record


@pytest.mark.parametrize(
    ("event_id", "chart"),
    [
        ("run7/button/3", ("run7", "button")),
        ("run7/a/b/3", ("run7", "a/b")),
        ("run0/chart0/3", None),
        ("run7/button/local-3", None),
        ("run7//3", None),
        (None, None),
    ],
)
def test_the_sender_is_in_the_id_of_the_event(
    event_id: str | None, chart: tuple[str, str] | None
) -> None:
    assert sender(record(event_id=event_id)) == chart


def test_the_cause_is_the_transition_whose_handling_sent_the_event() -> None:
    mesh = Mesh([0.0, 0.0])
    first = mesh.transition(0)
    second = mesh.transition(1, after=first)
    causes = Causes(mesh.records, mesh.records)
    assert [causes.of(first), causes.of(second)] == [None, 0]


def test_a_chart_whose_clock_is_behind_stands_below_its_cause() -> None:
    mesh = Mesh([0.0, -3600.0])
    second = mesh.transition(1, after=mesh.transition(0))
    assert causal_order([second, mesh.records[0]], [1, None]) == [1, 0]
