"""How a node is, as an endpoint of a program would tell it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from miros_mesh import Health, MeshConfig, NetworkedActiveObject
from miros_mesh.errors import NotStartedError, StoppedError
from miros_mesh.health import NO_NODE
from miros_mesh.observe.server import start_metrics_server
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import KEY, Ground, Heard, Launch, event, node_of
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

DYING = Path(__file__).with_name("programs") / "dying.py"

Ask = Callable[[str], tuple[int, list[str]]]


def test_a_node_that_is_well(ground: Ground, launch: Launch) -> None:
    chart = launch("well", ground.node("one"))
    peer = node_of(chart).home.name
    keys = chart.health().keys
    assert set(keys) == {"mesh", "snoop_trace", "snoop_spy"}
    expected = Health("one", True, {peer: "up"}, (), 0, peer, keys=keys)
    assert chart.health() == expected == node_of(chart).health()
    assert chart.health().ready


@pytest.fixture
def ask() -> Iterator[Ask]:
    """What Kubernetes is told at a path: the status, and what is wrong."""
    with start_metrics_server(0, registry=CollectorRegistry()) as server:

        def get(path: str) -> tuple[int, list[str]]:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                return response.status, json.load(response)["problems"]
            finally:
                connection.close()

        yield get


def test_a_node_whose_broker_goes_and_comes(
    rabbitmq: RabbitServer, vhost_url: str, launch: Launch, ask: Ask
) -> None:
    assert ask("/ready") == (503, [NO_NODE])
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY, heartbeat_interval_s=2)
    chart = launch("waiting", config)
    address = config.brokers[0].redacted
    assert ask("/ready") == (200, [])
    rabbitmq.stop()
    wait_until(lambda: not chart.health().consuming)
    wait_until(lambda: chart.health().peers == {address: "down"})
    wait_until(lambda: chart.health().outages[address].reason == "unreachable")
    why = f"{address}: {chart.health().outages[address]}"
    assert chart.health().unready == (
        f"node {chart.health().node} does not consume from {why}",
        f"node {chart.health().node} has no connection to send to {why}",
    )
    assert ask("/ready") == (503, list(chart.health().unready))
    assert ask("/live") == (200, [])
    for number in range(7):
        chart.transmit(event("waits", number))
    assert chart.health().outbox_events == 7
    rabbitmq.start()
    wait_until(lambda: chart.health().consuming and not chart.health().outbox_events, 30)
    assert chart.health().peers == {address: "up"}
    assert chart.health().outages == {}
    assert ask("/ready") == (200, [])


def test_a_node_whose_broker_takes_nothing(
    rabbitmq: RabbitServer, vhost_url: str, launch: Launch
) -> None:
    chart = launch("blocked", MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY))
    with rabbitmq.memory_alarm():
        chart.transmit(event("blocked"))
        wait_until(lambda: set(chart.health().peers.values()) == {"blocked"})
    wait_until(lambda: set(chart.health().peers.values()) == {"up"})


def test_a_node_with_a_dead_chart(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def fail(_: object, __: object) -> None:
        raise ZeroDivisionError

    config = MemoryMesh().config()
    fragile, robust = launch("fragile", config, fail), launch("robust", config)
    fragile.post_fifo(event("poison"))
    wait_until(lambda: robust.health().dead_charts == ("fragile",))
    status, [problem] = ask("/live")
    assert (status, ask("/ready")) == (503, (200, []))
    assert problem.startswith("chart fragile of node ")
    # Until somebody takes note and stops it
    fragile.stop()
    assert ask("/live") == (200, [])
    assert robust.health().dead_charts == ()


def test_a_dead_chart_shows_its_traceback_to_a_program_that_configured_nothing() -> None:
    died = _died("silent")
    assert died.stdout == "mortal\n"
    assert died.stderr.count("Traceback") == 1
    assert died.stderr.endswith("ValueError: login failed password=hunter2\n")


def test_a_dead_chart_is_told_once_and_masked_to_a_program_that_logs() -> None:
    died = _died("json")
    assert died.stdout == "mortal\n"
    [error] = [line["error"] for line in map(json.loads, died.stderr.splitlines())]
    assert error["message"] == "login failed password=***"
    assert "hunter2" not in died.stderr


def test_a_hook_of_the_application_gets_what_ended_a_chart() -> None:
    assert _died("hooked").stdout == "ValueError\nmortal\n"


def test_there_is_none_outside_a_charts_life(launch: Launch) -> None:
    chart = NetworkedActiveObject("early", config=MemoryMesh().config())
    with pytest.raises(NotStartedError, match="health"):
        chart.health()
    stopped = launch("late", MemoryMesh().config(), Heard())
    node: Any = node_of(stopped)
    stopped.stop()
    with pytest.raises(StoppedError, match="health"):
        stopped.health()
    ended = node.health()
    assert ended == Health(node.name, False, {}, (), 0, node.home.name, keys=ended.keys)


def _died(how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DYING), how]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
