"""Classes of a program that payloads may hold, by the name that they have on the wire."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

_BUILT_IN: Final = (int, float, str, bytes, dict, list, tuple, set, frozenset, datetime)


@dataclass(frozen=True, slots=True, repr=False)
class UnknownValue:
    """A named tuple or dataclass of a class that is not among this node's `payload_types`.

    It can be sent on, and arrives where its class is known as what it was. It can be hashed as long
    as its fields can.
    """

    type_name: str
    """The name of its class."""
    fields: Mapping[str, Any]
    """What it holds, by the names of the fields."""

    def __post_init__(self) -> None:
        # The class is frozen, hence `object`; and so is what it holds.
        object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))

    def __hash__(self) -> int:
        return hash((self.type_name, frozenset(self.fields.items())))

    def __repr__(self) -> str:
        return f"UnknownValue({self.type_name!r}, {dict(self.fields)!r})"

    # A proxy can neither be copied nor pickled, and a handler may do both.
    def __reduce__(self) -> tuple[type[UnknownValue], tuple[str, dict[str, Any]]]:
        return UnknownValue, (self.type_name, dict(self.fields))


def field_names(kind: type) -> tuple[str, ...] | None:
    """Return the fields of a class of named tuples or a dataclass; None for any other class."""
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    names = getattr(kind, "_fields", None) if issubclass(kind, tuple) else None
    return names if isinstance(names, tuple) else None


def type_problem(kind: type) -> str | None:
    """Say why values of a class could not be made again of their fields; None when they can."""
    names = field_names(kind)
    if names is None:
        return "is neither a class of named tuples nor a dataclass"
    base = next((base for base in _BUILT_IN if issubclass(kind, base)), None)
    if base and dataclasses.is_dataclass(kind):
        return f"is a {base.__name__} as well, and what it holds as such would be lost"
    try:
        inspect.signature(kind).bind(**dict.fromkeys(names))
    except (TypeError, ValueError):
        return f"must be made of its fields by keyword, {', '.join(names) or 'none'}, and no others"
    return None
