"""Mermaid: small enough for Mermaid, and no name is more than a name."""

from __future__ import annotations

import re

from hypothesis import given, settings

from miros_mesh.observe.sequence import mermaid
from miros_mesh.observe.sequence.diagram import diagram
from miros_mesh.observe.sequence.mermaid import MAX_CHARACTERS
from miros_mesh.observe.sequence.model import Diagram
from miros_mesh.observe.sequence.names import shown
from support.recorded_mesh import hostile, record


def test_mermaid_stays_below_the_size_that_mermaid_refuses() -> None:
    long = ";" * 250
    many = [
        record(sequence=2 * n, chart=long, signal=long, from_state=long, to_state=long)
        for n in range(1, 300)
    ]
    drawn = mermaid(diagram(many))
    assert len(drawn) <= MAX_CHARACTERS
    assert "Cut here, " in drawn


_SAFE = r"(?:[^\W]|[ .,()_/→-]|{escape})+"


_MERMAID = _SAFE.format(escape=r"#\d+;")


@settings(deadline=None)
@given(hostile)
def test_no_name_leaves_its_place_in_mermaid(drawn: Diagram) -> None:
    lines = mermaid(drawn).split("\n")
    assert lines.pop() == ""
    grammar = ["sequenceDiagram", rf"    participant c1 as {_MERMAID}", rf"    c1->>c1: {_MERMAID}"]
    assert all(re.fullmatch(g, line) for g, line in zip(grammar, lines, strict=True))
    [label] = re.findall(r" as (.*)", lines[1])
    assert re.sub(r"#(\d+);", lambda m: chr(int(m[1])), label) == shown(drawn.lifelines[0].chart)
