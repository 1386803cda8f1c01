"""What a user gets: the installed wheel."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import miros_mesh

PACKAGE = Path(miros_mesh.__file__).parent

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
import miros_mesh
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


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
