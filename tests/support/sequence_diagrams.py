"""The diagrams that tests and docs hold: `make drawings` draws them anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from miros_mesh.observe.sequence import mermaid, page, plantuml, svg, text
from miros_mesh.observe.sequence.diagram import diagram
from miros_mesh.observe.sequence.lines import read
from miros_mesh.observe.sequence.model import Diagram

FOLDER = Path(__file__).parents[1] / "unit" / "observe" / "sequence" / "diagrams"
FORMS: dict[str, Callable[[Diagram], str]] = {
    ".txt": text,
    ".mmd": mermaid,
    ".puml": plantuml,
    ".svg": svg,
    ".html": page,
}
# Printed lines have times of the reader's zone, so only a text without dates is the same anywhere.
DRAWN = {f"door{form}": "door.jsonl" for form in FORMS} | {"crossing.txt": "crossing.log"}


def drawn(name: str) -> str:
    """What belongs into a file of the folder."""
    with (FOLDER / DRAWN[name]).open("rb") as lines:
        trace = read(lines)
    return FORMS[Path(name).suffix](diagram(trace.records))


if __name__ == "__main__":
    for file in DRAWN:
        (FOLDER / file).write_text(drawn(file), encoding="utf-8")
