"""What `deploy/Dockerfile` says of the image."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]

from support.doc_pages import ROOT

FILE = ROOT / "deploy" / "Dockerfile"


def steps() -> list[dict[str, Any]]:
    """Every instruction with its `value`, in order."""
    return list(_parser().structure)


def values(instruction: str) -> list[str]:
    """What the image, and no stage before it, says behind an instruction."""
    found: list[str] = []
    for step in steps():
        if step["instruction"] == "FROM":
            found = []
        elif step["instruction"] == instruction:
            found.append(step["value"])
    return found


def environment() -> dict[str, str]:
    """The variables of the image that are settings of the library."""
    values = dict(_parser().envs)
    return {name: value for name, value in values.items() if name.startswith("MIROS_MESH_")}


def arguments(instruction: str) -> list[str]:
    """The words of ENTRYPOINT, CMD or HEALTHCHECK."""
    [value] = values(instruction)
    return list(json.loads(value[value.index("[") :]))


def _parser() -> DockerfileParser:
    return DockerfileParser(fileobj=BytesIO(FILE.read_bytes()))
