"""Payloads of the type that a program declares for a signal, checked where they leave and arrive.

What travels is a tree of built-in types, the same whether a sender has the type or not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any, Final, get_origin
from uuid import UUID

import msgspec
from msgspec import inspect

from miros_mesh.errors import ConfigError, PayloadError
from miros_mesh.wire.payload_faults import fault_of, step_of
from miros_mesh.wire.payload_forms import TEXT_KEYS, HashGuard, name_of, parts_of, problems_of
from miros_mesh.wire.serializer import (
    MAX_SAME_HASH,
    MsgpackSerializer,
    PayloadSerializer,
    Trees,
)

# Left as they are where a payload is checked, so that a text passes for none of them.
_OBJECTS: Final = (bytes, bytearray, datetime, date, time, timedelta, UUID, Decimal)
# What a tree of the built-in serializer has beside the types of JSON; another one has those alone.
_NATIVE: Final = (bytes, datetime)
_OF_FIELDS: Final = (inspect.DataclassType, inspect.StructType)
_CONFLICT: Final = (
    "payload: {} is declared as {} and as {}; "
    "give nodes of different meshes their own in MeshConfig(payloads=...)"
)
_FLOATS: Final = (b"\xca", b"\xcb")
# By their exact types, since a subclass may have attributes of its own.
_CONSTANTS: Final = frozenset({type(None), bool, int, float, str, bytes})


class Payloads:
    """How the payloads of a node become bytes and back, by the signals of their events."""

    def __init__(
        self, serializer: PayloadSerializer, types: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.serializer = serializer
        self._forms = {signal: _Form(kind) for signal, kind in types.items()}
        # Exactly this one: a subclass may write something else.
        self._trees = Trees() if type(serializer) is MsgpackSerializer else None

    def dumps(self, signal: str, payload: Any) -> bytes:
        """Encode the payload of an event.

        `PayloadError` names the path to what does not fit or cannot travel.
        """
        form = self._form(signal)
        if form is None:
            return self.serializer.dumps(payload)
        tree = form.tree_of(payload)
        if self._trees is None:
            tree = msgspec.to_builtins(tree, str_keys=form.other_keys)
            if form.has_floats:
                form.check_numbers(tree)
            return self.serializer.dumps(tree)
        data, has_decimals = self._trees.dumps(tree)
        if has_decimals and form.has_floats:
            form.check_numbers(self._trees.loads(data), _NATIVE)
        return data

    def loads(self, signal: str, data: bytes, *, typed: bool = True) -> Any:
        """Decode what `dumps` of any node made; raises `PayloadError` for what does not fit.

        Where it is not `typed`, the tree of a declared type is returned.
        """
        form = self._form(signal) if typed else None
        if form is None:
            return self.serializer.loads(data)
        if self._trees is None:
            return form.made_of(self.serializer.loads(data), (), has_floats=True)
        has_floats = any(mark in data for mark in _FLOATS)
        return form.made_of(self._trees.loads(data), _NATIVE, has_floats=has_floats)

    def loads_again(self, signal: str, data: bytes) -> tuple[Any, Callable[[], Any]]:
        """Return what `loads` does, and what gives the same payload again, perhaps for less.

        Each call of that gives a value of its own, unless it is one which no program can change.
        """
        again: Callable[[], Any] | None = None
        # Exactly this one, here too.
        if type(self.serializer) is MsgpackSerializer and self._form(signal) is None:
            value, again = self.serializer.loads_again(data)
        else:
            value = self.loads(signal, data)
        if _is_constant(value):
            return value, lambda: value
        return value, again or partial(self.loads, signal, data)

    def _form(self, signal: str) -> _Form | None:
        return self._forms.get(signal) or _declared.get(signal)


def payload(signal: str, type: Any) -> None:  # noqa: A002  # as a program writes it
    """Declare what the events of a signal carry, for all nodes of this process.

    A node whose `MeshConfig.payloads` has the signal takes the type from there. Declare before the
    first event of the signal: it counts from then on. To declare the same type again does nothing;
    another one, and what cannot be a payload's type, is a `ConfigError`.
    """
    if problems := tuple(problems_of({signal: type})):
        raise ConfigError(tuple(f"payload: {problem}" for problem in problems))
    # In one step, since any thread may declare.
    known = _declared.setdefault(signal, _Form(type))
    if known.kind != type:
        raise ConfigError((_CONFLICT.format(signal, name_of(known.kind), name_of(type)),))


class _Form:
    """A type, and what has to be known of it to write and to read its values."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        info = inspect.type_info(kind)
        parts = [part for _, part in parts_of(info)]
        self.classes = tuple(_classes_of(info))
        self.any_class = isinstance(info, inspect.AnyType)
        self.root = " | ".join(each.__name__ for each in self.classes) or "object"
        self.has_floats = any(isinstance(part, inspect.FloatType) for part in parts)
        self.has_decimals = any(isinstance(part, inspect.DecimalType) for part in parts)
        keys = [part.key_type for part in parts if isinstance(part, inspect.DictType)]
        self.other_keys = not all(isinstance(key, TEXT_KEYS) for key in keys)
        self._guard = HashGuard(info, MAX_SAME_HASH)

    def tree_of(self, value: Any) -> Any:
        """Check a value, and return the tree that it is written as, with `_OBJECTS` in it."""
        self._check_class(value)
        keys = self.other_keys
        try:
            tree = msgspec.to_builtins(value, builtin_types=_OBJECTS, str_keys=keys)
        except RecursionError:
            raise PayloadError("$: is nested too deeply, or contains itself") from None
        except Exception:  # noqa: BLE001  # of a program's property, too
            raise PayloadError(_culprit(value, keys=keys)) from None
        self._converted(tree, _OBJECTS)
        return tree

    def made_of(self, tree: Any, native: tuple[type, ...], *, has_floats: bool) -> Any:
        """Make a value of a tree that came from anywhere."""
        self._guard.check(tree)
        value = self._converted(tree, native)
        # msgspec makes a Decimal of a float. What was meant is then lost already.
        if has_floats and self.has_decimals:
            back = msgspec.to_builtins(value, builtin_types=native, str_keys=self.other_keys)
            if path := _float_for_text(tree, back):
                raise PayloadError(f"{path}: expected Decimal, got float")
        return value

    def check_numbers(self, tree: Any, native: tuple[type, ...] = ()) -> None:
        """Refuse a tree with a Decimal, which is text there, where the type has a float."""
        # `tree_of` takes one for the other, as msgspec does.
        self._converted(tree, native, got="Decimal")

    def _converted(self, tree: Any, native: tuple[type, ...], got: str = "") -> Any:
        try:
            return msgspec.convert(tree, self.kind, builtin_types=native, str_keys=self.other_keys)
        except msgspec.ValidationError as error:
            fault = fault_of(error, self.root)
            raise PayloadError(fault.replace("got str", f"got {got}") if got else fault) from None
        except RecursionError:
            raise PayloadError("$: is nested too deeply") from None
        except Exception as error:  # noqa: BLE001  # of a class of the program
            raise PayloadError(f"$: cannot be made: {type(error).__name__}") from None

    def _check_class(self, value: Any) -> None:
        # By its fields alone it could pass for another class, whose fields all have defaults.
        if self.any_class or isinstance(value, self.classes):
            return
        kind = type(value)
        if dataclasses.is_dataclass(kind) or isinstance(value, msgspec.Struct):
            expected = self.root if self.classes else name_of(self.kind)
            raise PayloadError(f"$: expected {expected}, got {kind.__name__}")


