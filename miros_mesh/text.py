"""Text of unknown origin, made fit for a terminal and for the wire."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with every control character escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def encodable(text: str) -> str:
    """The text with each half of a surrogate pair escaped, which has no UTF-8 form."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
