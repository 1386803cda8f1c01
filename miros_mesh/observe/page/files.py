"""The files of the page, which are in the package: HTML, a style sheet, modules of JavaScript."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Final

_FOLDER: Final = "site"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FIRST: Final = "index.html"


@dataclass(frozen=True)
class File:
    """A file as a browser gets it."""

    type: str
    content: bytes


def files() -> dict[str, File]:
    """Return all of them by the path that a browser asks for; `/` is the page itself."""
    folder = resources.files(__package__).joinpath(_FOLDER)
    found = {
        f"/{each.name}": File(_TYPES[each.name[each.name.rindex(".") :]], each.read_bytes())
        for each in folder.iterdir()
    }
    return {"/": found[f"/{FIRST}"], **found}