# By signal, for all nodes of the process.
_declared: dict[str, _Form] = {}


def _is_constant(value: Any) -> bool:
    """Whether no program can change a value, so that several charts may have the same one."""
    kind = type(value)
    return kind in _CONSTANTS or (kind is tuple and all(map(_is_constant, value)))


def _classes_of(info: inspect.Type) -> Iterator[type]:
    if isinstance(info, inspect.Metadata):
        yield from _classes_of(info.type)
    elif isinstance(info, inspect.UnionType):
        for each in info.types:
            yield from _classes_of(each)
    elif isinstance(info, _OF_FIELDS):
        # `Page[int]` is no class, and its values are of the class `Page`.
        yield get_origin(info.cls) or info.cls


def _culprit(value: Any, path: str = "$", *, keys: bool) -> str:
    """Say where in a value stands what has no form on the wire; called only when there is such."""
    for step, part in _children(value):
        try:
            msgspec.to_builtins(part, builtin_types=_OBJECTS, str_keys=keys)
        except Exception:  # noqa: BLE001  # as in `tree_of`
            return _culprit(part, path + step, keys=keys)
    if isinstance(value, dict):
        return f"{path}: has a key that cannot be written as text"
    return f"{path}: is of type {type(value).__name__}, which has no form on the wire"


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from (("[...]", part) for part in value.values())
    elif isinstance(value, (list, tuple)):
        yield from ((step_of(index), part) for index, part in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield from (("[...]", part) for part in value)
    else:
        for name in _fields_of(value):
            if hasattr(value, name):
                yield step_of(name), getattr(value, name)


def _fields_of(value: Any) -> tuple[str, ...]:
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if dataclasses.is_dataclass(value):
        return tuple(each.name for each in dataclasses.fields(value))
    return ()


def _float_for_text(tree: Any, back: Any, path: str = "$") -> str | None:
    """Find where a tree has a float and what was made of it is written as text."""
    if isinstance(tree, float):
        return path if isinstance(back, str) else None
    pairs: Iterator[tuple[str, Any, Any]] = iter(())
    if isinstance(tree, dict) and isinstance(back, dict):
        pairs = ((step_of(key), tree[key], back[key]) for key in back if key in tree)
    elif isinstance(tree, (list, tuple)) and isinstance(back, (list, tuple)):
        both = zip(tree, back, strict=False)
        pairs = ((step_of(at), one, other) for at, (one, other) in enumerate(both))
    found = (_float_for_text(one, other, path + step) for step, one, other in pairs)
    return next(filter(None, found), None)
