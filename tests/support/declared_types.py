"""Types that signals of a program may carry."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from decimal import Decimal

import msgspec

SECRET = "4711-secret"
"""Stands for what no message may quote; it could be no name of a field."""


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass(frozen=True)
class Item:
    price: Decimal
    count: int = 1
    colour: Colour = Colour.RED


class Cat(msgspec.Struct, tag="cat"):
    lives: int = 9


class Dog(msgspec.Struct, tag="dog"):
    name: str


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    a: int = 0


@dataclass
class Positive:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError(f"no {SECRET} - at `{SECRET}`")
        if self.number > 1000:
            raise LookupError(SECRET)
