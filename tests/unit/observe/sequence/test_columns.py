"""States side by side: each word has its room, and arrows lead from line to line."""

from __future__ import annotations

from miros_mesh.observe.sequence.columns import Columns
from miros_mesh.observe.sequence.diagram import diagram
from support.recorded_mesh import record


def drawn(*steps: tuple[str, str, str]) -> list[str]:
    records = [
        record(sequence=n, signal=signal, from_state=before, to_state=after)
        for n, (signal, before, after) in enumerate(steps, 1)
    ]
    arrows = diagram(records).arrows
    states = list(dict.fromkeys(s for a in arrows for s in (a.from_state, a.to_state)))
    return [line.rstrip() for line in Columns(states, arrows).drawing(arrows)]


def test_an_arrow_leads_to_the_right_and_back() -> None:
    assert drawn(("go", "a", "b"), ("back", "b", "a")) == [
        "     a          b",
        "     +---go()-->|",
        "     |   (1)    |",
        "     +<-back()--|",
        "     |   (2)    |",
    ]


def test_a_transition_to_the_same_state_is_a_loop() -> None:
    assert drawn(("again", "a", "a")) == [
        "a",
        "+",
        " \\ (1)",
        " again()",
        " /",
        "<",
    ]


def test_an_arrow_over_a_state_between_crosses_its_line() -> None:
    [header, *_, back, _] = drawn(("x", "a", "b"), ("x", "b", "c"), ("back", "c", "a"))
    a, b, c = (header.index(name) for name in "abc")
    assert (back[a], back[b], back[c]) == ("+", "+", "|")
    assert back[a + 1] == "<"
