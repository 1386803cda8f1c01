"""The pages that people read, and the programs in them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
)

_BLOCK = re.compile(
    r'^```python(?: title="(?P<title>[^"]+)")?\n(?P<code>.*?)^```$', re.MULTILINE | re.DOTALL
)


def blocks(page: Path, language: str) -> list[str]:
    """Every block of a page in this language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return list(map(str, found))


def block(page: Path, language: str, word: str) -> str:
    """The one block of a page in this language that has this word."""
    (found,) = [each for each in blocks(page, language) if word in each]
    return found


def fragments(page: Path) -> list[str]:
    """The Python of a page that shows a part of a program."""
    return [block["code"] for block in _BLOCK.finditer(page.read_text()) if not block["title"]]


def imports(page: Path) -> Iterator[str]:
    """Every import statement in the Python of a page, in whole programs and in parts of one."""
    for block in _BLOCK.finditer(page.read_text()):
        for node in ast.walk(ast.parse(block["code"])):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield ast.unparse(node)


def program(page: str, title: str) -> str:
    """The whole program of that title."""
    blocks = _BLOCK.finditer((ROOT / page).read_text())
    (code,) = [block["code"] for block in blocks if block["title"] == title]
    return code


def output(page: str, title: str) -> str:
    """What the page says that the program prints."""
    after = (ROOT / page).read_text().partition(f'title="{title}"')[2]
    (first,) = re.findall(r"^```text\n(.*?)^```$", after, re.MULTILINE | re.DOTALL)[:1]
    return str(first)


def programs() -> set[tuple[str, str]]:
    """Page and title of every whole program."""
    return {
        (str(page.relative_to(ROOT)), block["title"])
        for page in PAGES
        for block in _BLOCK.finditer(page.read_text())
        if block["title"]
    }
