"""What `help`, Sphinx and an IDE print of the package: nothing of where it was imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
WORD = "hush-4711"
LIMIT_S = 120.0

# In a process of its own: what is evaluated at import is what is looked for.
WALK = """
import datetime, importlib, inspect, pkgutil, sys, types

def shown(value):
    try:
        return repr(value)
    except Exception:
        return ""

def functions(holder, module):
    for each in vars(holder).values():
        if isinstance(each, (classmethod, staticmethod)):
            each = each.__func__
        if not isinstance(each, (type, types.FunctionType)):
            continue
        if each.__module__ != module:
            continue
        if isinstance(each, type):
            yield from functions(each, module)
        else:
            yield each

seen = 0
for package in ("miros_mesh", "support"):
    package = importlib.import_module(package)
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        for name, value in list(vars(module).items()):
            if not name.startswith("__") and sys.argv[1] in shown(value):
                if not isinstance(value, types.ModuleType):
                    print(module.__name__, name)
        for function in functions(module, module.__name__):
            seen += 1
            for parameter in inspect.signature(function).parameters.values():
                default = parameter.default
                if sys.argv[1] in shown(default) or isinstance(default, datetime.date):
                    print(module.__name__, function.__qualname__, parameter.name)
assert seen > 1000, seen
"""


def test_no_default_and_no_constant_holds_the_environment_or_a_folder_of_the_user(
    tmp_path: Path,
) -> None:
    # Given an environment, a home and a working folder that can be recognised
    folder = tmp_path / WORD
    folder.mkdir()
    names = ("HOME", "XDG_STATE_HOME", "TMPDIR", "MIROS_MESH_HOME", "MIROS_MESH_BROKER_URL")
    environment = {**os.environ, **dict.fromkeys(names, str(folder))}
    # Where the tests of the suite run, for `support`
    environment["PYTHONPATH"] = os.pathsep.join([str(TESTS), environment.get("PYTHONPATH", "")])

    # When everything is imported there
    done = subprocess.run(
        [sys.executable, "-c", WALK, WORD],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )

    # Then nothing of it is in what was evaluated
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
