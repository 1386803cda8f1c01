"""`miros-mesh migrate`: looks through a folder, and prints what to change, line by line."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from miros_mesh.cli.migrate.sources import Finding, findings
from miros_mesh.cli.options import Commands
from miros_mesh.text import printable

# What is not the project's own, by the names of folders.
_FOREIGN: Final = frozenset(
    {".git", ".hg", ".tox", ".venv", "__pycache__", "build", "dist", "env", "node_modules"}
    | {"site-packages", "venv"}
)
# No source of a person is larger.
_LARGEST_BYTES: Final = 4 * 1024 * 1024
_FILES: Final = {
    ".env": "carries over: MeshConfig.from_env(env_file=...) reads it; an import does not",
    ".miros_rabbitmq_hosts.json": "carries over: it is read in the working folder",
    ".miros_rabbitmq_lan_cache.json": (
        "its addresses are read while ancestors is hear or both; delete it after that, since its "
        "URLs have a password in them"
    ),
}
_REQUIRED: Final = re.compile(r"miros[-_.]rabbitmq\b", re.IGNORECASE)
_REQUIREMENTS: Final = re.compile(r"requirements.*\.(txt|in)|pyproject\.toml|setup\.(py|cfg)")
CHANGES, NONE = 1, 0


def add(commands: Commands) -> None:
    """Add the command, with its folder."""
    parser = commands.add_parser(
        "migrate",
        help="say what to change in a project of miros-rabbitmq",
        description="Look through the Python sources and the files of a project that uses "
        "miros-rabbitmq, run none of it, and print what to change, a line for each place. Exit "
        "code 1 when something has to be changed, 0 when not.",
    )
    parser.add_argument("folder", type=Path, help="the folder of the project, or one of its files")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    folder: Path = options.folder
    if not folder.exists():
        options.parser.error(f"there is no {printable(str(folder))}")
    changes, files = 0, 0
    for file in _files(folder):
        for each in _of(file):
            where = f"{file}:{each.line}" if each.line else str(file)
            sys.stdout.write(f"{printable(where)}: {each.text}\n")
            changes += each.change
        files += 1
    sys.stdout.write(
        f"{files} files were looked at, {changes} places are to be changed; then let old nodes and "
        "new ones run side by side with ancestors='both'\n"
    )
    return CHANGES if changes else NONE


def _files(folder: Path) -> Iterator[Path]:
    """Yield what is worth a look, in the order of its names; no link is followed."""
    if folder.is_file():
        yield folder
        return
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _FOREIGN)
        for name in sorted(names):
            file = Path(where, name)
            wanted = name.endswith(".py") or name in _FILES or _REQUIREMENTS.fullmatch(name)
            if wanted and not file.is_symlink():
                yield file


def _of(file: Path) -> Iterator[Finding]:
    if file.name in _FILES:
        yield Finding(0, _FILES[file.name], False)
        return
    try:
        text = _text(file)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text of such a size"
        yield Finding(0, f"is not looked at: {why}", False)
        return
    if _REQUIREMENTS.fullmatch(file.name):
        for number, line in enumerate(text.splitlines(), 1):
            if _REQUIRED.search(line):
                yield Finding(number, "miros-rabbitmq -> miros-mesh; Python 3.11 or later", True)
    if file.suffix == ".py":
        yield from _of_source(text)


def _of_source(text: str) -> Iterator[Finding]:
    try:
        yield from findings(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Of another Python; without the name there is nothing to say of it.
        if _REQUIRED.search(text):
            yield Finding(0, "cannot be read by this Python: is it of Python 2?", True)


def _text(file: Path) -> str:
    if file.stat().st_size > _LARGEST_BYTES:
        raise ValueError("too large")
    return file.read_bytes().decode()
