"""Names of charts, states and signals, which may hold anything, made fit to be shown."""

from __future__ import annotations

from collections.abc import Callable

from miros_mesh.text import printable

LONGEST = 60
# What neither Mermaid nor PlantUML takes for syntax.
_PLAIN = frozenset(" .,()")
# Single ones are part of names; doubled they are arrows, comments or markup of PlantUML.
_CONNECTING = frozenset("_-/")


def shown(name: str, longest: int = LONGEST) -> str:
    """Return the name in one line without control characters, shortened, and never empty."""
    name = printable(name).strip() or "?"
    return name if len(name) <= longest else name[: longest - 1] + "…"


def escaped(text: str, escape: Callable[[int], str]) -> str:
    """Return the text with everything escaped that a diagram language could take for its own.

    Letters, digits and the signs that names are made of stay, unless a sign is doubled.
    """
    before = ""
    parts = []
    for char in text:
        plain = char.isalnum() or char in _PLAIN or (char in _CONNECTING and char != before)
        parts.append(char if plain else escape(ord(char)))
        before = char
    return "".join(parts)
