"""Tuples, sets, named tuples and dataclasses between nodes that know their classes, and others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from miros_mesh import DeadLetters, MeshConfig, SnoopRecord, UnknownValue
from miros_mesh.__main__ import main
from miros_mesh.errors import PayloadError
from support.charts_at_work import Ground, Heard, Launch, Recorder, event
from support.waiting import wait_until


class Point(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True)
class Order:
    number: int
    at: Point
    tags: frozenset[str]


TYPES = (Point, Order)
ORDER = Order(7, Point(1, 2), frozenset({"new", "paid"}))
PAYLOAD = {"order": ORDER, "way": (Point(0, 0), (3, [4])), "seen": {Point(5, 6)}}
POINT_THERE = UnknownValue("Point", {"x": 1, "y": 2})


def test_payloads_arrive_as_what_they_were(ground: Ground, launch: Launch) -> None:
    heard = Heard()
    launch("b", ground.node("two", payload_types=TYPES), heard)

    launch("a", ground.node("one", payload_types=TYPES)).transmit(event("ordered", PAYLOAD))

    wait_until(lambda: heard == [("ordered", PAYLOAD)])
    (payload,) = heard.payloads
    assert type(payload["order"]) is Order
    assert type(payload["order"].at) is Point
    assert [type(each) for each in payload["way"]] == [Point, tuple]
    assert [type(each) for each in payload["seen"]] == [Point]


def test_a_node_that_does_not_know_the_types_sends_them_on_unchanged(
    ground: Ground, launch: Launch
) -> None:
    heard, between = Heard(), Heard()

    def pass_on(chart: Any, received: Any) -> None:
        between(chart, received)
        chart.transmit(event("passed_on", received.payload))

    launch("c", ground.node("three", payload_types=TYPES), heard, rx_routing_key="away")
    launch("b", ground.node("two"), pass_on, tx_routing_key="away", rx_routing_key="here")
    sender = launch("a", ground.node("one", payload_types=TYPES), tx_routing_key="here")

    sender.transmit(event("ordered", PAYLOAD))

    wait_until(lambda: heard == [("passed_on", PAYLOAD)])
    (there,) = between.payloads
    assert there["order"].type_name == "Order"
    assert there["order"].fields == {"number": 7, "at": POINT_THERE, "tags": ORDER.tags}
    assert there["seen"] == {UnknownValue("Point", {"x": 5, "y": 6})}


@pytest.mark.parametrize("payload", [Point(1, 2), {"a": [ORDER]}])
def test_a_sender_is_told_which_setting_is_missing(
    ground: Ground, launch: Launch, payload: Any
) -> None:
    chart = launch("a", ground.node("one"))

    with pytest.raises(PayloadError, match="add its class to payload_types of MeshConfig"):
        chart.transmit(event("ordered", payload))


class Wider(NamedTuple):
    x: int
    y: int
    z: int


def test_a_value_that_cannot_be_made_is_a_dead_letter_and_ends_no_chart(
    ground: Ground, launch: Launch
) -> None:
    wide = type("Point", (Wider,), {})
    heard, recorder = Heard(), Recorder()
    config = ground.node("two", payload_types=(wide,), observers=(recorder,))
    launch("b", config, heard)
    sender = launch("a", ground.node("one", payload_types=TYPES))

    sender.transmit(event("narrow", {"at": Point(1, 2)}))
    sender.transmit(event("plain", (1, 2)))

    wait_until(lambda: heard == [("plain", (1, 2))])
    assert recorder.drops == [("mesh", "payload", 1)]
    assert recorder.deaths == []


@pytest.fixture
def kept(ground: Ground, launch: Launch) -> Callable[[MeshConfig, Heard], MeshConfig]:
    """Send the order to a chart that fails once and is called `two`/`b`; return its settings."""

    def send(config: MeshConfig, heard: Heard) -> MeshConfig:
        failures = iter([ZeroDivisionError()])

        def fail_once(chart: Any, received: Any) -> None:
            for failure in failures:
                raise failure
            heard(chart, received)

        launch("b", config, fail_once, on_handler_error="dead_letter")
        sender = launch("a", ground.node("one", payload_types=TYPES))
        sender.transmit(event("ordered", PAYLOAD))
        with DeadLetters(config) as letters:
            wait_until(lambda: len(letters.list()) == 1)
        return config

    return send


@pytest.mark.parametrize("ground", ["embedded", "rabbitmq"], indirect=True)
def test_a_dead_letter_shows_them_and_is_put_back_unchanged(
    ground: Ground, kept: Callable[[MeshConfig, Heard], MeshConfig]
) -> None:
    heard = Heard()
    config = kept(ground.node("two", payload_types=TYPES), heard)

    with DeadLetters(ground.make()) as stranger:
        assert stranger.payload(stranger.list()[0])["order"].fields["at"] == POINT_THERE
        with DeadLetters(config) as letters:
            assert letters.payload(letters.list()[0]) == PAYLOAD
        stranger.retry(stranger.list()[0])

    wait_until(lambda: heard == [("ordered", PAYLOAD)])


@pytest.mark.parametrize("ground", ["embedded"], indirect=True)
def test_the_command_shows_them(
    ground: Ground,
    kept: Callable[[MeshConfig, Heard], MeshConfig],
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = kept(ground.node("two"), Heard())
    with DeadLetters(config) as letters:
        (letter,) = letters.list()

    assert main(["dead-letters", "show", letter.id]) == 0
    assert "UnknownValue('Point', {'x': 0, 'y': 0})" in capsys.readouterr().out
    assert main(["dead-letters", "show", "--json", letter.id]) == 0

    shown = json.loads(capsys.readouterr().out)["payload"]
    point = {"type": "Point", "fields": {"x": 5, "y": 6}}
    assert shown["seen"] == [point]
    assert shown["order"]["fields"]["tags"] == ["new", "paid"]


def test_those_who_watch_see_the_event(ground: Ground, launch: Launch) -> None:
    heard = Heard()
    records: list[SnoopRecord] = []
    watcher = launch("watcher", ground.node("three"), on_spy_rx=records.append)
    watcher.enable_snoop_spy_no_color()
    launch("b", ground.node("two"), heard).enable_snoop_spy_no_color()
    sender = launch("a", ground.node("one", payload_types=TYPES))

    sender.transmit(event("ordered", PAYLOAD))

    wait_until(lambda: any(each.chart == "b" and "ordered" in each.text for each in records))
    assert len(heard) == 1
