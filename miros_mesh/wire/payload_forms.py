"""What types of payloads are made of, as msgspec sees it: what can travel, and what is hashed.

Who sends a set may choose elements of one hash, which are then compared one by one: 1 MiB of them
would hold the thread that reads for half a minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, TypeAlias, get_origin
from uuid import UUID

from msgspec import inspect

from miros_mesh.errors import PayloadError
from miros_mesh.wire.envelope import RESERVED_PREFIX
from miros_mesh.wire.payload_faults import step_of

TEXT_KEYS: Final = (inspect.AnyType, inspect.StrType)
_KEYS: Final = (
    *(inspect.AnyType, inspect.StrType, inspect.IntType, inspect.FloatType, inspect.EnumType),
    *(inspect.UUIDType, inspect.DecimalType, inspect.LiteralType, inspect.BytesType),
    *(inspect.DateType, inspect.TimeType, inspect.DateTimeType, inspect.TimeDeltaType),
)
_FOREIGN: Final = (*(inspect.CustomType, inspect.RawType, inspect.ExtType, inspect.MemoryViewType),)
_SETS: Final = inspect.SetType | inspect.FrozenSetType
# Hashed by the text or the bytes that they are, which Python does differently in each process.
_SAFE: Final = (
    *(inspect.StrType, inspect.BytesType, inspect.EnumType, inspect.LiteralType, inspect.BoolType),
    *(inspect.DateType, inspect.TimeType, inspect.DateTimeType, inspect.TimeDeltaType),
)
_LISTS: Final = inspect.ListType | inspect.SetType | inspect.FrozenSetType | inspect.VarTupleType
_ROWS: Final = (
    *(inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType),
    *(inspect.TupleType, inspect.NamedTupleType),
)
_Pairs: TypeAlias = Iterator[tuple[str, inspect.Type, Any]]


class PayloadTypes(Mapping[str, Any]):
    """Types of payloads by signal: `MeshConfig.payloads` in a form that can be hashed."""

    def __init__(self, types: Mapping[str, Any] = MappingProxyType({})) -> None:
        self._types = dict(types)

    def __getitem__(self, signal: str) -> Any:
        return self._types[signal]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def __hash__(self) -> int:
        # Of the signals alone: the metadata of an annotated type need not be hashable.
        return hash(frozenset(self._types))

    def __repr__(self) -> str:
        return f"PayloadTypes({self._types!r})"


def problems_of(types: Mapping[Any, Any]) -> Iterator[str]:
    """Say of each signal what is wrong with it or with its type."""
    for number, (signal, kind) in enumerate(types.items(), start=1):
        # Either may be a secret that stands in the wrong place.
        if isinstance(kind, (str, bytes)):
            yield f"the type of signal {number} must be a type, and is a {type(kind).__name__}"
        elif not isinstance(signal, str) or not signal:
            yield "each signal must be a str that is not empty"
        elif signal.startswith(RESERVED_PREFIX):
            yield f"{signal} is a signal of the library, which has its own payload"
        elif problem := _problem_of(kind):
            yield f"{signal}: {problem}"


def name_of(kind: Any) -> str:
    """Return what a type is called: `Order`, `list[Order]`."""
    return kind.__name__ if isinstance(kind, type) and not get_origin(kind) else str(kind)


def parts_of(info: inspect.Type) -> Iterator[tuple[str, inspect.Type]]:
    """Return all types that one is made of, itself included, each with a path to it."""
    seen: set[int] = set()
    waiting = [("$", info)]
    while waiting:
        path, part = waiting.pop()
        # A class may contain itself.
        if id(part) not in seen:
            seen.add(id(part))
            yield path, part
            waiting += [(path + step, inner) for step, inner in _inner(part)]


class HashGuard:
    """Refuses a tree in which too many elements of one set, or keys of one dict, have one hash."""

    def __init__(self, info: inspect.Type, most: int) -> None:
        self._info = info
        self._most = most
        # The types on the way to what is hashed; nearly always there are none.
        self._leading = {id(part) for _, part in parts_of(info) if _hashes(part)}

    def check(self, tree: Any) -> None:
        """Raise `PayloadError` with the path to such a set or dict."""
        waiting = [("$", self._info, tree)] if self._leading else []
        while waiting:
            path, info, value = waiting.pop()
            if id(info) in self._leading:
                if _is_hashed(info) and isinstance(value, (list, tuple, dict)):
                    self._check(path, value)
                waiting += [(path + step, part, each) for step, part, each in _pairs(info, value)]

    def _check(self, path: str, elements: Collection[Any]) -> None:
        if len(elements) > self._most:
            [(_, most)] = Counter(map(_hash, elements)).most_common(1)
            if most > self._most:
                raise PayloadError(
                    f"{path}: has more than {self._most} elements of one hash; send a list"
                )


def _hash(value: Any) -> int:
    """Return the hash that an element will have, if it is one that a sender can choose."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return hash(tuple(map(_hash, value)))
    if isinstance(value, str):
        for kind in (Decimal, UUID):
            try:
                return hash(kind(value))
            except (ArithmeticError, ValueError, TypeError):
                continue
    return hash(value)


