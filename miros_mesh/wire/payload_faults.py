"""What is wrong with a payload, in words that name places and types, and never a value of it.

Errors of msgspec and of a program's serializer may quote what they refuse, which belongs in no log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec

from miros_mesh.text import encodable, printable

_PLACE: Final = re.compile(r" - at (`key` in )?`(\$[^`]*)`\Z")
_WORD: Final = re.compile(r"`([^`]*)`")
# What msgspec calls the types that have other names in Python.
_NAMES: Final = {
    "array": "list",
    "decimal": "Decimal",
    "duration": "timedelta",
    "null": "None",
    "uuid": "UUID",
}
# All that it says of texts and numbers that it cannot read, without what they were.
_KNOWN: Final = {
    "Invalid decimal string": "expected Decimal, got a str that is none",
    "Invalid UUID": "expected UUID, got a str that is none",
    "Invalid RFC3339 encoded date": "expected date, got a str that is none",
    "Invalid RFC3339 encoded time": "expected time, got a str that is none",
    "Invalid RFC3339 encoded datetime": "expected datetime, got a str that is none",
    "Invalid ISO8601 duration": "expected timedelta, got a str that is none",
    "Invalid base64 encoded string": "expected bytes, got a str that is no base64",
    "Duration is out of range": "is out of the range of timedelta",
    "Integer value out of range": "is out of range",
    "Number out of range": "is out of range",
    "Timestamp is out of range": "is out of the range of datetime",
}
# All that it says with the value that it refuses.
_QUOTING: Final = {
    "Invalid enum value": "is no value of its enum",
    "Invalid value": "has a tag that none of its classes has",
}
_MISSING: Final = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_SHOWN_CHARACTERS: Final = 40
_LONGEST_PLACE: Final = 200
_MOST_CAUSES: Final = 3


def fault_of(error: msgspec.ValidationError, root: str = "object") -> str:
    """Say where a value does not fit and why: `$.items[3].price: expected Decimal, got float`.

    `root` is what is expected of the whole, where that is an object.
    """
    text = str(error)
    cause = error.__cause__
    if cause is None:
        found = _PLACE.search(text)
        place, said = _place(found), text[: found.start()] if found else text
        return f"{place}: {_reason(said, root if place == '$' else 'object')}"
    # Raised by code of the program's class, whose words may be anything.
    own = str(cause)
    found = _PLACE.fullmatch(text[len(own) :]) if text.startswith(own) else None
    return f"{_place(found)}: is refused by its class: {type(cause).__name__}"


def trouble_of(error: BaseException) -> str:
    """Say which error a serializer of a program raised, where, and what caused it."""
    chain = list(islice(_chain(error), _MOST_CAUSES + 1))
    said = ", caused by ".join(map(_told, chain))
    place = next(filter(None, map(_own_place, chain)), None)
    return f"{said}, at {place}" if place else said


def step_of(key: object) -> str:
    """Write one step of a path: the name of a field, or the number of an element."""
    if isinstance(key, int):
        return f"[{key}]"
    # Only what could be the name of a field: the keys of a dictionary are a part of what was sent.
    return f".{key}" if isinstance(key, str) and _is_name(key) else "[...]"


def shown(key: str) -> str:
    """Quote a name of unknown origin, shortened."""
    return repr(key if len(key) <= _SHOWN_CHARACTERS else key[:_SHOWN_CHARACTERS] + "...")


def _is_name(key: str) -> bool:
    return key.isidentifier() and len(key) <= _SHOWN_CHARACTERS


def _place(found: re.Match[str] | None) -> str:
    if found is None:
        return "$"
    key, path = found.groups()
    path = _fit(path)
    return f"{path}: a key" if key else path


def _reason(said: str, expected: str) -> str:
    quoting = next((reason for begin, reason in _QUOTING.items() if said.startswith(begin)), "")
    if known := _KNOWN.get(said.strip()) or quoting:
        return known
    if missing := _MISSING.fullmatch(said):
        return f"has no field {missing[1]}, and there is no default"
    if unknown := _UNKNOWN.fullmatch(said):
        named = unknown[1] if _is_name(unknown[1]) else "of another name"
        return f"has a field {named}, and its class forbids fields that it does not know"
    if said.startswith("Expected "):
        # Made of types and of their constraints alone.
        names = _NAMES | {"object": expected}
        return "e" + _WORD.sub(lambda word: _python(word[1], names), said[1:])
    return "does not fit"


def _python(words: str, names: Mapping[str, str]) -> str:
    return " | ".join(names.get(word, word) for word in words.split(" | "))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _told(error: BaseException) -> str:
    name = type(error).__name__
    return f"{name} ({fault_of(error)})" if isinstance(error, msgspec.ValidationError) else name


def _own_place(error: BaseException) -> str | None:
    """The attribute `path` of an error: a text that begins with `$`, or a sequence of steps."""
    path = getattr(error, "path", None)
    if isinstance(path, str):
        return _fit(path) if path.startswith("$") else None
    if isinstance(path, Sequence) and all(isinstance(step, (str, int)) for step in path):
        return _fit("$" + "".join(map(step_of, path)))
    return None


def _fit(path: str) -> str:
    short = path if len(path) <= _LONGEST_PLACE else path[:_LONGEST_PLACE] + "..."
    return printable(encodable(short))
