"""The layers and the tree of docs/architecture.md, made from the package and pyproject.toml."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from support import imports, svg
from support.doc_pages import ROOT

_PACKAGE = imports.ROOT.name
_SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
_CONTRACTS: list[dict[str, Any]] = _SETTINGS["importlinter"]["contracts"]
_THREAD = re.compile(r'"mesh-\{[^}"]+\}-(\w+)')
# Two boxes of this width stand side by side in a layer.
_WIDTH, _MARGIN, _GAP, _PAD = 880, 16, 8, 8


def tree() -> str:
    """Every folder of the package, and every module beside them, in the order of the layers."""
    rooms = [each for layer in _layers() for name in layer for each in _folders(name)]
    rows = [f"{_in_tree(name):22}{_own(name):>3}  {purpose(name)}" for name in (_PACKAGE, *rooms)]
    return "\n".join(["```text", *rows, "```"])


def every_module() -> str:
    """Every module with the first line of its docstring, folder by folder."""
    folders: dict[str, list[str]] = defaultdict(list)
    for name in imports.modules():
        if not is_folder(name):
            folders[name.rpartition(".")[0]].append(name)
    return "\n\n".join(
        "\n".join(
            [
                f"**`{folder.replace('.', '/')}/`** {purpose(folder)}",
                "",
                "| module | what it is for |",
                "| --- | --- |",
                *(f"| `{name.rpartition('.')[2]}` | {purpose(name)} |" for name in names),
            ]
        )
        for folder, names in sorted(folders.items())
    )


def layers() -> str:
    """The layers from top to bottom; two of one layer stand in one row."""
    shapes, y = [], _MARGIN
    for layer in _layers():
        drawn, height = _frame(layer, y)
        shapes += drawn
        y += height + _GAP
    words = "A module imports only from the rows below its own. The number counts modules."
    shapes.append(svg.text(_WIDTH / 2, y + 12, words, "middle"))
    return svg.drawing("The layers of miros_mesh", _WIDTH, y + 28, shapes)


def is_folder(name: str) -> bool:
    """Whether a module is the `__init__` of a folder."""
    return imports.modules()[name].name == "__init__.py"


def purpose(name: str) -> str:
    """The first line of a module's docstring."""
    lines = ast.get_docstring(ast.parse(imports.modules()[name].read_text())) or ""
    return lines.partition("\n")[0]


def thread_roles() -> set[str]:
    """The roles in the names of a node's threads, which are `mesh-<node>-<role>`."""
    sources = (path.read_text() for path in imports.modules().values())
    return {role for source in sources for role in _THREAD.findall(source)}


def _in_tree(name: str) -> str:
    *above, own = name.split(".")
    return "  " * len(above) + own + ("/" if is_folder(name) else "")


def _own(name: str) -> str:
    """How many modules stand in a folder itself, as the limit of a test counts them."""
    folder = imports.modules()[name].parent
    own = [path for path in imports.modules().values() if path.parent == folder]
    return str(len(own)) if is_folder(name) else ""


def _count(name: str) -> str:
    return str(len(_inside(name))) if is_folder(name) else ""


def _inside(name: str) -> list[str]:
    return [each for each in imports.modules() if f"{each}.".startswith(f"{name}.")]


def _folders(name: str) -> list[str]:
    return [name, *(each for each in _inside(name) if each != name and is_folder(each))]


def _layers() -> list[list[str]]:
    (contract,) = [each for each in _CONTRACTS if each["id"] == "layers"]
    rows = [re.split(r" [|:] ", row) for row in contract["layers"]]
    return [[f"{_PACKAGE}.{name}" for name in row] for row in rows]


def _frame(layer: Sequence[str], top: int) -> tuple[list[str], int]:
    """One layer and its height: a box, or several of them two by two in a frame."""
    if len(layer) == 1:
        height = _box_height(layer[0], _WIDTH - 2 * _MARGIN)
        return list(_box(layer[0], _MARGIN, top, _WIDTH - 2 * _MARGIN, height)), height
    width = (_WIDTH - 2 * _MARGIN - 3 * _GAP) // 2
    shapes: list[str] = []
    y = top + _GAP
    for pair in (layer[at : at + 2] for at in range(0, len(layer), 2)):
        height = max(_box_height(name, width) for name in pair)
        for column, name in enumerate(pair):
            shapes += _box(name, _MARGIN + _GAP + column * (width + _GAP), y, width, height)
        y += height + _GAP
    return [svg.box(_MARGIN, top, _WIDTH - 2 * _MARGIN, y - top, "frame"), *shapes], y - top


def _box_height(name: str, width: int) -> int:
    return 2 * _PAD + svg.LINE * (1 + len(_lines(name, width)))


def _box(name: str, x: int, y: int, width: int, height: int) -> Iterator[str]:
    first = y + _PAD + svg.LINE // 2
    yield svg.box(x, y, width, height)
    yield svg.text(x + _PAD, first, _in_tree(name).strip(), "name")
    yield svg.text(x + width - _PAD, first, _count(name), "end")
    for number, line in enumerate(_lines(name, width), start=1):
        yield svg.text(x + _PAD, first + svg.LINE * number, line)


def _lines(name: str, width: int) -> list[str]:
    return svg.lines(_words(name), width - 2 * _PAD)


def _words(name: str) -> str:
    fenced = sorted(_fenced() & {word for each in _inside(name) for word in _foreign(each)})
    alone = f" Imports {', '.join(fenced)}." if fenced else ""
    return purpose(name).replace("`", "") + alone


def _fenced() -> set[str]:
    """The packages of others that only some rooms may import."""
    fences = [each for each in _CONTRACTS if each["type"] == "forbidden"]
    return {module for each in fences for module in each["forbidden_modules"]}


def _foreign(name: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(imports.modules()[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
