"""What `deploy/` says is what a RabbitMQ does with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from miros import Event, return_status, signals, spy_on

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.errors import PermissionDeniedError
from miros_mesh.node.network_specs import largest_message
from miros_mesh.wire.codec import FRAME_OVERHEAD_BYTES
from miros_mesh.wire.envelope import ENVELOPE_BYTES
from support.broker_files import FOLDER, definitions
from support.charts_at_work import KEY, Heard, Launch, event
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

VHOST = "mesh"
# The default of RabbitMQ 4, below that of all versions before.
RABBITMQ_4_LIMIT_BYTES = 16 * 1024 * 1024
OWN_NAMES = r"^miros_mesh\."
# As a number, since what is long is not printed whole.
_LISTS = ("list_user_permissions", "list_user_topic_permissions")
_LISTED = ", ".join(f'rabbit_auth_backend_internal:{each}(<<"mesh">>)' for each in _LISTS)
OF_MESH = f"erlang:phash2([{_LISTED}])"


@pytest.fixture
def deployed(rabbitmq: RabbitServer) -> Iterator[RabbitServer]:
    """The server with the definitions and a user who may do only what `deploy/README.md` says."""
    rabbitmq.start()
    rabbitmq.import_definitions(definitions("definitions.json"))
    rabbitmq.add_user("mesh", "secret")
    rabbitmq.set_permissions("mesh", VHOST, OWN_NAMES, OWN_NAMES, OWN_NAMES)
    yield rabbitmq
    rabbitmq.delete_user("mesh")
    rabbitmq.delete_vhost(VHOST)


def test_a_chart_works_with_the_documented_permissions_and_gets_the_documented_policies(
    deployed: RabbitServer,
) -> None:
    # Given a chart of the restricted user that snoops on everything
    heard: list[object] = []

    @spy_on
    def listening(chart: NetworkedActiveObject, event: Event) -> int:
        if event.signal == signals.deploy_ping:
            heard.append(event.payload)
            return return_status.HANDLED
        chart.temp.fun = chart.top
        return return_status.SUPER

    config = MeshConfig(
        broker_url=deployed.url(VHOST, "mesh", "secret"),
        mesh_encryption_key=KEY,
    )
    listener = NetworkedActiveObject("listener", config=config)
    listener.enable_snoop_trace_no_color()
    listener.start_at(listening)
    sender = NetworkedActiveObject("sender", config=config)
    sender.start_at(listening)
    try:
        # When another chart transmits
        sender.transmit(Event(signal=signals.deploy_ping, payload=1))
        # Then the event arrives
        wait_until(lambda: heard == [1])
        # And every queue of the mesh has its policy
        policies = _policies(deployed)
    finally:
        sender.stop()
        listener.stop()
    assert {policies[name] for name in policies if ".mesh." in name} == {"miros-mesh-events"}
    assert {policies[name] for name in policies if ".snoop_" in name} == {"miros-mesh-snoop"}


def test_a_node_with_a_certificate_gets_the_fewest_rights_that_let_it_work(
    deployed: RabbitServer, launch: Launch
) -> None:
    # Given the user of a certificate, which a test cannot be without TLS, and a password for it
    deployed.import_definitions(definitions("certified_user.json", user="press"))
    deployed.rabbitmqctl("change_password", "press", "secret")
    deployed.import_definitions(definitions("permissions/node.json", node="press", hears="press"))
    url = deployed.url(VHOST, "press", "secret")
    config = MeshConfig(broker_url=url, mesh_encryption_key=KEY, node_name="press")
    heard = Heard()
    # When its charts talk, then nothing is refused
    launch("stamp", config, heard, tx_routing_key="press.state")
    die = launch("die", config, tx_routing_key="press.state")
    die.transmit(event("pressed"))
    wait_until(lambda: heard == [("pressed", None)])
    assert deployed.refusals("press") == []
    # And what is not its own is
    with pytest.raises(PermissionDeniedError):
        launch("ear", config, tx_routing_key="press.ear", rx_routing_key="belt.#")
    deployed.delete_user("press")


def test_a_server_takes_the_permissions_of_each_role(deployed: RabbitServer) -> None:
    blanks = dict.fromkeys(("node", "user", "hears", "group", "host"), "mesh")
    listed = [deployed.eval(OF_MESH)]
    for file in (FOLDER / "permissions").iterdir():
        deployed.import_definitions(definitions(f"permissions/{file.name}", **blanks))
        listed.append(deployed.eval(OF_MESH))
    # Each in place of the one before
    assert len(set(listed)) == len(listed) == 6


def test_the_server_takes_the_configuration(tmp_path: Path, rabbitmq: RabbitServer) -> None:
    configured = RabbitServer(
        tmp_path / "node", rabbitmq.programs, (FOLDER / "rabbitmq.conf").read_text()
    )
    try:
        configured.start()
        assert configured.eval("rabbit_misc:get_env(rabbit, max_message_size, 0)") == "4194304"
    finally:
        configured.close()


def _policies(server: RabbitServer) -> dict[str, str]:
    rows = server.rabbitmqctl(
        "list_queues", "--vhost", VHOST, "--formatter", "json", "name", "policy"
    )
    return {row["name"]: row["policy"] for row in json.loads(rows)}


def test_a_broker_takes_the_largest_frame_that_default_settings_may_seal() -> None:
    conf = (FOLDER / "rabbitmq.conf").read_text()
    [limit] = re.findall(r"^max_message_size = (\d+)$", conf, re.MULTILINE)
    config = MeshConfig()
    # A message of repair holds an event beside its own words.
    largest = largest_message(config) + ENVELOPE_BYTES + FRAME_OVERHEAD_BYTES

    assert largest <= int(limit) <= RABBITMQ_4_LIMIT_BYTES
    assert config.frame_bytes <= config.max_event_bytes < int(limit)
