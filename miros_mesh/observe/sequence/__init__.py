"""Sequence diagrams of a snoop trace, numbered in the order of cause and effect.

`diagram` puts the transitions of a list of records in causal order; `text`, `mermaid`, `plantuml`,
`svg` and `page` draw it. `read` takes the records from a log. All are pure functions.
"""

from miros_mesh.observe.sequence.diagram import diagram
from miros_mesh.observe.sequence.lines import Trace, read
from miros_mesh.observe.sequence.mermaid import mermaid
from miros_mesh.observe.sequence.model import Arrow, Diagram, Lifeline
from miros_mesh.observe.sequence.page import page
from miros_mesh.observe.sequence.plantuml import plantuml
from miros_mesh.observe.sequence.svg import svg
from miros_mesh.observe.sequence.text import text

__all__ = [
    "Arrow",
    "Diagram",
    "Lifeline",
    "Trace",
    "diagram",
    "mermaid",
    "page",
    "plantuml",
    "read",
    "svg",
    "text",
]
