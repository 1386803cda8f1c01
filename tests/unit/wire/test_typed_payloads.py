"""Payloads of declared types: what fits comes back equal, what does not is named by its path."""

from __future__ import annotations

import datetime as dt
import enum
import json
import threading
import uuid
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh import payload
from miros_mesh.errors import ConfigError, PayloadError
from miros_mesh.wire import typed_payloads
from miros_mesh.wire.payload_types import UnknownValue
from miros_mesh.wire.serializer import MsgpackSerializer
from miros_mesh.wire.typed_payloads import Payloads
from support.declared_types import SECRET, Cat, Colour, Dog, Item, Level, Positive, Strict

T = TypeVar("T")


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Place(NamedTuple):
    x: int
    y: float = 0.0


class Note(TypedDict):
    text: str


class Address(msgspec.Struct, rename="camel", frozen=True):
    first_line: str
    place: Place | None = None


@dataclass
class Order:
    id: uuid.UUID
    items: list[Item] = field(default_factory=list)
    address: Address | None = None
    day: dt.date | None = None
    at: dt.time | None = None
    takes: dt.timedelta | None = None
    sent: dt.datetime | None = None
    level: Level = Level.LOW
    rights: Rights = Rights.READ
    tags: set[str] = field(default_factory=set)
    ids: frozenset[uuid.UUID] = frozenset()
    days: set[dt.date] = field(default_factory=set)
    pair: tuple[int, Decimal] = (0, Decimal(0))
    many: tuple[Item, ...] = ()
    raw: bytes = b""
    amount: Decimal | int | None = None
    ratio: float = 0.0
    notes: dict[str, Note] = field(default_factory=dict)
    by_id: dict[uuid.UUID, Item] = field(default_factory=dict)
    by_number: dict[int, Decimal] = field(default_factory=dict)
    by_colour: dict[Colour, list[int]] = field(default_factory=dict)
    word: Literal["a", "b"] = "a"


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


@dataclass
class Page(Generic[T]):
    items: list[T]


class Row(msgspec.Struct, array_like=True):
    a: int
    b: Decimal = Decimal(0)


@dataclass
class Anything:
    it: Any = None


class Json:
    """A program's own serializer, which knows JSON alone."""

    name = "json"

    def dumps(self, payload: Any) -> bytes:
        return json.dumps(payload).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


plain = MsgpackSerializer()
SERIALIZERS = [plain, Json()]


def of(kind: Any, serializer: Any = plain) -> Payloads:
    return Payloads(serializer, {"it": kind})


def sent(kind: Any, value: Any, serializer: Any = plain) -> Any:
    """What arrives of a value."""
    payloads = of(kind, serializer)
    return payloads.loads("it", payloads.dumps("it", value))


def tree(kind: Any, value: Any) -> Any:
    """What a node without the type gets."""
    return plain.loads(of(kind).dumps("it", value))


def arrived(kind: Any, value: Any, serializer: Any = plain) -> Any:
    """What a node with the type makes of what one without it sends."""
    return of(kind, serializer).loads("it", serializer.dumps(value))


def refused(kind: Any, value: Any) -> str:
    with pytest.raises(PayloadError) as raised:
        of(kind).dumps("it", value)
    assert SECRET not in str(raised.value)
    return str(raised.value)


