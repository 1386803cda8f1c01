"""What the real Docker Compose makes of `deploy/compose.yaml`."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from typing import Any

import yaml  # type: ignore[import-untyped]

from support.deployed import DEPLOY, LIMIT_S
from support.lan_guard import OFF, VARIABLE
from support.manifests import program

FILE = DEPLOY / "compose.yaml"


NAMES = list(yaml.safe_load(FILE.read_text())["services"])


@functools.cache
def services() -> dict[str, Any]:
    """Its services by name, with everything that the file leaves to its defaults."""
    return dict(json.loads(_compose("config", "--format", "json"))["services"])


def complaints() -> str:
    """What it says of the file."""
    return _compose("config", "--quiet")


def _compose(*words: str) -> str:
    # It reads the file alone, and asks no engine.
    environment = {
        "PATH": os.defpath,
        "HOME": "/nonexistent",
        VARIABLE: OFF,
    }
    done = subprocess.run(
        [program("docker-compose"), "--file", str(FILE), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout
