"""An environment of Python for programs that ours has no packages for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from brokers import ROOT, SCRATCH
from measure import MeasureError

LOCK = ROOT / ".ci" / "lock"
INSTALL_LIMIT_S = 300.0


def environment(group: str) -> Path:
    """Return the Python that has what a lock pins; makes it anew when that has changed."""
    lock = LOCK / f"{group}.txt"
    place = SCRATCH / f"bench-{group}"
    installed = place / "installed.txt"
    wanted = f"{sys.version}\n{lock.read_text()}"
    if not installed.is_file() or installed.read_text() != wanted:
        make(place)
        install(place, "--only-binary", ":all:", "--require-hashes", "--requirement", str(lock))
        installed.write_text(wanted)
    return python(place)


def locked(group: str, *names: str) -> list[str]:
    """Return the versions of some packages of a lock, as `name version`."""
    lines = (LOCK / f"{group}.txt").read_text().splitlines()
    pinned = dict(line.split()[0].split("==") for line in lines if line[:1].isalpha())
    return [f"{name} {pinned[name]}" for name in names]


def python(place: Path) -> Path:
    """Return the Python of an environment."""
    return place / "bin" / "python"


def make(place: Path) -> None:
    """Make an environment with nothing but pip, in place of what was there."""
    SCRATCH.mkdir(exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, with_pip=True)


def install(place: Path, *arguments: str) -> None:
    """Have its pip install something."""
    pip = [str(python(place)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, *arguments], INSTALL_LIMIT_S)


def run(command: list[str], limit_s: float) -> str:
    """Run a program to its end; what it printed, and an error with its last line if it failed."""
    try:
        done = subprocess.run(  # noqa: S603 - programs of this checkout, and Pythons made here
            command, capture_output=True, text=True, timeout=limit_s, check=False, env=bare()
        )
    except subprocess.TimeoutExpired:
        raise MeasureError(f"{' '.join(command)} took over {limit_s:g} s") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["without a word"]
        raise MeasureError(f"{' '.join(command)} failed: {last[0]}")
    return done.stdout


def bare() -> dict[str, str]:
    """Return the environment without what tells a Python where to find things of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
