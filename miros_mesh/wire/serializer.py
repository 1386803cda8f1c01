"""The built-in payload serializer: msgpack of JSON types, bytes and datetimes, and nothing else.

What it accepts comes back equal, which is why it refuses what msgpack would quietly turn into
something else: a set, a naive datetime, an enum, a named tuple. Two exceptions are stated: a tuple
comes back as a list, and a datetime comes back in UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

import msgspec

from miros_mesh.errors import PayloadError

# Well below the depth at which msgspec and Python give up, and more than people nest by hand.
MAX_DEPTH = 64
# A bound for what a handler may get, whatever a frame of `max_event_bytes` could expand to.
MAX_VALUES = 2**20
# What msgpack has: signed and unsigned 64 bits.
INT_RANGE = range(-(2**63), 2**64)
SHOWN_KEY_CHARACTERS = 40

# Accepted as they are. Exact types, here and below: a subclass would come back as its base.
_PLAIN = frozenset({type(None), bool, float, bytes})
_HINTS = {
    set: "send a sorted list",
    frozenset: "send a sorted list",
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
    """Payloads to msgpack and back, refusing all that would not come back equal."""

    name = "msgpack"

    def dumps(self, payload: Any) -> bytes:
        """Encode `payload`; `PayloadError` names the path to what cannot travel."""
        _Inspection().of(payload)
        return _encoder.encode(payload)

    def loads(self, data: bytes) -> Any:
        """Decode bytes that `dumps` made; raises `PayloadError` for any others."""
        try:
            payload = _decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError) as error:
            raise PayloadError(f"these bytes are no payload: {error}") from None
        # A sender with our key may still send what our `dumps` would refuse.
        _Inspection().of(payload)
        return payload


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


class _RefusedError(Exception):
    """Carries the reason up; each level on its way adds its step of the path."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []


class _Inspection:
    """One walk over one payload, at both ends, so that neither is a way around the limits."""

    def __init__(self) -> None:
        # One budget for the whole walk, since the parts of a payload add up.
        self._values_left = MAX_VALUES

    def of(self, payload: Any) -> None:
        try:
            # Recursive, and bounded by the depth, so that a payload that contains itself ends, too.
            self._value(payload, MAX_DEPTH)
        except _RefusedError as refused:
            path = "".join(reversed(refused.steps))
            raise PayloadError(f"payload{path} {refused.reason}") from None

    def _value(self, value: Any, depth: int) -> None:
        kind = type(value)
        if kind in _PLAIN:
            return
        if kind is str:
            _check_text(value, "is text with")
        elif kind is int:
            _check_int(value)
        elif kind is dict:
            self._dict(value, depth)
        elif kind is list or kind is tuple:
            self._list(value, depth)
        elif kind is datetime:
            _check_datetime(value)
        else:
            raise _RefusedError(_foreign(kind))

    def _dict(self, value: dict[Any, Any], depth: int) -> None:
        self._enter(len(value), depth)
        for key, item in value.items():
            if type(key) is not str:
                raise _RefusedError(f"has a key of type {type(key).__name__}; a key must be a str")
            _check_text(key, "has a key with")
            try:
                self._value(item, depth - 1)
            except _RefusedError as refused:
                refused.steps.append(f"[{_shown(key)}]")
                raise

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> None:
        self._enter(len(value), depth)
        for index, item in enumerate(value):
            try:
                self._value(item, depth - 1)
            except _RefusedError as refused:
                refused.steps.append(f"[{index}]")
                raise

    def _enter(self, size: int, depth: int) -> None:
        if depth == 0:
            raise _RefusedError(f"is nested deeper than {MAX_DEPTH} levels, or contains itself")
        # The same list can hang in a payload many times: small in memory, endless on the wire.
        self._values_left -= size
        if self._values_left < 0:
            raise _RefusedError(f"brings the payload to more than {MAX_VALUES:,} values")


def _check_text(text: str, said: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _RefusedError(f"{said} a lone surrogate, which has no UTF-8 form") from None


def _check_int(value: int) -> None:
    if value not in INT_RANGE:
        raise _RefusedError("is an int beyond 64 bits; send it as a str")


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
    hint = _HINTS.get(kind) or _base_hint(kind) or "send JSON types, bytes or aware datetimes"
    article = "an" if kind.__name__[0] in "aeioAEIO" else "a"
    return f"is {article} {kind.__name__}; {hint}"


def _base_hint(kind: type) -> str | None:
    for base in (bool, int, float, str, bytes, dict, list, tuple, datetime):
        if issubclass(kind, base):
            return f"send a plain {base.__name__}, since its own type would be lost"
    return None


def _shown(key: str) -> str:
    short = key if len(key) <= SHOWN_KEY_CHARACTERS else key[:SHOWN_KEY_CHARACTERS] + "..."
    return repr(short)
