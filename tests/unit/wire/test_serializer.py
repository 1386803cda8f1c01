"""The built-in payload serializer: what it takes comes back equal, the rest is refused by path."""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import enum
import os
import subprocess
import sys
import time
import uuid
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.errors import PayloadError
from miros_mesh.wire.payload_types import UnknownValue
from miros_mesh.wire.serializer import (
    LONGEST_TYPE_NAME,
    MAX_DEPTH,
    MAX_VALUES,
    MsgpackSerializer,
)


class Point(NamedTuple):
    x: Any
    y: Any = None


@dataclass(frozen=True)
class Order:
    number: Any
    lines: Any


@dataclass(slots=True, kw_only=True)
class Cart:
    lines: list[Any] = field(default_factory=list)


class Empty(NamedTuple):
    pass


serializer = MsgpackSerializer()
knowing = MsgpackSerializer((Point, Order, Cart, Empty))

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
plain_payloads = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
# By one strategy for what is inside, since Hypothesis writes out each of them at each level.
HASHABLE: list[Callable[[list[Any]], Any]] = [
    tuple,
    frozenset,
    lambda items: Point(*items[:2]) if items else Empty(),
    lambda items: Order(len(items), tuple(items)),
]
ANY: list[Callable[[list[Any]], Any]] = [
    *HASHABLE[::2],
    list,
    lambda items: {f"{at} ä": item for at, item in enumerate(items)},
    lambda items: Order(items, items[:1]),
    lambda items: Cart(lines=items),
]


def made(kinds: list[Callable[[list[Any]], Any]]) -> Callable[[Any], Any]:
    def make(inner: Any) -> Any:
        given = st.tuples(st.sampled_from(kinds), st.lists(inner, max_size=4))
        return given.map(lambda made_of: made_of[0](made_of[1]))

    return make


hashables = st.recursive(scalars, made(HASHABLE), max_leaves=6)
payloads = st.recursive(hashables | st.sets(hashables, max_size=4), made(ANY), max_leaves=8)
names = st.text("NÄ. ", min_size=1, max_size=LONGEST_TYPE_NAME)
unknowns = st.builds(UnknownValue, names, st.dictionaries(st.text(), payloads))


@given(payloads)
def test_a_payload_comes_back_equal(payload: Any) -> None:
    assert knowing.loads(knowing.dumps(payload)) == payload


@given(payloads)
def test_a_payload_comes_back_with_the_types_it_had(payload: Any) -> None:
    assert _types(knowing.loads(knowing.dumps(payload))) == _types(payload)


@given(payloads)
def test_a_payload_goes_unchanged_through_a_node_that_does_not_know_its_types(payload: Any) -> None:
    data = knowing.dumps(payload)

    assert serializer.dumps(serializer.loads(data)) == data


@given(unknowns)
def test_an_unknown_value_comes_back_equal(unknown: UnknownValue) -> None:
    assert knowing.loads(knowing.dumps(unknown)) == unknown


@given(payloads)
def test_a_payload_of_the_program_is_not_changed(payload: Any) -> None:
    before = copy.deepcopy(payload)

    knowing.dumps(payload)

    assert payload == before
    assert _types(payload) == _types(before)


@given(plain_payloads)
def test_json_types_are_msgpack_and_nothing_more(payload: Any) -> None:
    data = knowing.dumps(payload)

    assert data == msgspec.msgpack.encode(payload)
    assert serializer.loads(data) == payload


@given(datetimes)
def test_a_datetime_comes_back_in_utc(moment: dt.datetime) -> None:
    assert serializer.loads(serializer.dumps(moment)).tzinfo is dt.UTC


@given(st.binary(max_size=64))
def test_random_bytes_are_refused_or_are_a_payload_that_could_have_been_sent(data: bytes) -> None:
    try:
        payload = knowing.loads(data)
    except PayloadError:
        return
    knowing.dumps(payload)


@given(payloads, st.data())
def test_a_payload_of_which_a_byte_was_changed_is_refused_or_could_have_been_sent(
    payload: Any, data: st.DataObject
) -> None:
    changed = bytearray(knowing.dumps(payload))
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        back = knowing.loads(bytes(changed))
    except PayloadError:
        return
    knowing.dumps(back)


