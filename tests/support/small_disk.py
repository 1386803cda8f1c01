"""A disk of a test's own: small, in memory, seen by one program alone, and gone with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

# Mounted in a namespace of its own, which ends with the program: nothing is left to unmount. A user
# who is not root gets a namespace of users around it, where the kernel allows that.
_PRIVATE: Final = ("unshare", "--mount", "--propagation", "private")
_AS_ROOT: Final = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private")
_MOUNT: Final = 'mount -t tmpfs -o "size=$1,mode=700" disk "$2"; '
LIMIT_S: Final = 60.0


def why_not() -> str | None:
    """Why this machine cannot have one, or None."""
    return None if prefix() else "needs the right to mount: run as root"


def run_on_disk(folder: Path, size: str, before: str, program: Path, *arguments: str) -> str:
    """What a program prints that has a new disk at `folder`, which a script prepares there."""
    script = f'set -e; {_MOUNT} cd "$2"; {before}\nshift 2; cd /; exec "$@"'
    prepared = (*prefix(), "sh", "-c", script, "sh", size, str(folder))
    done = subprocess.run(
        [*prepared, sys.executable, str(program), *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def prefix() -> tuple[str, ...]:
    """The words before a program that may mount what it alone sees; none where it may not."""
    for prefix in (_PRIVATE, _AS_ROOT):
        try:
            done = subprocess.run([*prefix, "true"], capture_output=True, check=False)
        except FileNotFoundError:
            return ()
        if done.returncode == 0:
            return prefix
    return ()
