"""The text form, as the ancestor's: one chart after another, with the numbers filled in."""

from __future__ import annotations

from collections.abc import Container, Iterator

from miros_mesh.observe.sequence.columns import Columns, call, transition
from miros_mesh.observe.sequence.model import Arrow, Diagram, Lifeline
from miros_mesh.observe.sequence.names import shown

# More columns than this fit no screen, and the list below them says the same.
MAX_STATES = 40


def text(diagram: Diagram) -> str:
    """Draw with characters: the states of each chart side by side, and a list of all arrows."""
    own: dict[Lifeline, list[Arrow]] = {}
    for arrow in diagram.arrows:
        own.setdefault(arrow.target, []).append(arrow)
    blocks = [
        "\n".join(line.rstrip() for line in _block(lifeline, own[lifeline], own))
        for lifeline in diagram.lifelines
        if lifeline in own
    ]
    if diagram.notes:
        blocks.append("\n".join(diagram.notes))
    return "\n\n".join(blocks) + "\n"


def _block(lifeline: Lifeline, arrows: list[Arrow], drawn: Container[Lifeline]) -> Iterator[str]:
    yield f"[Statechart: {shown(lifeline.label)}] ({lifeline.letter})"
    states = list(dict.fromkeys(s for a in arrows for s in (a.from_state, a.to_state)))
    if len(states) > MAX_STATES:
        yield f"Not drawn: {len(states)} states are too many to stand side by side."
    else:
        yield from Columns(states, arrows).drawing(arrows)
    yield ""
    width = len(str(arrows[-1].number))
    for arrow in arrows:
        yield f"{arrow.number:>{width}}. {_item(arrow, drawn)}"


def _item(arrow: Arrow, drawn: Container[Lifeline]) -> str:
    words = f"{arrow.offset_s:+.3f} s  e->{call(arrow)} {transition(arrow)}"
    if arrow.sender:
        words += f", sent by {shown(arrow.sender.label)}"
        if arrow.sender in drawn:
            words += f" ({arrow.sender.letter})"
    if arrow.cause:
        words += f", caused by ({arrow.cause})"
    return words
