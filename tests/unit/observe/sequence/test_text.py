"""The text form: a list where columns do not fit, and nothing that commands a terminal."""

from __future__ import annotations

from hypothesis import given, settings

from miros_mesh.observe.sequence import text
from miros_mesh.observe.sequence.diagram import diagram
from miros_mesh.observe.sequence.model import Diagram
from support.recorded_mesh import hostile, record


def test_a_chart_with_too_many_states_has_a_list_only() -> None:
    many = [record(sequence=n, to_state=f"s{n}") for n in range(1, 100)]
    assert "100 states are too many" in text(diagram(many))


@settings(deadline=None)
@given(hostile)
def test_no_control_character_reaches_a_terminal(drawn: Diagram) -> None:
    assert text(drawn).replace("\n", "").isprintable()
