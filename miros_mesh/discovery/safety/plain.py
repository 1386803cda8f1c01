"""Plain copies of what a program published: what a chart reads then cannot raise or change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

Reader: TypeAlias = Callable[[object], object]
"""Returns what is to be relied on of a payload, or raises `PayloadProblemError`."""

# What a JSON file may hold, in characters and values together.
MOST_PLAIN: Final = 4 * 1024 * 1024
# Of lists and dictionaries inside each other; a file of this library has four.
DEEPEST: Final = 50
# A path, or a host: nothing else is a text of its own here.
LONGEST_TEXT: Final = 4096
MOST_TEXTS: Final = 4096


class PayloadProblemError(Exception):
    """What is wrong with a payload, without quoting it."""


def kind_of(value: object) -> str:
    """Return the name of a value's type, as a log line shows it."""
    return type(value).__name__[:100]


# By `type` and not by `isinstance`, which asks the value itself.
def is_text(value: object) -> bool:
    """Return whether a value is a text."""
    return issubclass(type(value), str)


def text(value: Any) -> str:
    """Return a text without what a class of the program may have added to it."""
    if not is_text(value):
        raise PayloadProblemError("a text")
    if len(copy := str.__str__(value)) > LONGEST_TEXT:
        raise PayloadProblemError(f"a text of {LONGEST_TEXT} characters at most")
    return copy


def flag(value: Any) -> bool:
    """Return True or False, and nothing else that is like it."""
    if type(value) is not bool:
        raise PayloadProblemError("True or False")
    return value


def number(value: Any) -> float:
    """Return a number as a float of Python's own."""
    if not issubclass(type(value), int | float):
        raise PayloadProblemError("a number")
    return float(value)


def texts(value: Any) -> tuple[Any, ...]:
    """Return a tuple of texts; an entry that is none is None, to be said with its place."""
    if not issubclass(type(value), tuple | list):
        raise PayloadProblemError("a tuple of texts")
    if len(value) > MOST_TEXTS:
        raise PayloadProblemError(f"a tuple of {MOST_TEXTS} texts at most")
    return tuple(text(each) if is_text(each) else None for each in value)


def content(value: Any) -> dict[str, Any]:
    """Return a copy of a dictionary of JSON types, of `MOST_PLAIN` characters and values."""
    if not issubclass(type(value), Mapping):
        raise PayloadProblemError("a dictionary of JSON types")
    left = [MOST_PLAIN]
    return dict(_items(value, left, DEEPEST))


def _items(value: Mapping[Any, Any], left: list[int], depth: int) -> Any:
    for key, each in value.items():
        if not is_text(key):
            raise PayloadProblemError("a dictionary of JSON types, with texts as keys")
        yield _plain(key, left, depth), _plain(each, left, depth)


def _plain(value: Any, left: list[int], depth: int) -> Any:
    kind = type(value)
    left[0] -= 1 + (len(value) if issubclass(kind, str) else 0)
    if left[0] < 0 or depth == 0:
        raise PayloadProblemError("a dictionary that is smaller, and nests less deep")
    if value is None or kind is bool:
        return value
    for base, copy in _COPIES.items():
        if issubclass(kind, base):
            return copy(value)
    if issubclass(kind, Mapping):
        return dict(_items(value, left, depth - 1))
    if issubclass(kind, list | tuple):
        return [_plain(each, left, depth - 1) for each in value]
    raise PayloadProblemError("a dictionary of JSON types")


# Methods of the types themselves: one that the program's class has in their place may raise.
_COPIES: Final[Mapping[type, Callable[[Any], Any]]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
}
