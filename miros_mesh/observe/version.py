"""Which version of the library runs."""

from __future__ import annotations

import importlib.metadata


def version() -> str:
    """As installed; "unknown" for source files that are not."""
    try:
        return importlib.metadata.version("miros-mesh")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
