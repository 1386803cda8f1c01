"""What types are made of, which cannot travel, and sets whose elements a sender chose."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Annotated, Any, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pytest
from msgspec import inspect

from miros_mesh.errors import PayloadError
from miros_mesh.wire.payload_forms import HashGuard, PayloadTypes, parts_of, problems_of
from miros_mesh.wire.serializer import MAX_SAME_HASH
from support.declared_types import SECRET, Dog, Item, Strict

SAME = 2**61 - 1
NUMBERS = [str(number * SAME) for number in range(MAX_SAME_HASH + 1)]
UUIDS = [str(UUID(int=number * SAME)) for number in range(MAX_SAME_HASH + 1)]
PAIRS = [list(each) for each in product((-1, -2), repeat=7)]
KEYS: dict[Any, Any] = dict.fromkeys(NUMBERS, 1)


@dataclass(frozen=True)
class Pair:
    a: int
    b: int


class Two(NamedTuple):
    first: int
    second: set[Decimal]


class Named(TypedDict):
    inner: set[UUID]


class Row(msgspec.Struct, array_like=True, tag="row"):
    first: int
    inner: set[Decimal]


class Other(msgspec.Struct, array_like=True, tag="other"):
    first: int
    inner: list[str]


class Left(msgspec.Struct, tag="left"):
    inner: Left | Right | None = None
    numbers: set[Decimal] = msgspec.field(default_factory=set, name="all")


class Right(msgspec.Struct, tag="right"):
    inner: Left | Right | None = None


@dataclass
class Tree:
    numbers: set[Decimal]
    children: list[Tree]


PLACES = ["numbers", "numbers[...]", "children"]


def guard(kind: Any) -> HashGuard:
    return HashGuard(inspect.type_info(kind), MAX_SAME_HASH)


@pytest.mark.parametrize(
    ("kind", "tree", "path"),
    [
        (set[Decimal], NUMBERS, "$"),
        (frozenset[UUID], UUIDS, "$"),
        (set[tuple[int, ...]], PAIRS, "$"),
        (set[Pair], [{"a": a, "b": b} for a, b in product((-1, -2), repeat=2)] * 51, "$"),
        (set[Any], NUMBERS, "$"),
        (dict[int, int], KEYS, "$"),
        (dict[Decimal, int], KEYS, "$"),
        (dict[str, set[Decimal]], {"a": NUMBERS}, "$[...]"),
        (list[set[Decimal]], [[], NUMBERS], "$[1]"),
        (tuple[int, set[Decimal]], [1, NUMBERS], "$[1]"),
        (Two, [1, NUMBERS], "$[1]"),
        (Named, {"inner": UUIDS}, "$.inner"),
        (Row, ["row", 1, NUMBERS], "$[2]"),
        (set[Decimal] | None, NUMBERS, "$"),
        (Annotated[set[Decimal], "x"], NUMBERS, "$"),
        (Row | Other, ["row", 1, NUMBERS], "$[2]"),
        (Left | Right, {"type": "left", "all": NUMBERS}, "$.all"),
        (Tree, {"numbers": [], "children": [{"numbers": NUMBERS}]}, "$.children[0].numbers"),
    ],
)
def test_a_set_of_one_hash_is_refused(kind: Any, tree: Any, path: str) -> None:
    with pytest.raises(PayloadError) as raised:
        guard(kind).check(tree)

    assert str(raised.value).startswith(f"{path}: has more than 100 elements of one hash")


@pytest.mark.parametrize(
    ("kind", "tree"),
    [
        (list[Decimal], NUMBERS),
        (set[str], NUMBERS),
        (dict[str, Any], KEYS),
        (set[Decimal], NUMBERS[1:]),
        (set[Decimal], [str(number) for number in range(10_000)]),
        (set[Decimal], ["sNaN", "no number", *NUMBERS[2:]]),
        (set[Decimal], {"no": "list"}),
        (set[Decimal], 5),
        (Row, ["row"]),
        (Row | Other, []),
        (Row | Other, ["other", 1, NUMBERS]),
        (Row | Other, 5),
        (Left | Right, {"type": "right", "all": NUMBERS}),
    ],
)
def test_what_is_not_hashed_or_differs_passes(kind: Any, tree: Any) -> None:
    guard(kind).check(tree)


def test_a_class_that_holds_itself_in_several_ways_takes_no_longer() -> None:
    tree: dict[str, Any] = {"type": "left"}
    for turn in range(60):
        tree = {"type": ("left", "right")[turn % 2], "inner": tree}

    guard(Left | Right).check(tree)


def test_the_parts_of_a_type_have_paths() -> None:
    paths = [path for path, _ in parts_of(inspect.type_info(dict[str, Tree | None]))]

    assert set(paths) == {"$", "$[...]", *(f"$[...].{name}" for name in PLACES)}
    assert len(paths) == 8


class Holds:
    pass


@dataclass
class HoldsOne:
    inner: list[Holds]


@dataclass
class Unresolved:
    it: Nowhere  # type: ignore[name-defined]  # noqa: F821


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (complex, "it: complex holds at $ a complex, which cannot travel"),
        (object, "it: object holds at $ a object"),
        (HoldsOne, "it: HoldsOne holds at $.inner[...] a Holds, which cannot travel"),
        (dict[str, tuple[int, Holds]], "at $[...][...] a Holds"),
        (msgspec.Raw, "it: Raw holds at $ a raw"),
        (memoryview, "a memoryview, which cannot travel"),
        (dict[tuple[int, int], int], "at $ a dict whose keys cannot be written as text"),
        (dict[int | str, int], "at $ a dict whose keys cannot be written as text"),
        (dict[bool, int], "at $ a dict whose keys cannot be written as text"),
        (Item | Tree, "may not contain more than one"),
        (Strict | Dog, "must be tagged"),
        (Decimal | str, "more than one str-like type"),
        (Mixed, "Mixed cannot be the type of a payload: Enums must contain either all str or"),
        (Unresolved, "Unresolved cannot be the type of a payload: name 'Nowhere' is not defined"),
        (12, "12 cannot be the type of a payload"),
        (SECRET, "the type of signal 1 must be a type, and is a str"),
    ],
)
def test_a_type_that_cannot_travel_is_named(kind: Any, said: str) -> None:
    (problem,) = problems_of({"it": kind})

    assert said in problem
    assert SECRET not in problem


@pytest.mark.parametrize("signal", ["", 5, None, "miros_mesh.hello"])
def test_what_is_no_signal_of_a_program_has_no_type(signal: Any) -> None:
    assert len([*problems_of({signal: Item})]) == 1


def test_types_by_signal_can_be_hashed_and_compared() -> None:
    one, other = PayloadTypes({"a": Item, "b": Tree}), PayloadTypes({"b": Tree, "a": Item})

    assert {one: 1}[other] == 1
    assert one == {"a": Item, "b": Tree}
    assert one != PayloadTypes({"a": Item, "b": Item})
    assert "Item" in repr(one)
