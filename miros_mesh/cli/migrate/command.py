"""`miros-mesh migrate`: looks through a folder, and prints what to change, line by line."""

from __future__ import annotations

import argparse
import errno
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from miros_mesh.cli.migrate.sources import Finding, findings
from miros_mesh.cli.options import Commands
from miros_mesh.text import printable

# What is not the project's own, by the names of folders, and by what an environment has in it.
_FOREIGN: Final = frozenset(
    {".git", ".hg", ".tox", ".venv", "__pycache__", "build", "dist", "env", "node_modules"}
    | {"site-packages", "venv"}
)
_ENVIRONMENTS: Final = "pyvenv.cfg"
# No source of a person is larger.
_LARGEST_BYTES: Final = 4 * 1024 * 1024
_FILES: Final = {
    ".env": (
        "carries over: MeshConfig.from_env(env_file=...) reads it once it is closed to others "
        "(chmod 600); an import does not, and puts none of it into os.environ"
    ),
    ".miros_rabbitmq_hosts.json": "carries over: it is read in the working folder",
    ".miros_rabbitmq_lan_cache.json": (
        "its addresses are read while ancestors is hear or both; delete it after that, since its "
        "URLs have a password in them"
    ),
}
_REQUIRED: Final = re.compile(rb"miros[-_.]rabbitmq\b", re.IGNORECASE)
_REQUIREMENTS: Final = re.compile(
    r".*/([^/]*requirements[^/]*|requirements/[^/]*)\.(txt|in)|.*/(pyproject\.toml|setup\.(py|cfg)|tox\.ini|Pipfile|noxfile\.py"
    r"|environment\.ya?ml|(Docker|Container)file[^/]*)"
)
_SOURCES: Final = (".py", ".pyw")
_NOTEBOOK: Final = ".ipynb"
_SCRIPT: Final = re.compile(rb"#!.*python")
_LONGEST_SCRIPT_LINE: Final = 128
CHANGES, NONE = 1, 0


def add(commands: Commands) -> None:
    """Add the command, with its folder."""
    parser = commands.add_parser(
        "migrate",
        help="say what to change in a project of miros-rabbitmq",
        description="Look through the Python sources and the files of a project that uses "
        "miros-rabbitmq, run none of it, and print what to change, a line for each place. Exit "
        "code 1 when something has to be changed or could not be looked at, 0 when not.",
    )
    parser.add_argument("folder", type=Path, help="the folder of the project, or one of its files")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    folder: Path = options.folder
    if not folder.exists():
        options.parser.error(f"there is no {printable(str(folder))}")
    changes, files = 0, 0
    closed: list[OSError] = []
    for file in _files(folder, closed):
        for each in _of(file):
            _say(file, each)
            changes += each.change
        files += 1
    for error in closed:
        _say(error.filename, Finding(0, f"is not looked at: {error.strerror}", True))
        changes += 1
    sys.stdout.write(
        f"{files} files were looked at, {changes} places are to be changed; then let old nodes and "
        "new ones run side by side with ancestors='both' (MIROS_MESH_ANCESTORS=both)\n"
    )
    return CHANGES if changes else NONE


def _say(file: Path | str, found: Finding) -> None:
    where = f"{file}:{found.line}" if found.line else str(file)
    sys.stdout.write(f"{printable(where)}: {found.text}\n")


def _files(folder: Path, closed: list[OSError]) -> Iterator[Path]:
    """Yield what is worth a look, in the order of its names; no link is followed.

    `closed` gets the error of each folder that cannot be read.
    """
    if not folder.is_dir():
        yield folder
        return
    for where, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not _is_foreign(Path(where, name)))
        for name in sorted(names):
            file = Path(where, name)
            wanted = name in _FILES or file.suffix == _NOTEBOOK or _is_source(file)
            if (wanted or _is_requirements(file)) and not _is_link(file):
                yield file


def _is_foreign(folder: Path) -> bool:
    if folder.name in _FOREIGN:
        return True
    try:
        return (folder / _ENVIRONMENTS).exists()
    except OSError:
        # It may not be entered, which is told when that is tried.
        return False


def _is_link(file: Path) -> bool:
    try:
        return file.is_symlink()
    except OSError:
        return False


def _is_source(file: Path) -> bool:
    if file.suffix:
        return file.suffix in _SOURCES
    # A program may have no ending, and name its interpreter instead.
    with suppress(OSError):
        if file.is_file():
            with file.open("rb") as begun:
                return _SCRIPT.match(begun.read(_LONGEST_SCRIPT_LINE)) is not None
    return False


def _is_requirements(file: Path) -> bool:
    return _REQUIREMENTS.fullmatch(file.absolute().as_posix()) is not None


def _of(file: Path) -> Iterator[Finding]:
    if file.name in _FILES:
        yield Finding(0, _FILES[file.name], False)
        return
    try:
        content = _content(file)
    except OSError as error:
        yield Finding(0, f"is not looked at: {error.strerror}", True)
        return
    if _is_requirements(file):
        for number, line in enumerate(content.splitlines(), 1):
            if _REQUIRED.search(line):
                yield Finding(number, "miros-rabbitmq -> miros-mesh; Python 3.11 or later", True)
    if _is_source(file):
        yield from _of_source(content)
    elif not _is_requirements(file) and _REQUIRED.search(content):
        # A notebook, or a file that was named by itself.
        yield Finding(0, "names miros-rabbitmq, and is no .py: save it as one, or change it", True)


def _of_source(source: bytes) -> Iterator[Finding]:
    try:
        yield from findings(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Of another Python; without the name there is nothing to say of it.
        if _REQUIRED.search(source):
            yield Finding(0, "cannot be read by this Python: is it of Python 2?", True)


def _content(file: Path) -> bytes:
    """Return what is in a file; raises `OSError` for one that is no file, or too large."""
    about = file.stat()
    # A pipe would be waited for, for ever.
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "it is no file")
    if about.st_size > _LARGEST_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {_LARGEST_BYTES:,} bytes")
    return file.read_bytes()