@given(payloads, st.binary(min_size=1))
def test_bytes_after_a_payload_are_refused(payload: Any, tail: bytes) -> None:
    with pytest.raises(PayloadError, match="trailing"):
        serializer.loads(knowing.dumps(payload) + tail)


@given(payloads)
def test_a_payload_that_was_cut_short_is_refused(payload: Any) -> None:
    with pytest.raises(PayloadError, match="truncated"):
        serializer.loads(knowing.dumps(payload)[:-1])


def test_a_tuple_comes_back_as_a_tuple() -> None:
    assert serializer.loads(serializer.dumps({"at": (1, [2, (3,)])})) == {"at": (1, [2, (3,)])}


def test_a_set_comes_back_as_what_it_was() -> None:
    back = serializer.loads(serializer.dumps([{1, "a"}, frozenset({(1, 2)})]))

    assert back == [{1, "a"}, frozenset({(1, 2)})]
    assert [type(each) for each in back] == [set, frozenset]


def test_equal_sets_are_equal_bytes_in_every_process() -> None:
    program = (
        "from miros_mesh.wire.serializer import MsgpackSerializer as M;"
        "print(M().dumps({'a', 'b', 'c', 'd', 'e', b'a', 1, None, (1, 2)}).hex())"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in range(1, 4)
    }

    assert len(made) == 1


def test_a_value_of_a_known_class_comes_back_as_one() -> None:
    payload = [Point(1, Point(2, 3)), Order(7, ("a",)), Cart(lines=[{1}]), Empty()]

    back = knowing.loads(knowing.dumps(payload))

    assert back == payload
    assert [type(each) for each in back] == [Point, Order, Cart, Empty]
    assert type(back[0].y) is Point


def test_a_value_of_an_unknown_class_comes_back_as_its_name_and_fields() -> None:
    back = serializer.loads(knowing.dumps({"at": Point(1, Order(2, (3,)))}))

    order = UnknownValue("Order", {"number": 2, "lines": (3,)})
    assert back == {"at": UnknownValue("Point", {"x": 1, "y": order})}
    assert knowing.loads(serializer.dumps(back)) == {"at": Point(1, Order(2, (3,)))}


def test_a_class_is_found_by_its_name_whatever_module_it_is_in() -> None:
    theirs: Any = type("Point", (namedtuple("Base", "y x"),), {})  # noqa: PYI024

    back = MsgpackSerializer((theirs,)).loads(knowing.dumps(Point(1, 2)))

    assert type(back) is theirs
    assert (back.x, back.y) == (1, 2)


class Longer(NamedTuple):
    x: Any
    y: Any
    z: Any = 0


class Shorter(NamedTuple):
    x: Any


@dataclass
class Choosy:
    x: Any
    y: Any

    def __post_init__(self) -> None:
        raise ValueError(f"no {self.x}")


@dataclass(frozen=True)
class Moody:
    x: Any
    y: Any

    def __hash__(self) -> int:
        raise ZeroDivisionError(f"no {self.x}")


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (Longer, "is a Point without the field z$"),
        (Shorter, "is a Point with a field 'y', which it has not here$"),
        (Choosy, "is a Point that its constructor refuses: ValueError$"),
    ],
)
def test_a_value_that_cannot_be_made_here_is_refused_by_its_path_and_not_quoted(
    theirs: Any, said: str
) -> None:
    here = MsgpackSerializer((type("Point", (theirs,), {}),))

    with pytest.raises(PayloadError, match=rf"^payload\['a'\]\[1\] {said}") as raised:
        here.loads(knowing.dumps({"a": (0, Point("hunter2", 2))}))

    assert raised.value.__cause__ is None


@pytest.mark.parametrize("kind", [2, 3])
def test_a_set_whose_elements_have_one_hash_is_refused_before_they_are_compared(kind: int) -> None:
    # -1 and -2 have one hash, and so have all tuples of them.
    elements = [_tagged(1, list(each)) for each in product((-1, -2), repeat=14)]
    data = msgspec.msgpack.encode(_tagged(kind, elements))
    began = time.process_time()

    with pytest.raises(PayloadError, match="a set with more than 100 elements of one hash"):
        serializer.loads(data)

    # To compare each with each takes ten seconds.
    assert time.process_time() - began < 3


