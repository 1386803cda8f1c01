"""`examples/doors.py` with the settings and files of `deploy/`, on a RabbitMQ of `deploy/`.

No engine runs here: a process stands for each container, a folder for each volume.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from miros_mesh.observe.logs import from_ecs
from support import compose, container_image
from support.deployed import DEPLOY, BrokerOfContainer, write_files
from support.door_service import Door
from support.manifests import Rendered
from support.rabbitmq_server import HOST, free_ports
from support.waiting import wait_until

GRACE_S = 30.0


@pytest.fixture(scope="module")
def shared(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """What is applied for one shared RabbitMQ."""
    kubernetes = DEPLOY / "kubernetes"
    folder = tmp_path_factory.mktemp("kubernetes") / "secrets"
    shutil.copytree(secrets, folder)
    shutil.copy(kubernetes / "secrets" / "kustomization.yaml", folder)
    return Rendered(folder, kubernetes / "overlays" / "shared")


@pytest.fixture(scope="module")
def broker(
    shared: Rendered, rabbitmq_programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerOfContainer]:
    """The RabbitMQ of the StatefulSet, with all files that its pod has."""
    spec = shared.one("StatefulSet", "mesh-rabbitmq")["spec"]["template"]["spec"]
    files = shared.files(spec, spec["containers"][0])
    found = BrokerOfContainer(tmp_path_factory.mktemp("broker"), rabbitmq_programs, files)
    try:
        found.server.start()
        yield found
    finally:
        found.server.close()


@pytest.fixture
def nodes_secrets(secrets: Path, broker: BrokerOfContainer, tmp_path: Path) -> Path:
    """What the nodes get, with the port of this broker."""
    folder = tmp_path / "nodes-secrets"
    shutil.copytree(secrets / "nodes", folder)
    _rewrite_port(folder / "broker_url", broker.port)
    return folder


def test_the_broker_has_one_user_and_no_guest_and_the_policies(broker: BrokerOfContainer) -> None:
    assert _names(broker, "user", "rabbit_auth_backend_internal:list_users()") == {"mesh"}
    written = json.loads((DEPLOY / "rabbitmq" / "definitions.json").read_text())["policies"]
    policies = _names(broker, "name", 'rabbit_policy:list(<<"mesh">>)')
    assert policies == {each["name"] for each in written}


def test_the_server_knows_the_memory_of_its_container(broker: BrokerOfContainer) -> None:
    assert broker.server.eval("vm_memory_monitor:get_total_memory()") == str(10**9)


def test_the_doors_of_compose_hear_each_other_over_tls(nodes_secrets: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        doors = {
            name: stack.enter_context(_of_compose(name, nodes_secrets, tmp_path))
            for name in ("front", "back")
        }
        for door in doors.values():
            body = door.wait_for("/ready")
            assert body["nodes"][0]["home"].startswith("amqps://mesh@")
        # The log lines of both are where Filebeat looks for them.
        logs = tmp_path / "logs"
        wait_until(
            lambda: all("opened" in _states(logs / f"{name}.json", name) for name in doors), GRACE_S
        )
        # And both are well, also by the health check of the image, until they are asked to end.
        for door in doors.values():
            assert door.wait_for("/live")["status"] == "alive"
            assert "miros_mesh_ready 1.0" in door.ask("/metrics")[1]
        assert _healthy(doors["front"]) is True
        for door in doors.values():
            assert door.terminate(GRACE_S) == []
        assert _healthy(doors["front"]) is False


def test_a_pod_is_ready_where_its_probes_look_and_ends_in_its_time(
    shared: Rendered, broker: BrokerOfContainer, tmp_path: Path
) -> None:
    spec = shared.one("Deployment", "doors")["spec"]["template"]["spec"]
    [container] = spec["containers"]
    # Given a folder for each volume, as a kubelet fills them
    write_files(tmp_path, shared.files(spec, container))
    paths = [each["mountPath"] for each in container["volumeMounts"]]
    mounts = {path: tmp_path / path[1:] for path in paths}
    _rewrite_port(tmp_path / "run/secrets/mesh/broker_url", broker.port)
    environment = shared.environment(container)
    arguments = [each.replace("$(POD_NAME)", "doors-1") for each in container["args"]]
    # When its process runs
    with Door(arguments, {**container_image.environment(), **environment}, mounts) as door:
        for probe in ("readinessProbe", "livenessProbe"):
            door.wait_for(container[probe]["httpGet"]["path"])
        wait_until(lambda: door.ask("/metrics")[0] == 200)
        # Then it logs to the output, and ends before it is killed
        lines = door.terminate(spec["terminationGracePeriodSeconds"])
    said = [json.loads(line)["message"] for line in lines]
    assert "doors-1 begins, and knocks every 0.2 s" in said


def test_a_door_whose_broker_is_not_there_yet_is_alive_and_not_ready(
    secrets: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "nodes-secrets"
    shutil.copytree(secrets / "nodes", folder)
    _rewrite_port(folder / "broker_url", free_ports(1)[0])
    patient = {"MIROS_MESH_CONNECTION_ATTEMPTS": "100"}
    with _of_compose("front", folder, tmp_path, patient) as door:
        door.wait_for("/live")
        assert door.wait_for("/ready", 503)["status"] == "not ready"
        assert _healthy(door) is False
        door.terminate(GRACE_S)


def _names(broker: BrokerOfContainer, field: str, found: str) -> set[str]:
    names = broker.server.eval(f"[binary_to_list(proplists:get_value({field}, E)) || E <- {found}]")
    return set(json.loads(names))


def _of_compose(
    name: str, nodes_secrets: Path, tmp_path: Path, more: dict[str, str] | None = None
) -> Door:
    service = compose.services()[name]
    volumes = {"nodes-secrets": nodes_secrets, "nodes-home": tmp_path / "home-of-nodes"}
    volumes["logs"] = tmp_path / "logs"
    mounts = {}
    for each in service["volumes"]:
        mounts[each["target"]] = volumes[each["source"]]
        volumes[each["source"]].mkdir(exist_ok=True)
    settings = {**container_image.environment(), **service["environment"], **(more or {})}
    return Door(service["command"], settings, mounts)


def _healthy(door: Door) -> bool:
    _, *words = container_image.arguments("HEALTHCHECK")
    assert "127.0.0.1:9464/" in words[-1]
    words[-1] = words[-1].replace("127.0.0.1:9464", f"{HOST}:{door.port}")
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, timeout=GRACE_S, check=False
    )
    return done.returncode == 0


def _states(log: Path, door: str) -> list[str | None]:
    """The states that a door has entered, as its own log says."""
    lines = log.read_text().splitlines() if log.exists() else []
    snoop = [from_ecs(record) for record in map(json.loads, lines) if "miros_mesh" in record]
    return [record.to_state for record in snoop if record.chart == door]


def _rewrite_port(file: Path, port: int) -> None:
    text = file.read_text()
    assert ":5671/" in text
    file.write_text(text.replace(":5671/", f":{port}/"))
    file.chmod(0o600)
