"""A picture: no name is more than text."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given, settings

from miros_mesh.observe.sequence import svg
from miros_mesh.observe.sequence.model import Diagram
from miros_mesh.observe.sequence.names import shown
from support.recorded_mesh import hostile


@settings(deadline=None)
@given(hostile)
def test_no_name_is_more_than_text_in_a_picture(drawn: Diagram) -> None:
    root = ET.fromstring(svg(drawn))
    tags = {each.tag.rpartition("}")[2] for each in root.iter()}
    assert tags <= {"svg", "title", "style", "defs", "marker", "path", "circle", "rect"} | {
        "text",
        "g",
        "line",
    }
    texts = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert f"(1) {shown(drawn.arrows[0].signal, 40)}()" in texts