def unfit(kind: Any, value: Any, serializer: Any = plain) -> str:
    with pytest.raises(PayloadError) as raised:
        arrived(kind, value, serializer)
    assert SECRET not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def undeclared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in which nothing is declared yet."""
    monkeypatch.setattr(typed_payloads, "_declared", {})


texts = st.text(max_size=5)
ints = st.integers(-(2**63), 2**64 - 1)
decimals = st.decimals(allow_nan=False)
zones = st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
moments = st.datetimes(
    min_value=dt.datetime(1, 1, 3), max_value=dt.datetime(9999, 12, 29), timezones=zones
)
places = st.builds(Place, ints, st.floats(allow_nan=False))
addresses = st.builds(Address, texts, st.none() | places)
colours = st.sampled_from(Colour)
items = st.builds(Item, decimals, ints, colours)
few = {"max_size": 3}
orders = st.builds(
    Order,
    id=st.uuids(),
    items=st.lists(items, **few),
    address=st.none() | addresses,
    day=st.none() | st.dates(),
    at=st.none() | st.times(),
    takes=st.none() | st.timedeltas(),
    sent=st.none() | moments,
    level=st.sampled_from(Level),
    rights=st.sampled_from([Rights.READ, Rights.READ | Rights.WRITE]),
    tags=st.sets(texts, **few),
    ids=st.frozensets(st.uuids(), **few),
    days=st.sets(st.dates(), **few),
    pair=st.tuples(ints, decimals),
    many=st.lists(items, **few).map(tuple),
    raw=st.binary(max_size=5),
    amount=st.none() | ints | decimals,
    ratio=st.floats(allow_nan=False),
    notes=st.dictionaries(texts, st.builds(Note, text=texts), **few),
    by_id=st.dictionaries(st.uuids(), items, **few),
    by_number=st.dictionaries(ints, decimals, **few),
    by_colour=st.dictionaries(colours, st.lists(ints, **few), **few),
    word=st.sampled_from(["a", "b"]),
)
BUILT_IN = (type(None), bool, int, float, str, bytes, dt.datetime)


def types_of(value: Any) -> set[type]:
    if isinstance(value, dict):
        return {type(value)}.union(*map(types_of, value), *map(types_of, value.values()))
    if isinstance(value, list):
        return {type(value)}.union(*map(types_of, value))
    return {type(value)}


@pytest.mark.parametrize("serializer", SERIALIZERS, ids=["msgpack", "json"])
@given(orders)
def test_a_value_of_the_type_comes_back_equal(serializer: Any, order: Order) -> None:
    assert sent(Order, order, serializer) == order


@given(orders)
def test_a_node_without_the_type_gets_built_in_types_and_can_send_them_back(order: Order) -> None:
    there = tree(Order, order)

    assert types_of(there) <= {*BUILT_IN, dict, list}
    assert arrived(Order, there) == order


@given(orders)
def test_decimals_come_back_digit_by_digit(order: Order) -> None:
    came = sent(Order, order)

    assert [each.price.as_tuple() for each in came.items] == [
        each.price.as_tuple() for each in order.items
    ]
    assert type(came.amount) is type(order.amount)


@given(orders)
def test_a_dictionary_with_the_fields_stands_for_the_value(order: Order) -> None:
    fields = {name: getattr(order, name) for name in Order.__dataclass_fields__}

    assert sent(Order, fields) == order


def test_a_declared_type_has_this_form_on_the_wire() -> None:
    order = Order(
        uuid.UUID(int=1),
        [Item(Decimal("1.10"), 2, Colour.BLUE)],
        Address("a", Place(1)),
        dt.date(2024, 2, 29),
        dt.time(1, 2, 3),
        dt.timedelta(days=1, microseconds=5),
        dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        tags={"x"},
        by_number={1: Decimal("0.1")},
    )

    there = tree(Order, order)

    assert there["id"] == "00000000-0000-0000-0000-000000000001"
    assert there["items"] == [{"price": "1.10", "count": 2, "colour": "blue"}]
    assert there["address"] == {"firstLine": "a", "place": [1, 0.0]}
    assert (there["day"], there["at"], there["takes"]) == (
        "2024-02-29",
        "01:02:03",
        "P1DT0.000005S",
    )
    assert there["sent"] == order.sent
    assert (there["tags"], there["pair"], there["by_number"]) == (["x"], [0, "0"], {"1": "0.1"})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Decimal, Decimal("1.10")),
        (Cat | Dog, Dog("rex")),
        (list[Cat | Dog], [Dog("rex"), Cat()]),
        (Order | None, None),
        (None, None),
        (Page[Item], Page([Item(Decimal(1))])),
        (Page[int] | None, Page([1])),
        (dict[str, Page[Decimal]], {"a": Page([Decimal(1)])}),
        (Tree, Tree(1, [Tree(2, [Tree(3)]), Tree(4)])),
        (Row, Row(1, Decimal("2.50"))),
        (frozenset[tuple[int, str]], frozenset({(1, "a")})),
        (Annotated[Item, "an item"], Item(Decimal(1))),
        (bytearray, bytearray(b"ab")),
        (float | Decimal, Decimal("1.1")),
        (float | Decimal, 1.1),
        (Any, {"a": [1, None]}),
        (Anything, Anything([1, {"a": b"x"}])),
        (Decimal, Decimal("Infinity")),
        (dict, {"a": [1]}),
        (Rights, Rights.READ | Rights.WRITE),
    ],
)
def test_types_of_all_kinds_come_back_equal(kind: Any, value: Any) -> None:
    assert sent(kind, value) == value
    assert type(sent(kind, value)) is type(value)


@pytest.mark.parametrize("text", ["NaN", "sNaN", "-NaN"])
def test_a_decimal_that_is_no_number_comes_back_as_such(text: str) -> None:
    assert str(sent(Item, Item(Decimal(text))).price) == text


def test_one_type_may_stand_under_two_signals() -> None:
    payloads = Payloads(plain, {"ordered": Item, "paid": Item})

    data = payloads.dumps("ordered", Item(Decimal(1)))

    assert payloads.loads("paid", data) == Item(Decimal(1))


def test_signals_without_a_type_stay_as_they_are() -> None:
    payloads, value = of(Item), {"a": (1, {2}), "b": None}

    assert payloads.dumps("other", value) == plain.dumps(value)
    assert payloads.loads("other", plain.dumps(value)) == value


GOOD = Order(uuid.UUID(int=1))
LOOP = Tree(1)
LOOP.children.append(LOOP)
DEEP: Any = Tree(0)
for _ in range(40):
    DEEP = Tree(0, [DEEP])


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (Order, replace(GOOD, items=[Item(1.5)]), "$.items[0].price: expected Decimal, got float"),  # type: ignore[arg-type]
        (Order, replace(GOOD, items=[Item(1)]), "$.items[0].price: expected Decimal, got int"),  # type: ignore[arg-type]
        (Order, replace(GOOD, items=[Item(SECRET)]), "$.items[0].price: expected Decimal, got str"),  # type: ignore[arg-type]
        (Order, replace(GOOD, id=str(GOOD.id)), "$.id: expected UUID, got str"),
        (Order, replace(GOOD, day=dt.datetime.now(dt.UTC)), "$.day: expected date | None, got da"),
        (Order, replace(GOOD, takes=1.5), "$.takes: expected timedelta | None, got f"),
        (Order, replace(GOOD, level=SECRET), "$.level: expected int, got str"),
        (Order, replace(GOOD, word=SECRET), "$.word: is no value of its enum"),
        (Order, replace(GOOD, pair=(1,)), "$.pair: expected list of length 2, got 1"),
        (Order, replace(GOOD, ratio=Decimal("1.1")), "$.ratio: expected float, got Decimal"),
        (Order, replace(GOOD, notes={SECRET: {}}), "$.notes[...]: has no field text, and there is"),  # type: ignore[typeddict-item]
        (
            Order,
            replace(GOOD, items=[Item(Decimal(1), 2**64)]),
            "$.items[0].count: is an int beyond",
        ),
        (
            Order,
            replace(GOOD, sent=dt.datetime(2024, 1, 1)),
            "$.sent: is a datetime without a time",
        ),
        (Order, replace(GOOD, tags={"\ud800"}), "$.tags[0]: is text with a lone surrogate"),
        (Order, replace(GOOD, address=object()), "$.address: is of type object, which has no form"),
        (
            Order,
            replace(GOOD, notes={SECRET: [1, 1j]}),  # type: ignore[dict-item]
            "$.notes[...][1]: is of type complex, which",
        ),
        (Order, {"items": []}, "$: has no field id, and there is no default"),
        (Order, Item(Decimal(1)), "$: expected Order, got Item"),
        (Order, SECRET, "$: expected Order, got str"),
        (Order, None, "$: expected Order, got None"),
        (Strict, Anything(), "$: expected Strict, got Anything"),
        (Strict, {"a": 1, "b": 2}, "$: has a field b, and its class forbids"),
        (dict[str, Any], Anything(), "$: expected dict[str, typing.Any], got Anything"),
        (list[Strict], [Strict(), 5], "$[1]: expected object, got int"),
        (Cat | Dog, Strict(), "$: expected Cat | Dog, got Strict"),
        (Cat | Dog, {"type": SECRET}, "$.type: has a tag that none of its classes has"),
        (Colour, SECRET, "$: is no value of its enum"),
        (Colour, 1, "$: expected str, got int"),
        (dict[int, int], {SECRET: 1}, "$: a key: expected int, got str"),
        (dict[str, int], {(1, 2): 1}, "$: a key: expected str, got list"),
        (dict[int, Any], {1: {(1, 2): 1}}, "$[...]: has a key that cannot be written as text"),
        (Anything, Anything({SECRET: {1: 2}}), "$.it[...]: has a key of type int"),
        (Anything, Anything({SECRET}), None),
        (Annotated[int, msgspec.Meta(gt=3)], 1, "$: expected int >= 4"),
        (Tree, LOOP, "$: is nested too deeply, or contains itself"),
        (Tree, DEEP, "is nested deeper than 64 levels, or contains itself"),
        (Positive, {"number": -1}, "$: is refused by its class: ValueError"),
        (list[Positive], [{"number": -1}], "$[0]: is refused by its class: ValueError"),
        (Positive, {"number": 1001}, "$: cannot be made: LookupError"),
    ],
)
def test_a_payload_of_another_type_is_refused_by_its_path(
    kind: Any, value: Any, said: str | None
) -> None:
    if said is None:
        # What a field of any type holds arrives in built-in types.
        assert sent(kind, value) == Anything([SECRET])
    else:
        assert said in refused(kind, value)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (Item, {"price": 1.5}, "$.price: expected Decimal, got float"),
        (Order, {"id": str(GOOD.id), "amount": 1.5}, "$.amount: expected Decimal, got float"),
        (
            Page[set[Decimal]],
            {"items": [["1", "2"], [1.5]]},
            "$.items[1][0]: expected Decimal, got",
        ),
        (Item, {"price": SECRET}, "$.price: expected Decimal, got a str that is none"),
        (Item, {"price": "1", "colour": SECRET}, "$.colour: is no value of its enum"),
        (Item, {}, "$: has no field price, and there is no default"),
        (Item, [1], "$: expected Item, got list"),
        (Item, None, "$: expected Item, got None"),
        (Order, {"id": SECRET}, "$.id: expected UUID, got a str that is none"),
        (
            Order,
            {"id": str(GOOD.id), "day": SECRET},
            "$.day: expected date, got a str that is none",
        ),
        (
            Order,
            {"id": str(GOOD.id), "takes": SECRET},
            "$.takes: expected timedelta, got a str that",
        ),
        (Order, {"id": str(GOOD.id), "sent": SECRET}, "$.sent: expected datetime | None, got str"),
        (
            Order,
            {"id": str(GOOD.id), "by_id": {SECRET: {}}},
            "$.by_id: a key: expected UUID, got a",
        ),
        (Strict, {SECRET: 1}, "$: has a field of another name, and its class forbids"),
        (Cat | Dog, {"type": SECRET}, "$.type: has a tag that none of its classes has"),
        (Cat | Dog, {}, "$: has no field type, and there is no default"),
        (set[tuple[int, ...]], [[1], 2], "$[1]: expected list, got int"),
        (set[list[int]], [[1]], "$[0]: expected a hashable value, got list"),
        (Positive, {"number": -1}, "$: is refused by its class: ValueError"),
        (Positive, {"number": 1001}, "$: cannot be made: LookupError"),
        (Decimal, "1e99999999999999999999", "$: expected Decimal, got a str that is none"),
        (dict[int, int], {"9" * 5000: 1}, "$: a key: is out of range"),
    ],
)
def test_what_arrives_and_does_not_fit_is_refused_by_its_path(
    kind: Any, value: Any, said: str
) -> None:
    assert said in unfit(kind, value)


def test_a_class_may_forbid_fields_that_it_does_not_know() -> None:
    assert unfit(Strict, {"a": 1, "new": SECRET}).startswith("$: has a field new, and its class")


def test_unknown_fields_are_ignored_and_missing_ones_take_their_default() -> None:
    assert arrived(Item, {"price": "1", "new": {"deep": [1]}}) == Item(Decimal(1))
    assert arrived(Order, {"id": str(GOOD.id)}) == GOOD


def test_decimals_may_be_whole_numbers_where_no_digit_is_lost() -> None:
    assert arrived(Item, {"price": 2**64 - 1}).price == Decimal(2**64 - 1)


def test_a_sender_that_names_its_classes_as_payload_types_is_understood() -> None:
    @dataclass(frozen=True)
    class OldItem:
        price: str
        count: int

    old = MsgpackSerializer((OldItem,))
    items = OldItem("1.5", 2), UnknownValue("Item", {"price": "2"})
    data = old.dumps({"id": str(GOOD.id), "items": items, "tags": {"x"}, "days": frozenset()})

    value = of(Order).loads("it", data)

    assert value.items == [Item(Decimal("1.5"), 2), Item(Decimal(2))]
    assert value.tags == {"x"}


def test_bytes_that_are_no_payload_are_refused() -> None:
    with pytest.raises(PayloadError, match="these bytes are no payload"):
        of(Item).loads("it", b"\xc1")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"price": 1.5}, "$.price: expected Decimal, got float"),
        ({"price": SECRET}, "$.price: expected Decimal, got a str that is none"),
    ],
)
def test_another_serializer_is_checked_too(value: Any, said: str) -> None:
    assert said in unfit(Item, value, Json())


def test_another_serializer_gets_types_of_json_alone() -> None:
    order = replace(GOOD, sent=dt.datetime(2024, 1, 1, tzinfo=dt.UTC), raw=b"ab", tags={"x"})

    there = json.loads(of(Order, Json()).dumps("it", order))

    assert (there["sent"], there["raw"], there["tags"]) == ("2024-01-01T00:00:00Z", "YWI=", ["x"])
    with pytest.raises(PayloadError, match="ratio: expected float, got Decimal"):
        of(Order, Json()).dumps("it", replace(GOOD, ratio=Decimal(1)))  # type: ignore[arg-type]


def test_a_payload_can_be_read_without_its_type() -> None:
    data = plain.dumps({"price": SECRET})

    assert of(Item).loads("it", data, typed=False) == {"price": SECRET}


@pytest.mark.usefixtures("undeclared")
def test_a_declaration_counts_where_the_settings_say_nothing_of_the_signal() -> None:
    before = of(Item)

    payload("declared", Item)
    payload("it", Order)

    assert before.loads("declared", plain.dumps({"price": "1"})) == Item(Decimal(1))
    assert before.loads("it", plain.dumps({"price": "1"})) == Item(Decimal(1))


@pytest.mark.usefixtures("undeclared")
def test_a_signal_is_declared_with_one_type() -> None:
    payload("it", Item)
    payload("it", Item)

    with pytest.raises(ConfigError, match="it is declared as Item and as list"):
        payload("it", list[Item])
    with pytest.raises(ConfigError, match="payload: it: complex holds"):
        payload("it", complex)

    assert arrived_by_declaration({"price": "1"}) == Item(Decimal(1))


def arrived_by_declaration(value: Any) -> Any:
    return Payloads(plain).loads("it", plain.dumps(value))


@pytest.mark.usefixtures("undeclared")
def test_of_threads_that_declare_different_types_one_is_told() -> None:
    told: list[ConfigError] = []

    def declare(kind: Any) -> None:
        try:
            payload("it", kind)
        except ConfigError as error:
            told.append(error)

    threads = [threading.Thread(target=declare, args=(kind,)) for kind in (Item, Order)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(told) == 1
