"""PlantUML: an arrow from the chart that transmitted to the one whose transition it caused."""

from __future__ import annotations

from miros_mesh.observe.sequence.model import Arrow, Diagram, Lifeline
from miros_mesh.observe.sequence.names import escaped, shown

MAX_ARROWS = 300
# As for Mermaid: a larger picture cannot be read, and PlantUML cuts images at 4,096 pixels.
MAX_LIFELINES = 30


def plantuml(diagram: Diagram) -> str:
    """Write a sequence diagram of PlantUML; a note in it says what was cut from a large one."""
    cut = diagram.first(MAX_ARROWS, MAX_LIFELINES)
    # Short names of ours: a chart's may be a word of the language, or be there twice.
    names = {line: f"c{place}" for place, line in enumerate(cut.lifelines, 1)}
    lines = ["@startuml"]
    lines += [
        f'participant "{_escape(shown(line.label))}" as {name}' for line, name in names.items()
    ]
    lines += [_arrow(arrow, names) for arrow in cut.arrows]
    lines += [f"note across : {_escape(note)}" for note in cut.notes]
    return "\n".join([*lines, "@enduml"]) + "\n"


def _arrow(arrow: Arrow, names: dict[Lifeline, str]) -> str:
    ends = f"{names[arrow.sender or arrow.target]} -> {names[arrow.target]}"
    signal, before, after = (
        _escape(shown(name)) for name in (arrow.signal, arrow.from_state, arrow.to_state)
    )
    return f"{ends} : ({arrow.number}) {signal}() {before} → {after}"


def _escape(text: str) -> str:
    # PlantUML's notation for a character; it begins no markup of its own.
    return escaped(text, lambda code: f"<U+{code:04X}>")
