"""The names in the documents of miros-rabbitmq, and what became of each: a table in docs/.

The documents are not in the repository, their names are, in `ancestor_names.txt`. It was made with
`PYTHONPATH=tests python -m support.ancestor_names FOLDER > tests/support/ancestor_names.txt`, over
the folder that has them as `*.txt`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from support import ancestor_answers, imports

LIST = Path(__file__).with_suffix(".txt")
# What is written as a name: in double backticks, as a class, a signal or a constant, an argument or
# a variable that is set, a method that is called, a module that is imported, an event of a trace,
# words joined by underscores, a hidden file.
_WRITTEN = (
    r"``([^`\n]+)``",
    r"\b([A-Z][a-z]+(?:[A-Z][A-Za-z]*)+)\b",
    r"\b([A-Z]{2,}(?:_[A-Z]+)+)\b",
    r"\b([A-Za-z_]\w+)\s*=(?!=)",
    r"\.([a-z_]\w+)\(",
    r"\bfrom (\w+) import",
    r"\be->(\w+)\(\)",
    r"(?<![\w/.])([a-z]+(?:_[a-z]+)+)\b(?![\w/.])",
    r"(?<![\w/])(\.(?:env|miros_rabbitmq\w+(?:\.json)?))\b",
)
_NAME = re.compile(r"[A-Za-z_]\w+")


def names_in(text: str) -> set[str]:
    """Every name that a document writes as one."""
    return {
        name
        for pattern in _WRITTEN
        for found in re.findall(pattern, text)
        # `scout.producer` and `Payload(ip_address, result)` are several.
        for name in ([found] if found.startswith(".") else _NAME.findall(found))
    }


def listed() -> list[str]:
    """The names of the documents."""
    return LIST.read_text().split()


def table() -> str:
    """What became of every name that was the package's."""
    rows = [
        (name, said) for name in listed() if (said := ancestor_answers.answer(name)) is not None
    ]
    lines = [
        f"| `{name}` | {said} |" for name, said in sorted(rows, key=lambda row: row[0].lower())
    ]
    return "\n".join(["| there | here |", "| --- | --- |", *lines])


def unknown_here() -> Iterator[str]:
    """Names that the table says are here, and that no module of the package has."""
    # But those that only tell of the ancestor's names.
    package = "\n".join(
        path.read_text() for path in imports.modules().values() if path.parent.name != "migrate"
    )
    words = set(re.findall(r"\w+", package)) | set(re.findall(r"\.\w+\.json", package))
    for name in listed():
        said = ancestor_answers.answer(name)
        if said == ancestor_answers.SAME and name not in words:
            yield name
        for new in re.findall(r"`([^`]+)`", said or ""):
            if new not in words:
                yield f"{name}: {new}"


if __name__ == "__main__":
    documents = [file.read_text() for file in Path(sys.argv[1]).glob("*.txt")]
    for each in sorted({name for text in documents for name in names_in(text)}):
        print(each)
