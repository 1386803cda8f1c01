"""The built-in payload serializer: msgpack of what it knows by its exact type, and nothing else.

It takes JSON types, bytes, datetimes, tuples, sets, and values of the classes that a program names.
What it accepts comes back equal, which is why it refuses what msgpack would quietly turn into
something else: a naive datetime, an enum. One exception is stated: a datetime comes back in UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final, NamedTuple, NoReturn, Protocol, runtime_checkable
from uuid import UUID

import msgspec
from msgspec.msgpack import Ext

from miros_mesh.errors import PayloadError
from miros_mesh.wire.payload_faults import shown, step_of
from miros_mesh.wire.payload_types import UnknownValue, field_names

# Well below the depth at which msgspec and Python give up, and more than people nest by hand.
MAX_DEPTH = 64
# A bound for what a handler may get, whatever a frame of `max_event_bytes` could expand to.
MAX_VALUES = 2**20
# Elements of one hash are compared one by one, and who sends them may choose those of numbers and
# of tuples: (-1, -2), (-2, -1) and so on all have the same.
MAX_SAME_HASH = 100
# What msgpack has: signed and unsigned 64 bits.
INT_RANGE = range(-(2**63), 2**64)
LONGEST_TYPE_NAME = 255

# The extension types of msgpack for what it has no type of its own for.
_TUPLE: Final = 1
_SET: Final = 2
_FROZENSET: Final = 3
_NAMED: Final = 4

# What a tree has as text.
_TEXTS = frozenset({Decimal, UUID, date, time, timedelta})

# Accepted as they are. Exact types, here and below: a subclass would come back as its base.
_PLAIN = frozenset({type(None), bool, float, bytes})
_VOWELS = tuple("aeioAEIO")
_HINTS = {
    bytearray: "send bytes(...)",
    memoryview: "send bytes(...)",
    complex: "send its two parts",
}


@runtime_checkable
class PayloadSerializer(Protocol):
    """Turns an event's payload into bytes and back. Hashable, and safe to call from any thread."""

    @property
    def name(self) -> str:
        """Which serializer this is; all nodes of a mesh need the same one."""

    def dumps(self, payload: Any) -> bytes:
        """Encode a payload, or raise an error for one that cannot travel."""

    def loads(self, data: bytes) -> Any:
        """Decode what `dumps` made; never execute what is read, for it may come from a stranger."""


class MsgpackSerializer:
    """Payloads to msgpack and back, refusing all that would not come back equal.

    `types` are the named tuples and dataclasses that are made again of their fields; those of other
    classes arrive as an `UnknownValue`.
    """

    name = "msgpack"

    def __init__(self, types: Iterable[type] = ()) -> None:
        # What `MeshConfig.payload_types` takes has fields.
        fields = {kind: field_names(kind) or () for kind in types}
        self._known = _Known(fields, {kind.__name__: kind for kind in fields})

    def dumps(self, payload: Any) -> bytes:
        """Encode `payload`; `PayloadError` names the path to what cannot travel."""
        return _encode(_Writing(self._known).of(payload))

    def loads(self, data: bytes) -> Any:
        """Decode bytes that `dumps` made; raises `PayloadError` for any others.

        Of the classes it knows it calls the constructors, and in a set their hash and comparison.
        """
        # A sender with our key may still send what our `dumps` would refuse.
        return _Reading(self._known).of(_decoded(data))

    def loads_again(self, data: bytes) -> tuple[Any, Callable[[], Any] | None]:
        """Return what `loads` does, and what decodes the same bytes again for less; None for some.

        Where msgpack says all of a payload, what was checked once is checked.
        """
        tree = _decoded(data)
        value = _Reading(self._known).of(tree)
        return value, partial(_decode, data) if value is tree else None


class Trees:
    """The trees of built-in types that payloads of declared types are written as, and back.

    On the wire they are arrays, maps, numbers, text, bytes and times of msgpack and nothing else.
    A tuple, a set or a named value that comes from a sender without the type is read as a list, or
    as its fields.
    """

    def dumps(self, tree: Any) -> tuple[bytes, bool]:
        """Encode a tree, and say whether it has a Decimal; `PayloadError` names the path."""
        walk = _TreeWriting(_NO_CLASSES)
        return _encode(walk.of(tree)), walk.has_decimals

    def loads(self, data: bytes) -> Any:
        """Decode bytes that either serializer made; raises `PayloadError` for any others."""
        return _TreeReading(_NO_CLASSES).of(_decoded(data))


class _Tagged(NamedTuple):
    """An extension type as it came. Its bytes are a view, not a copy for each level of nesting."""

    code: int
    data: memoryview


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ext_hook=_Tagged).decode
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError)


class _RefusedError(Exception):
    """Carries the reason up; each level on its way adds its step of the path."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str | int | None] = []
        """Keys and indices, from the inside; None is an element of a set."""


class _Known(NamedTuple):
    """The classes of a program that a payload may hold."""

    fields: Mapping[type, tuple[str, ...]]
    types: Mapping[str, type]
    """By name."""


_NO_CLASSES: Final = _Known({}, {})


class _Walk:
    """One walk over one payload, the same at both ends, so that neither is a way around the limits.

    What msgpack has is checked and stays. All else is a matter for `_other`, which says what stands
    in its place.
    """

    # One budget for the whole walk, since the parts of a payload add up.
    _values_left = MAX_VALUES

    def __init__(self, known: _Known) -> None:
        self._known = known

    def of(self, payload: Any) -> Any:
        """Return the payload, a copy where something in it is replaced; raise `PayloadError`."""
        try:
            # Recursive, and bounded by the depth, so that a payload that contains itself ends, too.
            return self._value(payload, MAX_DEPTH)
        except _RefusedError as refused:
            raise PayloadError(self._told(refused.steps[::-1], refused.reason)) from None

    def _told(self, steps: Sequence[str | int | None], reason: str) -> str:
        return f"payload{''.join(map(_step, steps))} {reason}"

    def _other(self, value: Any, depth: int) -> Any:
        raise NotImplementedError

    def _value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        # Here and not in calls, since nearly all values of nearly all payloads are these.
        if kind in _PLAIN:
            return value
        if kind is str:
            if not value.isascii():
                _check_text(value, "is text with")
        elif kind is int:
            if value not in INT_RANGE:
                raise _RefusedError("is an int beyond 64 bits; send it as a str")
        elif kind is dict:
            return self._dict(value, depth)
        elif kind is list:
            return self._list(value, depth)
        else:
            return self._rare(value, depth)
        return value

    def _rare(self, value: Any, depth: int) -> Any:
        if type(value) is datetime:
            _check_datetime(value)
            return value
        return self._other(value, depth)

    def _dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        self._enter(len(value), depth)
        replaced = None
        for key, item in value.items():
            if type(key) is not str:
                raise _RefusedError(f"has a key of type {type(key).__name__}; a key must be a str")
            if not key.isascii():
                _check_text(key, "has a key with")
            try:
                new = self._value(item, depth - 1)
            except _RefusedError as refused:
                refused.steps.append(key)
                raise
            if new is not item:
                # The program's own stays as it is.
                replaced = replaced or dict(value)
                replaced[key] = new
        return replaced or value

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any] | tuple[Any, ...]:
        self._enter(len(value), depth)
        replaced = None
        for index, item in enumerate(value):
            try:
                new = self._value(item, depth - 1)
            except _RefusedError as refused:
                refused.steps.append(index)
                raise
            if new is not item:
                replaced = replaced or list(value)
                replaced[index] = new
        return replaced or value

    def _elements(self, value: Collection[Any], depth: int) -> list[Any]:
        self._enter(len(value), depth)
        try:
            return [self._value(item, depth - 1) for item in value]
        except _RefusedError as refused:
            refused.steps.append(None)
            raise

    def _enter(self, size: int, depth: int) -> None:
        if depth == 0:
            raise _RefusedError(f"is nested deeper than {MAX_DEPTH} levels, or contains itself")
        # The same list can hang in a payload many times: small in memory, endless on the wire.
        self._values_left -= size
        if self._values_left < 0:
            raise _RefusedError(f"brings the payload to more than {MAX_VALUES:,} values")


class _Writing(_Walk):
    """Replaces what msgpack has no type for by extension types."""

    def _other(self, value: Any, depth: int) -> Ext:
        kind = type(value)
        if kind is tuple:
            return Ext(_TUPLE, _encode(self._list(value, depth)))
        if kind is set:
            return self._set(_SET, value, depth)
        if kind is frozenset:
            return self._set(_FROZENSET, value, depth)
        if kind is UnknownValue:
            return self._named(value.type_name, dict(value.fields), depth)
        if kind not in self._known.fields:
            raise _RefusedError(_foreign(kind))
        fields = {name: _field(value, name) for name in self._known.fields[kind]}
        return self._named(kind.__name__, fields, depth)

    def _set(self, code: int, value: Collection[Any], depth: int) -> Ext:
        _check_hashes(value)
        # Sorted, so that equal sets are equal bytes: Python's own order differs between processes.
        encoded = sorted(map(_encode, self._elements(value, depth)))
        return Ext(code, _encode([msgspec.Raw(each) for each in encoded]))

    def _named(self, name: str, fields: dict[str, Any], depth: int) -> Ext:
        _check_type_name(name)
        return Ext(_NAMED, _encode([name, self._dict(fields, depth)]))


class _Reading(_Walk):
    """Replaces extension types by what they stand for."""

    def _other(self, value: _Tagged, depth: int) -> Any:
        # Before anything is decoded, since each level decodes what is in it.
        self._enter(0, depth)
        content = _content(value)
        if value.code == _TUPLE:
            return tuple(self._list(content, depth))
        if value.code == _SET:
            return self._set(content, depth)
        if value.code == _FROZENSET:
            return self._frozen(content, depth)
        return self._named(content, depth)

    def _frozen(self, content: list[Any], depth: int) -> Any:
        return frozenset(self._set(content, depth))

    def _set(self, content: list[Any], depth: int) -> Any:
        elements = self._elements(content, depth)
        try:
            # Each is hashed on its own first: to put them into a set compares them.
            _check_hashes(elements)
            value = set(elements)
        except _RefusedError:
            raise
        except Exception as error:  # noqa: BLE001  # what a program's hash raises
            raise _RefusedError(
                f"is a set of what cannot be in one: {type(error).__name__}"
            ) from None
        if len(value) < len(elements):
            raise _RefusedError("is a set with an element twice")
        return value

    def _named(self, content: list[Any], depth: int) -> Any:
        if [type(part) for part in content] != [str, dict]:
            _refuse_bytes()
        name, fields = content
        _check_type_name(name)
        return self._of_class(name, self._dict(fields, depth))

    def _of_class(self, name: str, fields: dict[str, Any]) -> Any:
        kind = self._known.types.get(name)
        return UnknownValue(name, fields) if kind is None else self._made(kind, fields)

    def _made(self, kind: type, fields: dict[str, Any]) -> Any:
        known = self._known.fields[kind]
        for name in known:
            if name not in fields:
                raise _RefusedError(f"is a {kind.__name__} without the field {name}")
        for name in fields:
            if name not in known:
                raise _RefusedError(
                    f"is a {kind.__name__} with a field {shown(name)}, which it has not here"
                )
        try:
            return kind(**fields)
        except Exception as error:  # noqa: BLE001  # only its type: its text may quote the payload
            raise _RefusedError(
                f"is a {kind.__name__} that its constructor refuses: {type(error).__name__}"
            ) from None


class _TreeWriting(_Writing):
    """Writes a tree, in which nothing needs an extension type."""

    has_decimals = False

    def _told(self, steps: Sequence[str | int | None], reason: str) -> str:
        return _tree_told(steps, reason)

    def _other(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is tuple:
            return self._list(value, depth)
        if kind is bytearray:
            return bytes(value)
        if kind not in _TEXTS:
            raise _RefusedError(_no_form(kind))
        self.has_decimals = self.has_decimals or kind is Decimal
        return msgspec.to_builtins(value)


class _TreeReading(_Reading):
    """Reads a tree: what it is to be is decided by the type that the program has declared."""

    def _told(self, steps: Sequence[str | int | None], reason: str) -> str:
        return _tree_told(steps, reason)

    def _set(self, content: list[Any], depth: int) -> Any:
        return self._list(content, depth)

    def _frozen(self, content: list[Any], depth: int) -> Any:
        return self._list(content, depth)

    def _of_class(self, name: str, fields: dict[str, Any]) -> Any:
        return fields


def _decoded(data: bytes) -> Any:
    try:
        return _decode(data)
    except _UNREADABLE as error:
        raise PayloadError(f"these bytes are no payload: {error}") from None


def _step(step: str | int | None) -> str:
    if step is None:
        return "[an element]"
    return f"[{step}]" if isinstance(step, int) else f"[{shown(step)}]"


def _tree_told(steps: Sequence[str | int | None], reason: str) -> str:
    return f"${''.join(map(step_of, steps))}: {reason}"


def _no_form(kind: type) -> str:
    return f"is of type {kind.__name__}, which has no form on the wire"


def _field(value: Any, name: str) -> Any:
    try:
        return getattr(value, name)
    except Exception as error:  # noqa: BLE001  # as above
        raise _RefusedError(
            f"is a {type(value).__name__} whose field {name} cannot be read: {type(error).__name__}"
        ) from None


def _content(value: _Tagged) -> list[Any]:
    if value.code not in (_TUPLE, _SET, _FROZENSET, _NAMED):
        raise _RefusedError("is of an extension type that this version does not know")
    try:
        content = _decode(value.data)
    except _UNREADABLE:
        _refuse_bytes()
    if type(content) is not list:
        _refuse_bytes()
    return content


def _refuse_bytes() -> NoReturn:
    raise _RefusedError("is of an extension type, and its bytes are not what belongs there")


def _check_hashes(elements: Collection[Any]) -> None:
    if len(elements) > MAX_SAME_HASH:
        [(_, most)] = Counter(map(hash, elements)).most_common(1)
        if most > MAX_SAME_HASH:
            raise _RefusedError(
                f"is a set with more than {MAX_SAME_HASH} elements of one hash; send a list"
            )


def _check_type_name(name: Any) -> None:
    if type(name) is not str or not 0 < len(name) <= LONGEST_TYPE_NAME:
        raise _RefusedError(
            f"is of a type whose name is no text of 1 to {LONGEST_TYPE_NAME} characters"
        )
    _check_text(name, "is of a type whose name has")


def _check_text(text: str, said: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _RefusedError(f"{said} a lone surrogate, which has no UTF-8 form") from None


def _check_datetime(value: datetime) -> None:
    if value.utcoffset() is None:
        raise _RefusedError(
            "is a datetime without a time zone; give it one, for instance datetime.UTC"
        )
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise _RefusedError("is a datetime that lies outside the years 1 to 9999 in UTC") from None


def _foreign(kind: type) -> str:
    hint = _HINTS.get(kind) or _class_hint(kind)
    hint = hint or "send JSON types, bytes, aware datetimes, tuples or sets"
    article = "an" if kind.__name__.startswith(_VOWELS) else "a"
    return f"is {article} {kind.__name__}; {hint}"


def _class_hint(kind: type) -> str | None:
    if field_names(kind) is not None:
        return "add its class to payload_types of MeshConfig, here and where it is received"
    for base in (bool, int, float, str, bytes, dict, list, tuple, set, frozenset, datetime):
        if issubclass(kind, base):
            return f"send a plain {base.__name__}, since its own type would be lost"
    return None
