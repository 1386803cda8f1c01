"""A page: no name is more than text, and nothing is loaded."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import given, settings

from miros_mesh.observe.sequence import page
from miros_mesh.observe.sequence.diagram import diagram
from miros_mesh.observe.sequence.model import Diagram
from support.recorded_mesh import hostile, record


class Tags(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(name for name, _ in attrs)}


@settings(deadline=None)
@given(hostile)
def test_no_name_is_more_than_text_on_a_page(drawn: Diagram) -> None:
    plain = Tags()
    plain.feed(page(diagram([record()])))
    dangerous = Tags()
    dangerous.feed(page(drawn))
    assert dangerous.seen == plain.seen
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page(diagram([record()])))
