"""Changes to a value inside an input, which leave it readable: changed bytes seldom are."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgspec

# What is at a limit of a reader, or of another type than what stands in its place.
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 0.5, -0.0, 1e308, 253_370_764_800.0, "", "a", b"", b"\xc0"),
    *(2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), [], {}, [[]], {"a": []}, "\0", "\u202e"),
    *("x" * 255, "x" * 256, "x" * 1001, "1" * 5000, "again-1", "0/c/1", "//1", "/c/", "trace"),
    *("vouch", "ours", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999-23:59", "10.0.0.1"),
)
# Of items in a list: more are not made more, since large inputs cost time and show little.
_FEW: Final = 5


def changed(kind: str, data: bytes, random: Random) -> bytes | None:
    """Return an input with one value changed; None for one that holds none."""
    try:
        return CHANGES[kind](data, random)
    except (ValueError, TypeError, RecursionError, OverflowError):
        return None


def _msgpack(data: bytes, random: Random) -> bytes:
    return msgspec.msgpack.encode(_other(msgspec.msgpack.decode(data), random))


def _behind_two(data: bytes, random: Random) -> bytes:
    # The network and the form stay, or the content would be of another one.
    return data[:2] + _msgpack(data[2:], random)


def _json(data: bytes, random: Random) -> bytes:
    return json.dumps(_other(json.loads(data), random), default=str).encode()


def _json_lines(data: bytes, random: Random) -> bytes:
    lines = data.split(b"\n")
    place = random.randrange(len(lines))
    lines[place : place + 1] = [lines[place], _json(lines[place], random)][random.randrange(2) :]
    return b"\n".join(lines)


def _other(value: Any, random: Random) -> Any:
    """Return a value with one change somewhere inside it."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    # Deeper, where there is something deeper, in most cases.
    if not items or random.random() < 0.15:
        return _replaced(value, items, random)
    place = random.randrange(len(items))
    key, item = items[place]
    items[place] = key, _other(item, random)
    return dict(items) if isinstance(value, dict) else [each for _, each in items]


def _replaced(value: Any, items: list[tuple[Any, Any]], random: Random) -> Any:
    what = random.randrange(4)
    if items and what == 0:
        items.pop(random.randrange(len(items)))
    elif items and what == 1:
        items.append((random.choice(("a", "", "x" * 300)), random.choice(_VALUES)))
    elif items and what == 2 and len(items) < _FEW:
        items *= random.choice((2, 20))
    else:
        return random.choice(_VALUES)
    return dict(items) if isinstance(value, dict) else [each for _, each in items]


CHANGES: Final[dict[str, Callable[[bytes, Random], bytes]]] = {
    "contents": _behind_two,
    "payloads": _msgpack,
    "hosts": _json,
    "cache": _json,
    "trace": _json_lines,
    "history": _json_lines,
}
