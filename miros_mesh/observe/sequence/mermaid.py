"""Mermaid: an arrow from the chart that transmitted to the one whose transition it caused."""

from __future__ import annotations

from miros_mesh.observe.sequence.model import Arrow, Diagram, Lifeline
from miros_mesh.observe.sequence.names import escaped, shown

MAX_ARROWS = 300
MAX_LIFELINES = 30
# Mermaid refuses texts of more than 50,000 characters, and a page may add some.
MAX_CHARACTERS = 45_000


def mermaid(diagram: Diagram) -> str:
    """Write a `sequenceDiagram` of Mermaid; a note in it says what was cut from a large one."""
    cut = diagram.first(MAX_ARROWS, MAX_LIFELINES)
    # Each turn leaves fewer arrows, as the source is longer than the limit; one arrow always fits.
    while len(source := _source(cut)) > MAX_CHARACTERS:
        cut = cut.first(len(cut.arrows) * MAX_CHARACTERS // (len(source) + 1000), MAX_LIFELINES)
    return source


def _source(diagram: Diagram) -> str:
    names = {line: f"c{place}" for place, line in enumerate(diagram.lifelines, 1)}
    lines = ["sequenceDiagram"]
    lines += [f"    participant {name} as {_label(line)}" for line, name in names.items()]
    lines += [f"    {_arrow(arrow, names)}" for arrow in diagram.arrows]
    # Over all lifelines, from the first to the last; a single one is named once.
    ends = ",".join(dict.fromkeys((names[diagram.lifelines[0]], names[diagram.lifelines[-1]])))
    lines += [f"    Note over {ends}:wrap: {_escape(note)}" for note in diagram.notes]
    return "\n".join(lines) + "\n"


def _arrow(arrow: Arrow, names: dict[Lifeline, str]) -> str:
    ends = f"{names[arrow.sender or arrow.target]}->>{names[arrow.target]}"
    signal, before, after = (
        _escape(shown(name)) for name in (arrow.signal, arrow.from_state, arrow.to_state)
    )
    return f"{ends}: ({arrow.number}) {signal}() {before} → {after}"


def _label(line: Lifeline) -> str:
    return _escape(shown(line.label))


def _escape(text: str) -> str:
    # Mermaid's own entities, which are decimal.
    return escaped(text, lambda code: f"#{code};")
