"""An environment of Python for programs that ours has no packages for."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

from brokers import SCRATCH
from measure import MeasureError

_INSTALL_LIMIT_S = 300.0


def environment(requirements: Path) -> Path:
    """Return the Python that has what a file of requirements pins; makes it when they changed."""
    place = SCRATCH / f"bench-{requirements.stem}"
    python = place / "bin" / "python"
    installed = place / "installed.txt"
    wanted = f"{sys.version}\n{requirements.read_text()}"
    if installed.is_file() and installed.read_text() == wanted:
        return python
    SCRATCH.mkdir(exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        done = subprocess.run(  # noqa: S603 - a Python that we made
            [*install, "--requirement", str(requirements)],
            capture_output=True,
            text=True,
            timeout=_INSTALL_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MeasureError(f"{requirements.name}: pip took over {_INSTALL_LIMIT_S:g} s") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["without a word"]
        raise MeasureError(f"{requirements.name} cannot be installed: {last[0]}")
    installed.write_text(wanted)
    return python
