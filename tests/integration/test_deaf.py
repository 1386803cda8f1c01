"""A broker that refuses queues to a node at work: who hears nothing is told, and hears again."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from miros_mesh import MeshConfig, SnoopMonitor
from miros_mesh.node.node import NODES
from miros_mesh.observe.metrics.observer import MetricsObserver
from miros_mesh.observe.server import start_metrics_server
from support.charts_at_work import KEY, Heard, Launch, event
from support.rabbitmq_server import RabbitServer, erlang_string
from support.scraped import scraped
from support.waiting import wait_until

LIMIT_S = 30.0


@dataclass
class Account:
    """A user of the broker's with a virtual host of its own."""

    server: RabbitServer
    vhost: str
    user: str

    @property
    def url(self) -> str:
        return self.server.url(self.vhost, self.user, "own")

    def may_read(self, pattern: str) -> None:
        """Let the user read these queues and exchanges only, from the next connection on."""
        self.server.set_permissions(self.user, self.vhost, read=pattern)
        user = erlang_string(self.user)
        self.server.eval(
            '[rabbit_networking:close_connection(Each, "permissions have changed") '
            "|| Each <- rabbit_networking:connections(), "
            f"rabbit_networking:connection_info(Each, [user]) =:= [{{user, {user}}}]]"
        )


@pytest.fixture
def account(rabbitmq: RabbitServer) -> Iterator[Account]:
    made = Account(rabbitmq, rabbitmq.new_vhost(), f"own-{secrets.token_hex(4)}")
    rabbitmq.add_user(made.user, "own")
    rabbitmq.set_permissions(made.user, made.vhost)
    yield made
    rabbitmq.delete_user(made.user)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def config(account: Account, registry: CollectorRegistry) -> MeshConfig:
    return MeshConfig(
        broker_url=account.url,
        mesh_encryption_key=KEY,
        observers=(MetricsObserver(registry),),
    )


def ready(port: int) -> tuple[int, list[str]]:
    """What Kubernetes is told."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/ready")
        response = connection.getresponse()
        return response.status, json.load(response)["problems"]
    finally:
        connection.close()


def test_a_node_whose_queues_are_all_refused_is_not_ready_and_names_each_chart(
    account: Account, config: MeshConfig, registry: CollectorRegistry, launch: Launch
) -> None:
    heard = Heard()
    charts = launch("door", config, heard), launch("bell", config)
    node, home = charts[0].health().node, charts[0].health().home
    with start_metrics_server(0, registry=registry) as server:
        assert ready(server.port) == (200, [])

        account.may_read("^nothing$")

        wait_until(lambda: len(charts[0].health().deaf_charts) == 2, LIMIT_S)
        wait_until(lambda: charts[0].health().deaf_networks, LIMIT_S)
        health = charts[0].health()
        assert health.deaf_charts == {"door": "permission", "bell": "permission"}
        assert health.deaf_networks == {"repair": "permission"}
        assert not health.consuming
        wait_until(lambda: charts[0].health().connected, LIMIT_S)
        status, problems = ready(server.port)
        assert status == 503
        assert sorted(problems) == [
            f"chart bell of node {node} hears nothing: permission",
            f"chart door of node {node} hears nothing: permission",
            f"network repair of node {node} hears nothing: permission",
        ]
        samples = scraped(registry)
        assert (samples["ready"], samples[f"subscribed/{home}"]) == (0, 0)
        assert (samples["chart_deaf/door"], samples["chart_deaf/bell"]) == (1, 1)

        account.server.set_permissions(account.user, account.vhost)

        # Without a reconnect, and with what is sent from now on.
        wait_until(lambda: charts[0].health().ready, LIMIT_S)
        assert ready(server.port) == (200, [])
        assert scraped(registry)[f"subscribed/{home}"] == 1
    charts[1].transmit(event("again"))
    wait_until(lambda: heard == [("again", None)], LIMIT_S)


def test_one_chart_that_is_refused_is_named_until_it_leaves_and_the_others_hear(
    account: Account, config: MeshConfig, registry: CollectorRegistry, launch: Launch
) -> None:
    heard = Heard()
    door, bell = launch("door", config), launch("bell", config, heard)
    home = bell.health().home

    account.may_read(r"^(?!.*\.door\.)")

    wait_until(lambda: bell.health().deaf_charts == {"door": "permission"}, LIMIT_S)
    wait_until(lambda: bell.health().connected, LIMIT_S)
    assert bell.health().deaf_networks == {}
    assert scraped(registry)[f"subscribed/{home}"] == 0
    door.transmit(event("heard all the same"))
    wait_until(lambda: heard == [("heard all the same", None)], LIMIT_S)

    door.stop()

    wait_until(lambda: bell.health().ready, LIMIT_S)
    assert scraped(registry)[f"subscribed/{home}"] == 1


def test_a_monitor_that_is_refused_its_networks_names_them(
    account: Account, config: MeshConfig
) -> None:
    with SnoopMonitor(config, networks=("snoop_trace",)):
        [node] = NODES.live
        assert node.health().ready

        account.may_read("^nothing$")

        expected = {"snoop_trace": "permission", "repair": "permission"}
        wait_until(lambda: node.health().deaf_networks == expected, LIMIT_S)
        assert not node.health().ready
