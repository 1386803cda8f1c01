"""The pages of the reference, and the names that each explains."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from support.doc_pages import ROOT

FOLDER = ROOT / "docs" / "reference"
INDEX = FOLDER / "index.md"


def pages() -> list[Path]:
    """Every page but the first one, in the order of the menu."""
    listed = re.findall(
        r": (reference/[\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE
    )
    return [ROOT / "docs" / page for page in listed]


def title(page: Path) -> str:
    """What the page is called."""
    return page.read_text().partition("\n")[0].removeprefix("# ")


def explained(page: Path) -> Iterator[str]:
    """The whole name of each thing that a page explains, those of a module one by one."""
    for name in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE):
        yield from _names_of(import_module(name)) if _is_module(name) else [name]


def found(name: str) -> object:
    """What a program gets that imports this name."""
    module, _, last = name.rpartition(".")
    return getattr(import_module(module), last)


def _is_module(name: str) -> bool:
    parent, _, _ = name.rpartition(".")
    return _is_package(parent) and find_spec(name) is not None


def _is_package(name: str) -> bool:
    return hasattr(import_module(name), "__path__")


def _names_of(module: ModuleType) -> Iterator[str]:
    for each in ast.parse(Path(str(module.__file__)).read_text()).body:
        match each:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                pass
            case ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case _:
                continue
        if not name.startswith("_"):
            yield f"{module.__name__}.{name}"
