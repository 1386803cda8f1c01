"""Payloads of declared types between nodes of one version, of two, and without the type."""

from __future__ import annotations

import json
import logging
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
import pytest

from miros_mesh import DeadLetters, MeshConfig, SnoopRecord, payload
from miros_mesh.__main__ import main
from miros_mesh.errors import PayloadError
from miros_mesh.wire import typed_payloads
from support.charts_at_work import Ground, Heard, Launch, Recorder, event
from support.waiting import wait_until

SECRET = "4711-secret"


class Kind(Enum):
    NEW = "new"
    USED = "used"


class Item(msgspec.Struct, frozen=True):
    price: Decimal
    kind: Kind = Kind.NEW


@dataclass
class Order:
    """The first version."""

    id: uuid.UUID
    items: list[Item]
    day: date | None = None
    tags: set[str] = field(default_factory=set)


@dataclass
class NewOrder:
    """The second version: a field more, a field less."""

    id: uuid.UUID
    items: list[Item]
    tags: frozenset[str] = frozenset()
    takes: timedelta = timedelta(days=1)
    placed: datetime | None = None


ID = uuid.UUID(int=7)
ITEMS = [Item(Decimal("1.10")), Item(Decimal(20), Kind.USED)]
ORDER = Order(ID, ITEMS, date(2024, 2, 29), {"a"})
NEW = NewOrder(ID, ITEMS, frozenset({"a"}), timedelta(hours=2), datetime(2024, 1, 1, tzinfo=UTC))
TREE = {
    "id": str(ID),
    "items": [{"price": "1.10", "kind": "new"}, {"price": "20", "kind": "used"}],
    "day": "2024-02-29",
    "tags": ["a"],
}
ONE = {"payloads": {"ordered": Order}}
TWO = {"payloads": {"ordered": NewOrder}}


@pytest.mark.parametrize(
    ("sender", "sent", "receiver", "got"),
    [
        (ONE, ORDER, ONE, ORDER),
        (ONE, ORDER, TWO, NewOrder(ID, ITEMS, frozenset({"a"}))),
        (TWO, NEW, ONE, Order(ID, ITEMS, None, {"a"})),
        (TWO, NEW, TWO, NEW),
        (ONE, ORDER, {}, TREE),
        ({}, TREE, ONE, ORDER),
        ({}, TREE | {"more": [1]}, TWO, NewOrder(ID, ITEMS, frozenset({"a"}))),
        ({}, {"id": str(ID), "items": ()}, ONE, Order(ID, [])),
    ],
    ids=["1-1", "1-2", "2-1", "2-2", "1-none", "none-1", "none-2", "none-1 defaults"],
)
def test_versions_understand_each_other(
    ground: Ground, launch: Launch, sender: Any, sent: Any, receiver: Any, got: Any
) -> None:
    heard = Heard()
    launch("b", ground.node("two", **receiver), heard)

    launch("a", ground.node("one", **sender)).transmit(event("ordered", sent))

    wait_until(lambda: heard == [("ordered", got)])
    assert type(heard.payloads[0]) is type(got)


def test_what_is_sent_on_by_a_node_without_the_type_arrives_as_what_it_was(
    ground: Ground, launch: Launch
) -> None:
    heard = Heard()

    def pass_on(chart: Any, received: Any) -> None:
        chart.transmit(event("ordered", received.payload))

    launch("c", ground.node("three", **ONE), heard, rx_routing_key="away")
    launch("b", ground.node("two"), pass_on, tx_routing_key="away", rx_routing_key="here")

    launch("a", ground.node("one", **ONE), tx_routing_key="here").transmit(event("ordered", ORDER))

    wait_until(lambda: heard == [("ordered", ORDER)])


@pytest.mark.parametrize("ground", ["embedded"], indirect=True)
def test_a_sender_is_told_at_once_and_nothing_is_sent(ground: Ground, launch: Launch) -> None:
    heard = Heard()
    launch("b", ground.node("two", **ONE), heard)
    sender = launch("a", ground.node("one", **ONE))

    with pytest.raises(PayloadError) as raised:
        sender.transmit(event("ordered", Order(ID, [Item(1.5)])))  # type: ignore[arg-type]
    assert str(raised.value) == "$.items[0].price: expected Decimal, got float"

    sender.transmit(event("other", (1, {2})))
    wait_until(lambda: heard == [("other", (1, {2}))])


