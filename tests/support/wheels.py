"""Wheels of the library, built from its source as `make wheel` does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.doc_pages import ROOT

BUILD_LIMIT_S = 300.0


def copy_source(folder: Path) -> None:
    """Make a folder with all that a wheel is built from."""
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "miros_mesh", folder / "miros_mesh")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)


def build(folder: Path, *, time_zone: str = "UTC", umask: int = 0o022) -> Path:
    """Build a wheel from a copy of the source."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "built"],
        cwd=folder,
        env={**os.environ, "TZ": time_zone},
        umask=umask,
        capture_output=True,
        timeout=BUILD_LIMIT_S,
        check=True,
    )
    (wheel,) = (folder / "built").iterdir()
    return wheel


def of_version(folder: Path, version: str) -> Path:
    """Build a wheel that says it is of this version."""
    copy_source(folder)
    settings = folder / "pyproject.toml"
    text = settings.read_text()
    own = next(line for line in text.splitlines() if line.startswith("version = "))
    settings.write_text(text.replace(own, f'version = "{version}"', 1))
    return build(folder)
