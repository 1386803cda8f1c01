"""What is sent under a topic that no chart listens to is told, and not taken for a success."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miros_mesh import MeshConfig, NoListener, Observer
from miros_mesh.signals import NO_LISTENER, PUBLIC_SIGNALS
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import KEY, Heard, Launch, event
from support.waiting import wait_until

SLIP, TOPIC = "plant.nroth", "plant.north"

Make = Callable[..., MeshConfig]


class Counting(Observer):
    def __init__(self) -> None:
        self.unrouted: list[tuple[str, int]] = []
        self.drops: list[str] = []

    def unroutable(self, *, peer: str, topic: str, events: int) -> None:
        self.unrouted.append((topic, events))

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self.drops.append(reason)


@pytest.fixture(params=["rabbitmq", "embedded", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Settings of a node on each kind of broker."""
    if request.param == "memory":
        return MemoryMesh().config
    if request.param == "embedded":
        return lambda **settings: MeshConfig(home=tmp_path / "mine", **settings)
    url = request.getfixturevalue("vhost_url")
    return lambda **settings: MeshConfig(broker_url=url, mesh_encryption_key=KEY, **settings)


def test_a_slip_in_a_topic_is_told(
    make: Make, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    counting, told = Counting(), list[tuple[str, Any]]()

    def listen(_: object, e: Any) -> None:
        if e.signal_name in PUBLIC_SIGNALS:
            told.append((e.signal_name, e.payload))

    config = make(observers=(counting,), tell_no_listener=True)
    heard = Heard()
    launch("receiver", config, heard, rx_routing_key=TOPIC)
    sender = launch("sender", config, listen, tx_routing_key=SLIP, rx_routing_key=TOPIC)

    sender.transmit(event("lost"))
    wait_until(lambda: counting.unrouted == [(SLIP, 1)])
    wait_until(lambda: told)

    [(signal, payload)] = told
    assert (signal, payload) == (NO_LISTENER, NoListener(payload.address, SLIP, 1))
    [line] = [message for message in caplog.messages if SLIP in message]
    assert f"did you mean {TOPIC}?" in line
    report = sender.stop()
    assert (report.sent, report.confirmed, report.dropped, report.unroutable) == (1, 1, 0, 1)
    assert counting.drops == []
    assert heard == []


def test_what_somebody_hears_is_no_slip_and_charts_are_not_told_unless_they_ask(
    make: Make, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    counting, told, heard = Counting(), list[str](), Heard()
    config = make(observers=(counting,))
    launch("receiver", make(node_name="other"), heard, rx_routing_key=TOPIC)

    def listen(_: object, e: Any) -> None:
        told.append(e.signal_name)

    # One that heard its own topic would be a listener.
    sender = launch("sender", config, listen, tx_routing_key=TOPIC, rx_routing_key="none")
    careless = launch("careless", config, Heard(), tx_routing_key=SLIP, rx_routing_key="none")

    careless.transmit(event("lost"))
    sender.transmit(event("heard"))
    wait_until(lambda: heard == [("heard", None)])
    wait_until(lambda: counting.unrouted == [(SLIP, 1)])
    # A second one finds the line said.
    careless.transmit(event("lost"))
    wait_until(lambda: counting.unrouted == [(SLIP, 1)] * 2)

    assert len([message for message in caplog.messages if SLIP in message]) == 1
    assert NO_LISTENER not in told