def test_what_does_not_fit_is_a_dead_letter_with_path_and_reason(
    ground: Ground, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    heard, recorder = Heard(), Recorder()
    config = ground.node("two", observers=(recorder,), **ONE)
    launch("b", config, heard)
    sender = launch("a", ground.node("one"))

    with caplog.at_level(logging.DEBUG):
        sender.transmit(event("ordered", {"id": str(ID), "items": [{"price": SECRET}]}))
        sender.transmit(event("ordered", TREE))
        wait_until(lambda: heard == [("ordered", ORDER)])

    assert recorder.drops == [("mesh", "payload", 1)]
    assert recorder.deaths == []
    with DeadLetters(config) as letters:
        wait_until(lambda: len(letters.list()) == 1)
        (letter,) = letters.list()
        said = "$.items[0].price: expected Decimal, got a str that is none"
        assert (letter.reason, letter.detail) == ("payload", said)
        assert letters.payload(letter, typed=False)["items"] == [{"price": SECRET}]
        with pytest.raises(PayloadError, match="expected Decimal"):
            letters.payload(letter)
    assert SECRET not in caplog.text


@pytest.mark.parametrize("ground", ["embedded", "rabbitmq"], indirect=True)
def test_a_dead_letter_can_be_put_back_once_the_receiver_has_the_version(
    ground: Ground, launch: Launch
) -> None:
    heard, old = Heard(), ground.node("two", payloads={"ordered": Item})
    chart = launch("b", old)
    launch("a", ground.node("one", **ONE)).transmit(event("ordered", ORDER))
    with DeadLetters(old) as letters:
        wait_until(lambda: len(letters.list()) == 1)
        chart.stop()
        launch("b", ground.node("two", **ONE), heard)

        letters.retry(letters.list()[0])

    wait_until(lambda: heard == [("ordered", ORDER)])


@pytest.mark.parametrize("ground", ["embedded"], indirect=True)
@pytest.mark.parametrize("declared", [True, False])
def test_the_command_shows_what_does_not_fit(
    ground: Ground,
    launch: Launch,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    declared: bool,
) -> None:
    monkeypatch.setattr(typed_payloads, "_declared", {})
    if declared:
        payload("ordered", Order)
    launch("b", config := ground.node("two", **ONE))
    # Of another process, since what is declared counts in all nodes of this one.
    launch("a", ground.node("one", payloads={"ordered": dict})).transmit(event("ordered", {"a": 1}))
    with DeadLetters(config) as letters:
        wait_until(lambda: len(letters.list()) == 1)
        (letter,) = letters.list()

    assert main(["dead-letters", "show", "--json", letter.id]) == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown["payload"] == {"a": 1}
    assert shown["detail"] == "$: has no field id, and there is no default"


@pytest.mark.parametrize("ground", ["embedded"], indirect=True)
def test_a_declaration_counts_for_nodes_that_run_already(
    ground: Ground, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typed_payloads, "_declared", {})
    heard = Heard()
    launch("b", ground.node("two"), heard)
    sender = launch("a", ground.node("one"))
    with pytest.raises(PayloadError, match="add its class to payload_types"):
        sender.transmit(event("ordered", ORDER))

    payload("ordered", Order)
    sender.transmit(event("ordered", ORDER))

    wait_until(lambda: heard == [("ordered", ORDER)])


class Json:
    """A program's own serializer, which knows JSON alone."""

    name = "json"

    def dumps(self, payload: Any) -> bytes:
        return json.dumps(payload).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


JSON = Json()


@pytest.mark.parametrize("ground", ["embedded"], indirect=True)
def test_types_work_over_another_serializer(ground: Ground, launch: Launch) -> None:
    heard = Heard()
    launch("b", ground.node("two", serializer=JSON, **TWO), heard)

    launch("a", ground.node("one", serializer=JSON, **TWO)).transmit(event("ordered", NEW))

    wait_until(lambda: heard == [("ordered", NEW)])


class Reading:
    """A program's own serializer, with types of its own and errors that name places."""

    name = "reading"

    def dumps(self, payload: Any) -> bytes:
        try:
            return msgspec.json.encode(payload)
        except TypeError as error:
            raise PlaceError(["items", 3], SECRET) from error

    def loads(self, data: bytes) -> Any:
        return msgspec.json.decode(data, type=list[Item])


class PlaceError(Exception):
    def __init__(self, path: list[Any], text: str) -> None:
        super().__init__(text)
        self.path = path


READING = Reading()


@pytest.mark.parametrize("ground", ["embedded"], indirect=True)
def test_errors_of_another_serializer_name_place_and_cause(ground: Ground, launch: Launch) -> None:
    config = ground.node("two", serializer=READING)
    launch("b", config)
    sender = launch("a", ground.node("one", serializer=READING))

    with pytest.raises(PayloadError) as raised:
        sender.transmit(event("ordered", object()))
    sender.transmit(event("ordered", [{"price": SECRET}]))

    assert str(raised.value) == (
        "the serializer reading cannot write this payload: PlaceError, caused by TypeError, "
        "at $.items[3]"
    )
    with DeadLetters(config) as letters:
        wait_until(lambda: len(letters.list()) == 1)
        detail = letters.list()[0].detail
    assert "ValidationError ($[0].price: expected Decimal, got a str that is none)" in detail
    assert SECRET not in detail


@pytest.mark.parametrize("ground", ["embedded"], indirect=True)
def test_those_who_watch_see_the_event_and_not_its_payload(ground: Ground, launch: Launch) -> None:
    heard = Heard()
    records: list[SnoopRecord] = []
    watcher = launch("watcher", ground.node("three"), on_spy_rx=records.append)
    watcher.enable_snoop_spy_no_color()
    launch("b", ground.node("two", **ONE), heard).enable_snoop_spy_no_color()

    launch("a", ground.node("one", **ONE)).transmit(
        event("ordered", Order(ID, ITEMS, tags={SECRET}))
    )

    wait_until(lambda: any(each.chart == "b" and "ordered" in each.text for each in records))
    assert len(heard) == 1
    assert not any(SECRET in each.text for each in records)


def test_charts_share_a_node_if_their_payloads_are_equal() -> None:
    assert MeshConfig(**ONE) == MeshConfig(payloads={"ordered": Order})  # type: ignore[arg-type]
    assert MeshConfig(**ONE) != MeshConfig(**TWO)  # type: ignore[arg-type]
