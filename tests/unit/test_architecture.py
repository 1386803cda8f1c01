"""The shape of the package, and the English in it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import imports

LONGEST_CHAIN = 12
MOST_MODULES = 16
SHORTEST_DOCSTRING = 5
# Words that say too little, or that an operator of production systems has to look up.
UNCLEAR = ("nobody", "whoever", "lest", "befall", "befalls", "mend", "mended", "mends")

TREES = {name: ast.parse(path.read_text()) for name, path in imports.modules().items()}
FOLDERS = sorted({path.parent for path in imports.modules().values()})
Named = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | Named


def folder_name(folder: Path) -> str:
    return str(folder.relative_to(imports.ROOT.parent))


def public_docstrings(node: ast.AST, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Documented) and (text := ast.get_docstring(node)):
        yield path, text
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Named) and not re.match(r"_(?!_)", child.name):
            yield from public_docstrings(child, f"{path}.{child.name}")


def test_no_chain_of_imports_is_longer_than_twelve_modules() -> None:
    longest = max(map(imports.longest_chain, imports.modules()), key=len)
    assert len(longest) <= LONGEST_CHAIN, f"{len(longest)} modules: {' > '.join(longest)}"


def test_no_folder_has_more_than_sixteen_modules() -> None:
    modules = Counter(path.parent for path in imports.modules().values())
    assert not {folder_name(f): n for f, n in modules.items() if n > MOST_MODULES}


@pytest.mark.parametrize("folder", FOLDERS, ids=folder_name)
def test_every_folder_says_what_it_is_for(folder: Path) -> None:
    door = folder / "__init__.py"
    assert door.exists()
    assert ast.get_docstring(ast.parse(door.read_text()))


def test_a_docstring_says_more_than_its_name() -> None:
    short = [
        f"{path}: {text}"
        for name, tree in TREES.items()
        for path, text in public_docstrings(tree, name)
        if len(text.split()) < SHORTEST_DOCSTRING
    ]
    assert not short, "\n".join(short)


@pytest.mark.parametrize("word", UNCLEAR)
def test_the_package_does_without_a_word_that_is_unclear(word: str) -> None:
    # Names too: an underscore or a change of case is no end of a word for \b.
    found = re.compile(rf"(?<![a-z]){word}(?![a-z])|{word.title()}(?![a-z])")
    assert not [name for name, path in imports.modules().items() if found.search(path.read_text())]


def test_a_module_is_imported_by_the_module_that_defines_a_name_never_by_its_folder() -> None:
    doors = {name for name, path in imports.modules().items() if path.name == "__init__.py"}
    through = [
        f"{name} imports from {door}"
        for name in imports.modules()
        if name not in doors
        for door in sorted(imports.imported(name) & doors)
    ]
    assert not through