def _hashes(info: inspect.Type) -> bool:
    return any(_is_hashed(part) for _, part in parts_of(info))


def _is_hashed(info: inspect.Type) -> bool:
    if isinstance(info, _SETS):
        return not isinstance(info.item_type, _SAFE)
    return isinstance(info, inspect.DictType) and not isinstance(
        info.key_type, (*_SAFE, inspect.AnyType)
    )


def _pairs(info: inspect.Type, value: Any) -> _Pairs:
    """Return the parts of a value, each with its type; nothing where they do not fit."""
    if isinstance(info, inspect.Metadata):
        yield "", info.type, value
    elif isinstance(info, inspect.UnionType):
        # One at most: what was followed twice at each level would be followed without end.
        yield from (("", each, value) for each in info.types if _has_shape(each, value))
    elif isinstance(value, dict):
        yield from _pairs_of_dict(info, value)
    elif isinstance(value, (list, tuple)):
        yield from _pairs_of_list(info, value)


def _pairs_of_dict(info: inspect.Type, value: dict[Any, Any]) -> _Pairs:
    if isinstance(info, inspect.DictType):
        yield from (("[...]", info.value_type, each) for each in value.values())
    for field in getattr(info, "fields", ()):
        if field.encode_name in value:
            yield step_of(field.encode_name), field.type, value[field.encode_name]


def _pairs_of_list(info: inspect.Type, value: list[Any] | tuple[Any, ...]) -> _Pairs:
    if isinstance(info, _LISTS):
        yield from ((step_of(at), info.item_type, each) for at, each in enumerate(value))
        return
    if isinstance(info, inspect.TupleType):
        types = info.item_types
    else:
        types = tuple(field.type for field in getattr(info, "fields", ()))
    begin = 1 if getattr(info, "tag", None) is not None else 0
    both = zip(types, value[begin:], strict=False)
    yield from ((step_of(begin + at), kind, each) for at, (kind, each) in enumerate(both))


def _has_shape(info: inspect.Type, value: Any) -> bool:
    if isinstance(info, inspect.StructType):
        if info.array_like:
            tag = value[0] if isinstance(value, (list, tuple)) and value else None
        else:
            tag = value.get(info.tag_field) if isinstance(value, dict) else None
        rows = isinstance(value, (list, tuple))
        return info.array_like == rows and (info.tag is None or tag == info.tag)
    return isinstance(value, (list, tuple)) == isinstance(info, _ROWS)


def _problem_of(kind: Any) -> str | None:
    try:
        info = inspect.type_info(kind)
    except Exception as error:  # noqa: BLE001  # NameError, TypeError, what annotations raise
        return f"{name_of(kind)} cannot be the type of a payload: {error}"
    for path, part in parts_of(info):
        if isinstance(part, _FOREIGN):
            return f"{name_of(kind)} holds at {path} a {_called(part)}, which cannot travel"
        if isinstance(part, inspect.DictType) and not isinstance(part.key_type, _KEYS):
            return (
                f"{name_of(kind)} holds at {path} a dict whose keys cannot be written as text; "
                "let them be of one type: str, int, float, an enum, UUID, Decimal or a date"
            )
    return None


def _called(part: inspect.Type) -> str:
    if isinstance(part, inspect.CustomType):
        return name_of(part.cls)
    return type(part).__name__.removesuffix("Type").lower()


def _inner(part: inspect.Type) -> Iterator[tuple[str, inspect.Type]]:
    union = isinstance(part, (inspect.UnionType, inspect.Metadata))
    for name in part.__struct_fields__:
        value = getattr(part, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, inspect.Field):
                yield f".{each.name}", each.type
            elif isinstance(each, inspect.Type):
                yield "" if union else "[...]", each
