"""What a user gets: the installed wheel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import miros_mesh
from support import wheels
from support.doc_pages import ROOT

PACKAGE = Path(miros_mesh.__file__).parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ROOT / ".ci" / "lock"
EVERY_LOCK = [
    "ancestor",
    "ansible",
    "build",
    "dev",
    "fuzz",
    "nameko",
    "peers",
    "release",
    "run",
    "test",
]
# Of environments that the library is not installed into from the lock.
WITHOUT_LIBRARY = {"ancestor", "ansible", "build", "fuzz", "nameko", "peers", "release"}

IMPORT_AND_REPORT = """
import logging, sys, threading

opened = []
def audit(event, arguments):
    if event in {"socket.__new__", "subprocess.Popen", "os.fork", "os.mkdir"}:
        opened.append(event)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        opened.append(f"write {arguments[0]}")

sys.dont_write_bytecode = True
root = list(logging.getLogger().handlers)
sys.addaudithook(audit)
from miros_mesh import *
print(sorted(thread.name for thread in threading.enumerate()))
print(opened)
own = logging.getLogger("miros_mesh").handlers
print(logging.getLogger().handlers == root, [type(handler).__name__ for handler in own])
"""


def test_the_tests_run_against_the_installed_wheel() -> None:
    assert PACKAGE.parent.name == "site-packages", "run the tests with `make test`"
    files = metadata.files("miros-mesh") or []
    assert "miros_mesh/__init__.py" in [str(file) for file in files]


def test_the_wheel_tells_type_checkers_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_the_wheel_brings_nothing_beside_the_package() -> None:
    folders = {Path(file).parts[0] for file in metadata.files("miros-mesh") or []}
    ours = {folder for folder in folders if not folder.endswith(".dist-info") and folder != ".."}
    assert ours == {"miros_mesh"}


def test_the_wheel_installs_the_command() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="miros-mesh")
    assert command.value == "miros_mesh.__main__:main"
    assert callable(command.load())


def test_the_command_and_the_module_are_the_same_program() -> None:
    script = Path(sys.executable).with_name("miros-mesh")
    by_script = _run(str(script), "--help")
    by_module = _run(sys.executable, "-m", "miros_mesh", "--help")
    assert by_script.stdout == by_module.stdout
    assert "demo" in by_script.stdout


def test_an_import_starts_nothing_opens_nothing_and_configures_nothing() -> None:
    threads, opened, logging_state = _run(
        sys.executable, "-c", IMPORT_AND_REPORT
    ).stdout.splitlines()
    assert threads == "['MainThread']"
    assert opened == "[]"
    assert logging_state == "True ['NullHandler']"


@dataclass(frozen=True)
class Checkout:
    """One way in which a folder with the source may differ from another with the same source."""

    file_mode: int
    folder_mode: int
    changed_at: int
    time_zone: str


def test_two_builds_of_the_wheel_have_the_same_bytes(tmp_path: Path) -> None:
    ours = _build(tmp_path / "ours", Checkout(0o644, 0o755, 1_700_000_000, "UTC"))
    theirs = _build(tmp_path / "a" / "theirs", Checkout(0o600, 0o700, 1_000_000_000, "Asia/Tokyo"))
    assert ours.name == theirs.name
    assert ours.read_bytes() == theirs.read_bytes()


def test_the_test_of_two_builds_sees_one_changed_byte(tmp_path: Path) -> None:
    checkout = Checkout(0o644, 0o755, 1_700_000_000, "UTC")
    ours = _build(tmp_path / "ours", checkout)
    theirs = _build(tmp_path / "theirs", checkout, added="#")
    assert ours.read_bytes() != theirs.read_bytes()


@pytest.mark.parametrize("name", EVERY_LOCK)
def test_a_lock_has_what_pyproject_asks_for(name: str) -> None:
    locked = _locked(name)
    wanted = _wanted(name)
    assert wanted
    missing = [
        str(each)
        for each in wanted
        if not any(
            each.specifier.contains(version)
            for version in locked.get(canonicalize_name(each.name), ())
        )
    ]
    assert not missing, "run: make lock"


@pytest.mark.parametrize("name", ["build", "run", "test"])
def test_a_version_is_the_same_in_every_lock(name: str) -> None:
    everything = _locked("dev")
    assert {each: everything[each] for each in _locked(name)} == _locked(name)


def test_there_is_no_other_lock() -> None:
    assert sorted(file.stem for file in LOCKS.iterdir()) == EVERY_LOCK


@pytest.mark.parametrize("file", sorted(LOCKS.iterdir()), ids=lambda file: file.stem)
def test_a_lock_has_hashes_and_names_no_index(file: Path) -> None:
    text = file.read_text()
    entries = re.sub(r"\\\n\s+", "", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    entry = re.compile(r"[a-z0-9-]+==[\w.+!]+( ; [^-]+)?( ?--hash=sha256:[0-9a-f]{64})+")
    assert not [line[:80] for line in entries.splitlines() if not entry.fullmatch(line)]
    assert "://" not in text


def test_what_builds_the_wheel_is_locked() -> None:
    assert set(PYPROJECT["build-system"]["requires"]) <= set(
        PYPROJECT["dependency-groups"]["build"]
    )


def _build(folder: Path, checkout: Checkout, added: str = "") -> Path:
    """Build a wheel from a copy of the source in this folder."""
    wheels.copy_source(folder)
    with (folder / "miros_mesh" / "__init__.py").open("a") as file:
        file.write(added)
    for path in [*folder.rglob("*"), folder]:
        path.chmod(checkout.folder_mode if path.is_dir() else checkout.file_mode)
        os.utime(path, (checkout.changed_at, checkout.changed_at))
    umask = 0o777 & ~checkout.folder_mode
    return wheels.build(folder, time_zone=checkout.time_zone, umask=umask)


def _locked(name: str) -> dict[str, set[str]]:
    """Return the versions of each package in a lock: several, if markers choose."""
    found: dict[str, set[str]] = {}
    lines = (LOCKS / f"{name}.txt").read_text()
    for package, version in re.findall(r"^([a-z0-9-]+)==([^ ]+)", lines, re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


def _wanted(name: str) -> list[Requirement]:
    """Return what pyproject.toml asks for in the environment that a lock is for."""
    project = PYPROJECT["project"]
    of_the_library = [] if name in WITHOUT_LIBRARY else project["dependencies"]
    extras = project["optional-dependencies"].values() if name == "dev" else []
    group = [] if name == "run" else _group(name)
    texts = [*of_the_library, *(text for extra in extras for text in extra), *group]
    return [Requirement(text) for text in texts]


def _group(name: str) -> list[str]:
    found: list[str] = []
    for each in PYPROJECT["dependency-groups"][name]:
        found += [each] if isinstance(each, str) else _group(each["include-group"])
    return found


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
