"""Each form shows every number once, says what it cuts, and draws what it drew before."""

from __future__ import annotations

import re
import time
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings

from miros_mesh.observe.sequence import mermaid, plantuml, svg, text
from miros_mesh.observe.sequence.diagram import diagram
from support import sequence_diagrams
from support.recorded_mesh import BEGIN, Mesh, meshes


@settings(deadline=None)
@given(meshes())
def test_every_form_shows_every_number_once(mesh: Mesh) -> None:
    drawn = diagram(mesh.records)
    numbers = [str(arrow.number) for arrow in drawn.arrows]
    assert sorted(re.findall(r"->+c\d+: \((\d+)\)", mermaid(drawn)), key=int) == numbers
    assert sorted(re.findall(r"-> c\d+ : \((\d+)\)", plantuml(drawn)), key=int) == numbers
    pictured = re.findall(r"<text[^>]*>\((\d+)\)", svg(drawn))
    assert sorted(pictured, key=int) == numbers
    written = text(drawn)
    assert Counter(re.findall(r"^ *(\d+)\. [+-]", written, re.MULTILINE)) == Counter(numbers)
    bars = re.findall(r"^[ |]*[|\\] +\((\d+)\)[ |]*$", written, re.MULTILINE)
    assert sorted(bars, key=int) == numbers


def test_a_large_trace_is_cut_and_says_so() -> None:
    # Given more transitions and charts than anybody can look at
    mesh = Mesh([0.0] * 40)
    for place in range(40):
        mesh.transition(place)
    first = mesh.records[0]
    many = [
        msgspec.structs.replace(first, sequence=n, time=BEGIN + n, event_id=f"e{n}")
        for n in range(2, 20_000)
    ]
    began = time.monotonic()
    drawn = diagram([*mesh.records, *many])
    # When it is drawn
    forms = {form: draw(drawn) for form, draw in sequence_diagrams.FORMS.items()}
    # Then pictures are bounded and say what is missing, and the text has it all
    assert len(forms[".mmd"]) < 50_000
    assert len(forms[".svg"]) < 1_000_000
    for form in (".mmd", ".puml", ".svg", ".html"):
        said = re.search(r"Cut here, (\d+) further transitions are not drawn", forms[form])
        assert said
        shown_arrows = len(re.findall(r'<path class="own" |c\d+->>|c\d+ -> c', forms[form]))
        assert int(said[1]) + shown_arrows == len(drawn.arrows)
    assert forms[".txt"].count(" e->") == len(drawn.arrows)
    assert "Cut" not in forms[".txt"]
    # A limit that only a runaway meets.
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("name", [*sequence_diagrams.DRAWN])
def test_a_drawing_is_as_it_was(name: str) -> None:
    file = sequence_diagrams.FOLDER / name
    drawing = sequence_diagrams.drawn(name)
    assert file.read_text(encoding="utf-8") == drawing, "run: make drawings"
