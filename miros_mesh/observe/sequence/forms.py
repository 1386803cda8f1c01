"""The forms in which a sequence diagram is drawn, and how the name of such a file ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from miros_mesh.observe.sequence.mermaid import mermaid
from miros_mesh.observe.sequence.model import Diagram
from miros_mesh.observe.sequence.page import page
from miros_mesh.observe.sequence.plantuml import plantuml
from miros_mesh.observe.sequence.svg import svg
from miros_mesh.observe.sequence.text import text


@dataclass(frozen=True)
class Form:
    """A form; `suffix` is how the name of its file ends."""

    draw: Callable[[Diagram], str]
    suffix: str


FORMATS: Final[dict[str, Form]] = {
    "text": Form(text, ".txt"),
    "mermaid": Form(mermaid, ".mmd"),
    "plantuml": Form(plantuml, ".puml"),
    "svg": Form(svg, ".svg"),
    "html": Form(page, ".html"),
}
"""By their names, as `miros-mesh sequence --format` takes them."""
