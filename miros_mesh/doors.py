"""Packages that import what they offer when it is first asked for (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from miros_mesh.forks import importing


def door(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package.

    `homes` says in which module each name is defined. The modules of the package are attributes as
    well, as they are where a package imports them. A program pays for what it uses; and no two
    threads wait for each other's imports, since a package imports none of its own modules.
    """
    namespace = vars(sys.modules[package])
    home_of = {name: home for home, names in homes.items() for name in names}

    def asked_for(name: str) -> Any:
        with importing():
            if home := home_of.get(name):
                found = getattr(import_module(home), name)
            else:
                found = _module(package, name)
        # It is asked for once: two threads at the same time find the same.
        namespace[name] = found
        return found

    def listed() -> list[str]:
        return sorted({*namespace, *home_of})

    return asked_for, listed


def _module(package: str, name: str) -> Any:
    whole = f"{package}.{name}"
    # Another name would be that of a module further down, or of none that can be asked for.
    if name.isidentifier() and not name.startswith("_"):
        try:
            return import_module(whole)
        except ModuleNotFoundError as error:
            # What is missing may be something that it imports.
            if error.name != whole:
                raise
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
