"""PlantUML: no name is more than a name."""

from __future__ import annotations

import re

from hypothesis import given, settings

from miros_mesh.observe.sequence import plantuml
from miros_mesh.observe.sequence.model import Diagram
from support.recorded_mesh import hostile

_SAFE = r"(?:[^\W]|[ .,()_/→-]|{escape})+"


_PLANTUML = _SAFE.format(escape=r"<U\+[0-9A-F]{4,6}>")


@settings(deadline=None)
@given(hostile)
def test_no_name_leaves_its_place_in_plantuml(drawn: Diagram) -> None:
    lines = plantuml(drawn).split("\n")
    assert lines.pop() == ""
    grammar = [
        "@startuml",
        rf'participant "{_PLANTUML}" as c1',
        rf"c1 -> c1 : {_PLANTUML}",
        "@enduml",
    ]
    assert all(re.fullmatch(g, line) for g, line in zip(grammar, lines, strict=True))
    # Doubled, these are bold, italic and the like.
    assert not re.search(r"__|//|--|\*\*|~~", lines[2])