def test_a_set_of_a_few_elements_of_one_hash_is_taken() -> None:
    few = set(product((-1, -2), repeat=6))

    assert serializer.loads(serializer.dumps(few)) == few
    with pytest.raises(PayloadError, match="more than 100 elements of one hash; send a list"):
        serializer.dumps(set(product((-1, -2), repeat=7)))


def test_a_set_that_cannot_be_made_here_is_refused() -> None:
    here = MsgpackSerializer((type("Point", (Moody,), {}),))

    with pytest.raises(PayloadError, match="set of what cannot be in one: ZeroDivisionError$"):
        here.loads(knowing.dumps({Point(1, 2)}))


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


class Spot(NamedTuple):
    x: int


class NamedPoint(Point):
    """Its own type would be lost, though its base is known."""


class Words(set[str]):
    pass


@pytest.mark.parametrize(
    ("foreign", "said"),
    [
        (bytearray(b"x"), r"bytearray; send bytes\(...\)"),
        (memoryview(b"x"), r"memoryview; send bytes\(...\)"),
        (1j, "complex; send its two parts"),
        (Colour.RED, "Colour; send a plain int"),
        (Word.YES, "Word; send a plain str"),
        (Celsius(1), "Celsius; send a plain float"),
        (OrderedDict(), "OrderedDict; send a plain dict"),
        (defaultdict(int), "defaultdict; send a plain dict"),
        (Words(), "Words; send a plain set"),
        (Spot(1), "Spot; add its class to payload_types of MeshConfig, here and where"),
        (NamedPoint(1), "NamedPoint; add its class to payload_types"),
        (Reading(1.0), "Reading; add its class to payload_types"),
        ({1, 1j}, r"\[an element\] is a complex"),
        (frozenset({1j}), r"\[an element\] is a complex"),
        ((1, 1j), r"\[1\] is a complex"),
        (Order(1, [1j]), r"\['lines'\]\[0\] is a complex"),
        (UnknownValue("Point", {"x": 1j}), r"\['x'\] is a complex"),
        (UnknownValue("Point", {1: 1}), "has a key of type int"),  # type: ignore[dict-item]
        (UnknownValue("", {}), "whose name is no text of 1 to 255 characters"),
        (UnknownValue("P" * 256, {}), "whose name is no text of 1 to 255 characters"),
        (UnknownValue(1, {}), "whose name is no text"),  # type: ignore[arg-type]
        (UnknownValue("\ud800", {}), "whose name has a lone surrogate"),
        (Order.__new__(Order), "Order whose field [a-z]+ cannot be read: AttributeError$"),
        (type("", (), {})(), "is a ; send JSON types"),
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
    with pytest.raises(PayloadError, match=rf"^payload\['a'\]\[3\]\[0\].*{said}"):
        knowing.dumps({"a": [1, 2, 3, (foreign,)]})


def test_a_payload_that_is_itself_foreign_is_called_payload() -> None:
    with pytest.raises(PayloadError, match=r"^payload is an object;"):
        serializer.dumps(object())


def test_no_value_of_the_payload_is_shown() -> None:
    with pytest.raises(PayloadError) as raised:
        serializer.dumps({"password": bytearray(b"hunter2"), "after": 1})

    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_long_key_is_shown_in_part() -> None:
    with pytest.raises(PayloadError) as raised:
        serializer.dumps({"k" * 10_000: 1j})

    assert len(str(raised.value)) < 200


def test_a_payload_may_be_nested_to_the_limit() -> None:
    payload = _nested(MAX_DEPTH)

    assert serializer.loads(serializer.dumps(payload)) == payload


def test_a_payload_nested_deeper_is_refused() -> None:
    with pytest.raises(PayloadError, match="nested deeper than 64 levels"):
        serializer.dumps(_nested(MAX_DEPTH + 1))


nests = pytest.mark.parametrize(
    "nest",
    [
        pytest.param(lambda inner: (inner,), id="tuples"),
        pytest.param(lambda inner: frozenset({inner}), id="frozensets"),
        pytest.param(Point, id="named tuples"),
        pytest.param(lambda inner: Cart(lines=inner), id="dataclasses"),
        pytest.param(lambda inner: UnknownValue("N", {"inner": inner}), id="unknown values"),
    ],
)


@nests
def test_values_of_every_kind_may_be_nested_to_the_limit_and_no_deeper(
    nest: Callable[[Any], Any],
) -> None:
    payload: Any = ()
    for _ in range(MAX_DEPTH - 1):
        payload = nest(payload)

    assert knowing.loads(knowing.dumps(payload)) == payload
    with pytest.raises(PayloadError, match="nested deeper than 64 levels"):
        knowing.dumps(nest(payload))


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_extension_types_nested_deeper_are_refused_when_they_arrive(code: int) -> None:
    data = b"\xc0"
    for _ in range(2_000):
        inside = msgspec.Raw(data)
        content = ["N", {"inner": inside}] if code == 4 else [inside]
        data = _ext(code, msgspec.msgpack.encode(content))

    with pytest.raises(PayloadError, match="nested deeper than 64 levels"):
        serializer.loads(data)


def test_values_in_tuples_and_sets_count_as_others_do() -> None:
    half = range(MAX_VALUES // 2)

    with pytest.raises(PayloadError, match=f"more than {MAX_VALUES:,} values"):
        serializer.dumps([tuple(half), set(half)])
    with pytest.raises(PayloadError, match=f"more than {MAX_VALUES:,} values"):
        serializer.loads(msgspec.msgpack.encode([_tagged(1, list(half)), _tagged(2, list(half))]))


def test_bytes_nested_beyond_the_stack_are_refused() -> None:
    with pytest.raises(PayloadError, match="recursion|Stack overflow"):
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
        pytest.param(b"\xd4\x01\xc0", id="a tuple of nothing"),
        pytest.param(b"\xd5\x01\x90\x90", id="bytes behind a tuple"),
        pytest.param(b"\xd4\x01\x91", id="a tuple that was cut short"),
        pytest.param(b"\xd4\x02\x80", id="a set of a dict"),
        pytest.param(b"\xd5\x02\x91\x90", id="a set with a list in it"),
        pytest.param(b"\xd6\x02\x93\x01\x02\x01", id="a set with an element twice"),
        pytest.param(b"\xd4\x04\x90", id="a value without a name"),
        pytest.param(b"\xd6\x04\x92\xa1N\x90", id="a value whose fields have no names"),
        pytest.param(b"\xd6\x04\x92\xa0\x80\x80", id="bytes behind a value"),
        pytest.param(b"\xc7\x03\x04\x92\xa0\x80", id="a value whose name is empty"),
        pytest.param(b"\xc7\x06\x04\x92\xa1N\x81\x01\x02", id="a value with a field called 1"),
        pytest.param(b"\x81\xd4\x01\x90\x01", id="a key that is a tuple"),
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


def test_what_was_written_once_is_read_for_ever() -> None:
    stored = bytes.fromhex(
        "84a57475706c65c706019201d5019102a3736574d6029201a161a966726f7a656e736574d40390"
        "a5706f696e74c70e0492a5506f696e7482a17801a17902"
    )
    payload = {"tuple": (1, (2,)), "set": {1, "a"}, "frozenset": frozenset(), "point": Point(1, 2)}

    assert knowing.loads(stored) == payload
    assert knowing.dumps(payload) == stored


def _types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _types(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        # By bytes, since what is equal need not be the same: True and 1.
        return type(value), sorted((knowing.dumps(each), repr(_types(each))) for each in value)
    if isinstance(value, list | tuple):
        return type(value), [_types(item) for item in value]
    if isinstance(value, Order):
        return Order, _types(value.number), _types(value.lines)
    if isinstance(value, Cart):
        return Cart, _types(value.lines)
    return type(value)


def _ext(code: int, data: bytes) -> bytes:
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(code, data))


def _tagged(code: int, content: list[Any]) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(code, msgspec.msgpack.encode(content))


def _nested(levels: int) -> list[Any]:
    payload: list[Any] = []
    for _ in range(levels - 1):
        payload = [payload]
    return payload
