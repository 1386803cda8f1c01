"""Which module imports which, and how long the chains are that come of it.

`PYTHONPATH=tests python -m support.imports` prints the longest chain and the depth of each module:
a module that imports none of the package has depth 1, any other is one deeper than the deepest that
it imports. An import inside a function counts like any other.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import miros_mesh

ROOT = Path(miros_mesh.__file__).parent


@cache
def modules() -> Mapping[str, Path]:
    """Every module of the package by its dotted name; a folder's `__init__` has the folder's."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = (ROOT.name, *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imported(module: str) -> frozenset[str]:
    """The modules of the package that a module names in its import statements."""
    tree = ast.parse(modules()[module].read_text())
    return frozenset(each for node in ast.walk(tree) for each in _named(node)) - {module}


@cache
def longest_chain(module: str) -> tuple[str, ...]:
    """The longest way down from a module, itself first."""
    below = max((longest_chain(each) for each in sorted(imported(module))), key=len, default=())
    return (module, *below)


def depth(module: str) -> int:
    """How many modules the longest chain from this one has."""
    return len(longest_chain(module))


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (each.name for each in node.names if each.name in modules())
    elif isinstance(node, ast.ImportFrom) and node.module:
        for each in node.names:
            inner = f"{node.module}.{each.name}"
            if inner in modules():
                yield inner
            elif node.module in modules():
                yield node.module


def main() -> None:
    """Print the longest chain, and each module with its depth."""
    longest = max(modules(), key=depth)
    print(f"longest chain, {depth(longest)} modules: {' > '.join(longest_chain(longest))}")
    for module in sorted(modules(), key=lambda each: (depth(each), each)):
        print(f"{depth(module):3}  {module}")


if __name__ == "__main__":
    main()
