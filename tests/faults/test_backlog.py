"""What waits for long, at a broker or in an outbox, comes whole, once and in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from miros import Event

from faults.conftest import Told, settings
from faults.relay import Relay
from miros_mesh import MeshConfig, NetworkedActiveObject
from support.charts_at_work import Heard, Launch
from support.waiting import wait_until

FEW = 3_000
MANY = 100_000
# For the largest, on a machine that others use as well.
LIMIT_S = 400.0
# Half of what an outbox has room for as it comes.
ROOM = 50_000
LARGE = {"outbox_events": 2 * MANY, "drain_timeout_s": 60.0}
SIZES = [FEW, pytest.param(MANY, marks=pytest.mark.proof)]


def send(chart: Any, events: int, *, room: int = ROOM) -> None:
    for number in range(events):
        chart.transmit(Event(signal="waits", payload=number))
        if number % 1_000 == 0:
            wait_until(lambda: chart.health().outbox_events < room, LIMIT_S)


def all_confirmed(chart: NetworkedActiveObject) -> None:
    wait_until(lambda: chart.health().outbox_events == 0, LIMIT_S)


@pytest.mark.parametrize("events", SIZES)
@pytest.mark.parametrize("broker", ["embedded", "rabbitmq"])
def test_events_for_a_named_node_that_is_away(
    broker: str, events: int, request: pytest.FixtureRequest, tmp_path: Path, launch: Launch
) -> None:
    def node(**changes: Any) -> MeshConfig:
        if broker == "embedded":
            return MeshConfig(home=tmp_path / "broker", observers=(Told(),), **changes)
        return settings(request.getfixturevalue("vhost_url"), **changes)

    # Given a node that was there once, and has left
    launch("receiver", node(node_name="receiver"), Heard()).stop()
    # When a sender has sent many events, and the broker has all of them
    sender = launch("sender", node(), Heard())
    send(sender, events)
    all_confirmed(sender)
    # Then the node finds all of them when it is back
    heard = Heard()
    launch("receiver", node(node_name="receiver"), heard)
    wait_until(lambda: len(heard) >= events, LIMIT_S)
    assert heard.payloads == list(range(events))
    report = sender.stop()
    assert (report.sent, report.confirmed, report.dropped) == (events, events, 0)


@pytest.mark.parametrize("events", SIZES)
def test_events_that_wait_while_the_broker_is_away(
    relay: Relay, relayed_url: str, vhost_url: str, events: int, launch: Launch
) -> None:
    # Given two nodes, and a sender whose broker does not answer any more
    heard = Heard()
    launch("receiver", settings(vhost_url, node_name="receiver"), heard)
    sender = launch("sender", settings(relayed_url, **LARGE), Heard())
    relay.refuse()
    # When it sends many events, and the broker is back
    send(sender, events, room=2 * MANY)
    assert sender.health().outbox_events == events
    relay.resume()
    # Then all of them come
    wait_until(lambda: len(heard) >= events, LIMIT_S)
    assert heard.payloads == list(range(events))
    all_confirmed(sender)
    report = sender.stop()
    assert (report.sent, report.confirmed, report.dropped) == (events, events, 0)


def test_an_outbox_without_a_broker_keeps_the_newest_within_its_bytes(
    relay: Relay, relayed_url: str, vhost_url: str, launch: Launch
) -> None:
    limit, told, heard = 200_000, Told(), Heard()
    launch("receiver", settings(vhost_url, node_name="receiver"), heard)
    config = settings(
        relayed_url, outbox_bytes=limit, max_event_bytes=10_000, frame_events=10, observers=(told,)
    )
    sender = launch("sender", config, Heard())
    relay.refuse()

    send(sender, FEW, room=2 * MANY)

    dropped = told.dropped_for("outbox_overflow")
    kept = sender.health().outbox_events
    assert kept + dropped == FEW
    assert 0 < kept * 50 < limit
    # What had to go is not in the outbox; it is still in the history, of which receivers ask.
    relay.resume()
    wait_until(lambda: len(heard) >= FEW, LIMIT_S)
    assert heard.payloads == list(range(FEW))
