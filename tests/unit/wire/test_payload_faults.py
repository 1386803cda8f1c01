"""What is told of payloads that are refused: places and types, and no value."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.wire.payload_faults import fault_of, shown, step_of, trouble_of
from support.declared_types import SECRET, Cat, Colour, Dog, Item, Level, Positive, Strict

KINDS = [
    *(int, float, str, bytes, bool, None, Decimal, uuid.UUID, Colour, Level, Item, Positive),
    *(dt.date, dt.time, dt.datetime, dt.timedelta, set[int], list[Item], dict[str, Item]),
    *(dict[int, Colour], tuple[int, Colour], Cat | Dog, Strict, int | None, list[Cat | Dog]),
]
secrets = st.text(max_size=20).map(lambda text: f"{text}{SECRET}{text[::-1]}")
values = st.recursive(
    secrets | st.none() | st.integers() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(secrets, inner, max_size=3)
        | st.fixed_dictionaries({}, optional=dict.fromkeys(["price", "type", "a", "number"], inner))
    ),
    max_leaves=6,
)


def fault(value: Any, kind: Any, root: str = "object") -> str | None:
    try:
        msgspec.convert(value, kind, str_keys=True)
    except msgspec.ValidationError as error:
        return fault_of(error, root)
    except LookupError:
        pass
    return None


@given(values, st.sampled_from(KINDS))
def test_no_value_and_no_foreign_key_is_told(value: Any, kind: Any) -> None:
    assert SECRET not in (fault(value, kind) or "")


@given(values, st.sampled_from(KINDS))
def test_each_fault_has_a_place_and_a_reason(value: Any, kind: Any) -> None:
    told = fault(value, kind)

    if told is not None:
        place, _, reason = told.partition(": ")
        assert place.startswith("$")
        assert reason
        assert reason != "does not fit"


def test_words_that_are_not_known_are_kept_back() -> None:
    assert fault_of(msgspec.ValidationError(f"Never seen {SECRET}")) == "$: does not fit"


def test_a_class_cannot_choose_the_place_that_is_told() -> None:
    assert fault([{"number": -1}], list[Positive]) == "$[0]: is refused by its class: ValueError"
    assert fault({"number": -1}, Positive) == "$: is refused by its class: ValueError"


def test_the_whole_is_called_by_its_name() -> None:
    assert fault(5, Item, "Item") == "$: expected Item, got int"
    assert fault([5], list[Item], "Item") == "$[0]: expected object, got int"


@pytest.mark.parametrize(
    ("step", "said"),
    [(3, "[3]"), ("name", ".name"), ("a b", "[...]"), ("x" * 41, "[...]"), (None, "[...]")],
)
def test_a_path_names_what_could_be_fields(step: Any, said: str) -> None:
    assert step_of(step) == said


def test_a_long_name_is_shortened() -> None:
    assert shown("a" * 41) == repr("a" * 40 + "...")


@dataclass
class PlacedError(Exception):
    path: Any


def raised(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError(SECRET), "ValueError"),
        (raised(ValueError(SECRET), KeyError(SECRET)), "ValueError, caused by KeyError"),
        (PlacedError("$.a[3]"), "PlacedError, at $.a[3]"),
        (PlacedError(["items", 3, "a b"]), "PlacedError, at $.items[3][...]"),
        (PlacedError(SECRET), "PlacedError"),
        (PlacedError([object()]), "PlacedError"),
        (PlacedError(5), "PlacedError"),
        (PlacedError("$" + "x" * 300), "PlacedError, at $" + "x" * 199 + "..."),
        (PlacedError("$\x1b"), r"PlacedError, at $\x1b"),
        (
            raised(ValueError(SECRET), PlacedError("$.b")),
            "ValueError, caused by PlacedError, at $.b",
        ),
    ],
)
def test_errors_of_a_serializer_are_told_by_types_place_and_causes(
    error: BaseException, said: str
) -> None:
    assert trouble_of(error) == said


def test_an_error_of_msgspec_in_a_serializer_names_its_place() -> None:
    with pytest.raises(msgspec.ValidationError) as told:
        msgspec.json.decode(json.dumps({"price": SECRET}), type=Item)

    assert trouble_of(told.value) == (
        "ValidationError ($.price: expected Decimal, got a str that is none)"
    )


def test_a_chain_of_causes_is_cut() -> None:
    error: BaseException = ValueError()
    for _ in range(9):
        error = raised(KeyError(), error)

    assert trouble_of(error).count("caused by") == 3


def test_what_an_error_hides_is_not_told() -> None:
    error = ValueError()
    error.__context__ = KeyError()
    assert trouble_of(error) == "ValueError, caused by KeyError"
    error.__suppress_context__ = True
    assert trouble_of(error) == "ValueError"
