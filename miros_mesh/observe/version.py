"""Which version of the library runs."""

from __future__ import annotations

import importlib.metadata


def version() -> str:
    """Return the installed version, or "unknown" for a source folder that is not installed."""
    try:
        return importlib.metadata.version("miros-mesh")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
