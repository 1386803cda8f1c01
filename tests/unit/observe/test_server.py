"""The server of the metrics, asked over loopback by a client that knows HTTP and nothing else."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from miros_mesh import Health
from miros_mesh.health import NO_NODE, Outage
from miros_mesh.observe.http_server import MAX_CONNECTIONS
from miros_mesh.observe.server import (
    MetricsServer,
    start_metrics_server,
    wsgi_app,
)
from support.rabbitmq_server import HOST, free_ports
from support.waiting import wait_until

HOME = "amqp://mesh@192.0.2.7:5672//"
WELL = Health("one", True, {HOME: "up"}, (), 0, HOME)


@pytest.fixture
def nodes() -> list[Health]:
    return [WELL]


@pytest.fixture
def server(nodes: list[Health]) -> Iterator[MetricsServer]:
    registry = CollectorRegistry()
    Counter("knocks", "At the door.", registry=registry).inc(3)
    with MetricsServer(wsgi_app(registry, health=lambda: nodes), 0, HOST) as server:
        yield server


def ask(server: MetricsServer, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, content type and body."""
    connection = http.client.HTTPConnection(HOST, server.port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read().decode()
        return response.status, response.headers.get_content_type(), body
    finally:
        connection.close()


def ask_json(server: MetricsServer, path: str) -> tuple[int, Any]:
    status, kind, body = ask(server, path)
    assert kind == "application/json"
    return status, json.loads(body)


def test_metrics_are_those_of_the_registry(server: MetricsServer) -> None:
    status, kind, body = ask(server, "/metrics")
    assert (status, kind) == (200, "text/plain")
    assert "knocks_total 3.0" in body


def test_a_node_that_is_connected_and_consumes_is_ready(server: MetricsServer) -> None:
    status, body = ask_json(server, "/ready")
    assert (status, body["status"], body["problems"]) == (200, "ready", [])
    assert body["nodes"][0]["node"] == "one"


@pytest.mark.parametrize(
    ("health", "problems"),
    [
        (
            Health("one", False, {HOME: "up"}, (), 0, HOME),
            [f"node one does not consume from {HOME}"],
        ),
        (
            Health("one", True, {HOME: "down"}, (), 0, HOME),
            [f"node one has no connection to send to {HOME}"],
        ),
        (
            Health("one", False, {HOME: "up"}, (), 0, HOME, {}, {"door": "permission"}),
            ["chart door of node one hears nothing: permission"],
        ),
    ],
)
def test_ready_says_why_not(
    server: MetricsServer, nodes: list[Health], health: Health, problems: Sequence[str]
) -> None:
    nodes[:] = [WELL, health]
    status, body = ask_json(server, "/ready")
    assert (status, body["status"], body["problems"]) == (503, "not ready", problems)


def test_a_process_without_a_chart_is_alive_and_not_ready(
    server: MetricsServer, nodes: list[Health]
) -> None:
    nodes.clear()
    assert ask_json(server, "/live")[0] == 200
    status, body = ask_json(server, "/ready")
    assert (status, body["problems"]) == (503, [NO_NODE])


def test_a_lost_or_blocked_broker_kills_nobody(server: MetricsServer, nodes: list[Health]) -> None:
    outages = {HOME: Outage("credentials", 1.5)}
    nodes[:] = [Health("one", False, {HOME: "down"}, (), 7, HOME, outages)]
    assert ask_json(server, "/live") == (
        200,
        {
            "status": "alive",
            "problems": [],
            "nodes": [
                {
                    "node": "one",
                    "consuming": False,
                    "peers": {HOME: "down"},
                    "dead_charts": [],
                    "outbox_events": 7,
                    "home": HOME,
                    "outages": {HOME: {"reason": "credentials", "since": 1.5}},
                    "deaf_charts": {},
                    "deaf_networks": {},
                    "keys": {},
                    "key_problems": {},
                    "dead_threads": [],
                }
            ],
        },
    )
    nodes[:] = [Health("one", True, {HOME: "blocked"}, (), 7, HOME)]
    assert ask_json(server, "/ready")[0] == 200


def test_a_dead_chart_asks_for_a_restart(server: MetricsServer, nodes: list[Health]) -> None:
    nodes[:] = [Health("one", True, {HOME: "up"}, ("door",), 0, HOME)]
    status, body = ask_json(server, "/live")
    assert (status, body["status"]) == (503, "dead")
    assert body["problems"] == ["chart door of node one is dead: a handler raised, as the log says"]


def test_head_has_no_body_and_other_methods_are_refused(server: MetricsServer) -> None:
    assert ask(server, "/live", "HEAD") == (200, "application/json", "")
    assert ask(server, "/live", "POST")[0] == 405
    assert ask(server, "/metrics", "POST")[0] == 405


def test_any_other_path_says_which_there_are(server: MetricsServer) -> None:
    status, body = ask_json(server, "/metrics/all")
    assert (status, body) == (404, {"paths": ["/metrics", "/live", "/ready"]})


def test_an_error_of_ours_is_logged_and_answered_without_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> Sequence[Health]:
        raise LookupError("secret")

    with MetricsServer(wsgi_app(CollectorRegistry(), health=fail), 0, HOST) as server:
        status, _, body = ask(server, "/ready")
    assert (status, "secret" in body) == (500, False)
    assert "/ready could not be answered" in caplog.text


def test_a_server_is_shown_by_its_address(server: MetricsServer) -> None:
    assert repr(server) == f"<MetricsServer http://127.0.0.1:{server.port}>"


def test_it_listens_at_an_ipv6_address() -> None:
    with start_metrics_server(0, "::1", CollectorRegistry()) as server:
        assert server.url == f"http://[::1]:{server.port}"
        socket.create_connection(("::1", server.port), timeout=10).close()


def test_stop_frees_the_port_and_ends_every_thread() -> None:
    (port,) = free_ports(1)
    for _ in range(2):
        server = start_metrics_server(port, registry=CollectorRegistry())
        assert ask(server, "/metrics")[0] == 200
        server.stop()
        server.stop()
        assert not [each for each in threading.enumerate() if "metrics" in each.name]


def test_a_client_that_says_nothing_holds_up_neither_others_nor_the_stop(
    server: MetricsServer,
) -> None:
    with socket.create_connection((HOST, server.port), timeout=10) as silent:
        wait_until(lambda: [t for t in threading.enumerate() if t.name.endswith("-request")])
        assert ask(server, "/live")[0] == 200
        server.stop()
        assert silent.recv(1) == b""


def test_more_connections_than_there_may_be_are_closed(server: MetricsServer) -> None:
    silent = [
        socket.create_connection((HOST, server.port), timeout=10) for _ in range(MAX_CONNECTIONS)
    ]
    try:
        with socket.create_connection((HOST, server.port), timeout=10) as surplus:
            surplus.sendall(b"GET /live HTTP/1.0\r\n\r\n")
            with suppress(ConnectionResetError):
                assert not surplus.recv(1)
    finally:
        for each in silent:
            each.close()
    wait_until(lambda: ask(server, "/live")[0] == 200)


FORGETFUL = """
from miros_mesh.observe.server import start_metrics_server
print(start_metrics_server(0).port)
"""


def test_a_program_that_forgets_to_stop_it_ends_all_the_same() -> None:
    command = [sys.executable, "-c", FORGETFUL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert int(done.stdout)
    assert done.stderr == ""
