"""The built-in payload serializer: what it takes comes back equal, the rest is refused by path."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.errors import PayloadError
from miros_mesh.wire.serializer import MAX_DEPTH, MAX_VALUES, MsgpackSerializer

serializer = MsgpackSerializer()

zones = st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
datetimes = st.datetimes(
    min_value=dt.datetime(1, 1, 3), max_value=dt.datetime(9999, 12, 29), timezones=zones
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | datetimes
)
payloads = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(payloads)
def test_a_payload_comes_back_equal(payload: Any) -> None:
    assert serializer.loads(serializer.dumps(payload)) == payload


@given(payloads)
def test_a_payload_comes_back_with_the_types_it_had(payload: Any) -> None:
    assert _types(serializer.loads(serializer.dumps(payload))) == _types(payload)


@given(datetimes)
def test_a_datetime_comes_back_in_utc(moment: dt.datetime) -> None:
    assert serializer.loads(serializer.dumps(moment)).tzinfo is dt.UTC


@given(st.binary(max_size=64))
def test_random_bytes_are_refused_or_are_a_payload_that_could_have_been_sent(data: bytes) -> None:
    try:
        payload = serializer.loads(data)
    except PayloadError:
        return
    serializer.dumps(payload)


@given(payloads, st.binary(min_size=1))
def test_bytes_after_a_payload_are_refused(payload: Any, tail: bytes) -> None:
    with pytest.raises(PayloadError, match="trailing"):
        serializer.loads(serializer.dumps(payload) + tail)


@given(payloads)
def test_a_payload_that_was_cut_short_is_refused(payload: Any) -> None:
    with pytest.raises(PayloadError, match="truncated"):
        serializer.loads(serializer.dumps(payload)[:-1])


def test_a_tuple_travels_as_a_list() -> None:
    assert serializer.loads(serializer.dumps({"at": (1, (2, 3))})) == {"at": [1, [2, 3]]}


def test_not_a_number_and_the_infinities_travel() -> None:
    back = serializer.loads(serializer.dumps([float("nan"), float("inf"), float("-inf")]))

    assert [str(value) for value in back] == ["nan", "inf", "-inf"]


class Colour(enum.IntEnum):
    RED = 1


class Word(enum.StrEnum):
    YES = "yes"


class Celsius(float):
    pass


@dataclass
class Reading:
    value: float


class Record(msgspec.Struct):
    value: float


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("foreign", "said"),
    [
        ({1, 2}, "set; send a sorted list"),
        (frozenset(), "frozenset; send a sorted list"),
        (bytearray(b"x"), r"bytearray; send bytes\(...\)"),
        (memoryview(b"x"), r"memoryview; send bytes\(...\)"),
        (1j, "complex; send its two parts"),
        (Colour.RED, "Colour; send a plain int"),
        (Word.YES, "Word; send a plain str"),
        (Celsius(1), "Celsius; send a plain float"),
        (OrderedDict(), "OrderedDict; send a plain dict"),
        (Point(1, 2), "Point; send a plain tuple"),
        (Reading(1.0), "Reading; send JSON types"),
        (Record(1.0), "Record; send JSON types"),
        (decimal.Decimal(1), "Decimal; send JSON types"),
        (uuid.UUID(int=1), "UUID; send JSON types"),
        (dt.date(2024, 1, 1), "date; send JSON types"),
        (dt.timedelta(1), "timedelta; send JSON types"),
        (object(), "object; send JSON types"),
        (int, "type; send JSON types"),
        (msgspec.Raw(b"\xc0"), "Raw; send JSON types"),
        (msgspec.msgpack.Ext(1, b""), "Ext; send JSON types"),
        (dt.datetime(2024, 1, 1), "without a time zone"),
        (dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))), "outside the years"),
        (2**64, "int beyond 64 bits"),
        (-(2**63) - 1, "int beyond 64 bits"),
        ("\ud800", "is text with a lone surrogate"),
        ({1: "x"}, "has a key of type int; a key must be a str"),
        ({Word.YES: "x"}, "has a key of type Word"),
        ({"\ud800": "x"}, "has a key with a lone surrogate"),
    ],
)
def test_what_cannot_travel_is_refused_with_its_path_and_a_way_out(foreign: Any, said: str) -> None:
    with pytest.raises(PayloadError, match=rf"^payload\['a'\]\[3\]\[0\] .*{said}"):
        serializer.dumps({"a": [1, 2, 3, (foreign,)]})


def test_a_payload_that_is_itself_foreign_is_called_payload() -> None:
    with pytest.raises(PayloadError, match=r"^payload is a set;"):
        serializer.dumps(set())


def test_no_value_of_the_payload_is_shown() -> None:
    with pytest.raises(PayloadError) as raised:
        serializer.dumps({"password": {"hunter2"}, "after": 1})

    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_long_key_is_shown_in_part() -> None:
    with pytest.raises(PayloadError) as raised:
        serializer.dumps({"k" * 10_000: set()})

    assert len(str(raised.value)) < 200


def test_a_payload_may_be_nested_to_the_limit() -> None:
    payload = _nested(MAX_DEPTH)

    assert serializer.loads(serializer.dumps(payload)) == payload


def test_a_payload_nested_deeper_is_refused() -> None:
    with pytest.raises(PayloadError, match="nested deeper than 64 levels"):
        serializer.dumps(_nested(MAX_DEPTH + 1))


def test_bytes_nested_beyond_the_stack_are_refused() -> None:
    with pytest.raises(PayloadError, match="recursion"):
        serializer.loads(b"\x91" * 100_000 + b"\xc0")


def test_a_list_that_contains_itself_is_refused() -> None:
    cycle: list[Any] = []
    cycle.extend([cycle, cycle])

    with pytest.raises(PayloadError, match="or contains itself"):
        serializer.dumps(cycle)


def test_a_small_payload_that_unfolds_into_a_huge_one_is_refused() -> None:
    lol: list[Any] = ["lol"]
    for _ in range(MAX_DEPTH - 1):
        lol = [lol, lol]

    with pytest.raises(PayloadError, match=f"more than {MAX_VALUES:,} values"):
        serializer.dumps(lol)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xc1", id="an opcode that msgpack never uses"),
        pytest.param(b"\xa1\xff", id="text that is no UTF-8"),
        pytest.param(b"\xd4\x05a", id="an extension type"),
        pytest.param(b"\x81\x01\x02", id="a key that is no str"),
        pytest.param(b"\x81\x90\x01", id="a key that is a list"),
        pytest.param(b"\x81\x80\x01", id="a key that is a dict"),
        pytest.param(b"\xdd\xff\xff\xff\xff", id="a list that claims four thousand million items"),
        pytest.param(b"\xd7\xff" + b"\xff" * 8, id="a timestamp out of range"),
    ],
)
def test_bytes_that_dumps_never_makes_are_refused(data: bytes) -> None:
    with pytest.raises(PayloadError):
        serializer.loads(data)


def _types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _types(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_types(item) for item in value]
    return type(value)


def _nested(levels: int) -> list[Any]:
    payload: list[Any] = []
    for _ in range(levels - 1):
        payload = [payload]
    return payload
