"""Nodes on RabbitMQ with somebody between who does them harm."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest

from faults.relay import HOST, Relay
from faults.traffic import EVERY_S, TABLE, Handled, Stream, accounted
from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.config.secret_file import SecretFile
from support.charts_at_work import KEY, Handle, Heard, Launch, Recorder, alone
from support.rabbitmq_server import RabbitServer, find_programs
from support.tables import FAULT

# Short, so that two missed heartbeats and a dead attempt to connect do not take a minute.
QUICK = {"heartbeat_interval_s": 1.0, "connect_timeout_s": 1.5, "confirm_timeout_s": 5.0}
# Long, so that a busy machine does not break connections where the fault is not one of the link.
PATIENT = {"heartbeat_interval_s": 10.0, "confirm_timeout_s": 30.0}
BESIDE = "beside"

Others = Callable[..., AbstractContextManager[None]]


class Told(Recorder):
    """Keeps also what tells of a node's links."""

    def __init__(self) -> None:
        super().__init__()
        self.missing = 0
        self.subscriptions = 0
        self.latencies: list[float] = []
        self.blocks: list[str] = []

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.missing += missing

    def subscribed(self, *, broker: str) -> None:
        self.subscriptions += 1

    def blocked(self, *, peer: str) -> None:
        self.blocks.append("on")

    def unblocked(self, *, peer: str) -> None:
        self.blocks.append("off")

    def handed_over(self, *, chart: str, seconds: float) -> None:
        self.latencies.append(seconds)

    def dropped_for(self, *reasons: str) -> int:
        """How many events were dropped for one of these reasons."""
        return sum(events for _, reason, events in self.drops if reason in reasons)


def settings(url: str | SecretFile | None, **changes: Any) -> MeshConfig:
    """Settings of one more node, which notices soon what is wrong."""
    # Charts of equal settings would share a node; no two recorders are equal.
    given = {"observers": (Told(),), **QUICK, **changes}
    return MeshConfig(broker_url=url, mesh_encryption_key=KEY, **given)


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Start a chart of one state on a node; it stops after the test."""
    with ExitStack() as running:

        def start(
            name: str, config: MeshConfig, handle: Handle, **arguments: Any
        ) -> NetworkedActiveObject:
            chart = NetworkedActiveObject(name, config=config, **arguments)
            chart.start_at(alone(handle, spied=False))
            running.callback(chart.stop)
            return chart

        yield start


@pytest.fixture
def others(launch: Launch) -> Others:
    """Two charts beside a fault, on the nodes of given settings: nothing happens to their events.

    `with others(fault, receiving, sending):`
    """

    @contextmanager
    def meanwhile(fault: str, receiving: MeshConfig, sending: MeshConfig) -> Iterator[None]:
        handled = Handled()
        launch("bystander", receiving, handled, rx_routing_key=BESIDE)
        # One that heard its own topic would hear of it.
        speaker = launch("speaker", sending, Heard(), tx_routing_key=BESIDE, rx_routing_key="none")
        with Stream(speaker, every_s=5 * EVERY_S) as stream:
            yield
            sent = stream.end()
        account = accounted(f"{fault}: others", sent, handled)
        assert account.perfect, account

    return meanwhile


@pytest.fixture(scope="module")
def own_broker(
    rabbitmq: RabbitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RabbitServer]:
    """A server that a test may stop, kill and freeze; the one of the session stays up."""
    programs = find_programs()
    assert programs is not None
    server = RabbitServer(tmp_path_factory.mktemp("faults") / "node", programs)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def own_url(own_broker: RabbitServer) -> str:
    """The URL of this test's own virtual host there."""
    own_broker.start()
    return own_broker.url(own_broker.new_vhost())


@pytest.fixture
def relay(rabbitmq: RabbitServer) -> Iterator[Relay]:
    """A relay in front of the session's RabbitMQ."""
    with Relay(rabbitmq.port) as between:
        yield between


@pytest.fixture
def relayed_url(relay: Relay, rabbitmq: RabbitServer, vhost_url: str) -> str:
    """The URL of this test's virtual host, through the relay."""
    return vhost_url.replace(f"{HOST}:{rabbitmq.port}", f"{HOST}:{relay.port}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Put what a test counted into its report, which reaches the process that prints."""
    try:
        return (yield)
    finally:
        item.user_properties += [(FAULT, str(row)) for row in TABLE]
        TABLE.clear()
