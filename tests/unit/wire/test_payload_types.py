"""Classes that payloads may hold, and values of classes that a node does not know."""

from __future__ import annotations

import copy
import enum
import pickle
from collections import namedtuple
from dataclasses import FrozenInstanceError, InitVar, dataclass, field
from typing import Any, NamedTuple

import pytest

from miros_mesh.wire.payload_types import UnknownValue, field_names, type_problem


class Typed(NamedTuple):
    x: int
    y: int = 0


Untyped = namedtuple("Untyped", "x y")  # noqa: PYI024
Renamed = namedtuple("Renamed", "x x", rename=True)  # noqa: PYI024


class WithMethods(Typed):
    def norm(self) -> int:
        return self.x + self.y


@dataclass
class Data:
    x: int
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeywordOnly:
    x: int
    y: int = 0


@dataclass
class Child(Data):
    z: int = 0


@dataclass
class Nothing:
    pass


@dataclass
class OneIsComputed:
    x: int
    double: int = field(init=False)


@dataclass
class OneIsNotKept:
    x: int
    y: InitVar[int]


@dataclass(init=False)
class OwnConstructor:
    x: int

    def __init__(self, text: str) -> None:
        self.x = int(text)


class OtherFields(Typed):
    def __new__(cls, text: str) -> OtherFields:  # noqa: PYI034
        return super().__new__(cls, *map(int, text.split()))


@dataclass
class DictAsWell(dict[str, int]):
    x: int


class Choice(Data, enum.Enum):
    ONE = 1, 2


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Typed, ("x", "y")),
        (Untyped, ("x", "y")),
        (Renamed, ("x", "_1")),
        (WithMethods, ("x", "y")),
        (Data, ("x", "y")),
        (KeywordOnly, ("x", "y")),
        (Child, ("x", "y", "z")),
        (Nothing, ()),
    ],
)
def test_a_class_that_is_made_of_its_fields_can_be_a_payload_type(
    kind: type, fields: tuple[str, ...]
) -> None:
    assert field_names(kind) == fields
    assert type_problem(kind) is None


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (int, "is neither a class of named tuples nor a dataclass"),
        (tuple, "is neither a class of named tuples nor a dataclass"),
        (object, "is neither a class of named tuples nor a dataclass"),
        (OneIsComputed, "must be made of its fields by keyword, x, double, and no others"),
        (OneIsNotKept, "must be made of its fields by keyword, x, and no others"),
        (OwnConstructor, "must be made of its fields by keyword, x, and no others"),
        (OtherFields, "must be made of its fields by keyword, x, y, and no others"),
        (Choice, "must be made of its fields by keyword, x, y, and no others"),
        (DictAsWell, "is a dict as well, and what it holds as such would be lost"),
    ],
)
def test_any_other_class_has_a_problem(kind: type, problem: str) -> None:
    assert type_problem(kind) == problem


def test_an_unknown_value_cannot_be_changed() -> None:
    given: dict[str, Any] = {"x": 1}
    unknown = UnknownValue("Point", given)
    given["x"] = 2

    assert unknown.fields == {"x": 1}
    with pytest.raises(FrozenInstanceError):
        unknown.type_name = "Other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        unknown.fields["x"] = 3  # type: ignore[index]


def test_an_unknown_value_is_compared_and_hashed_by_its_name_and_fields() -> None:
    first, second = UnknownValue("P", {"x": 1, "y": 2}), UnknownValue("P", {"y": 2, "x": 1})

    assert first == second
    assert len({first, second}) == 1
    assert first != UnknownValue("Q", {"x": 1, "y": 2})
    assert first != UnknownValue("P", {"x": 1, "y": 3})
    with pytest.raises(TypeError, match="unhashable"):
        hash(UnknownValue("P", {"x": []}))


def test_an_unknown_value_shows_what_it_holds() -> None:
    assert repr(UnknownValue("Point", {"x": 1})) == "UnknownValue('Point', {'x': 1})"


def _pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, _pickled])
def test_an_unknown_value_can_be_copied(again: Any) -> None:
    unknown = UnknownValue("Point", {"x": [1]})

    assert again(unknown) == unknown
