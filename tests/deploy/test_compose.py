"""`deploy/compose.yaml`: the real Docker Compose reads it, and its services fit together."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from miros_mesh import MeshConfig
from support import compose, container_image
from support.compose import services
from support.deployed import DEPLOY, LIMIT_S, SCRIPT
from support.manifests import kustomize
from support.prometheus_server import find_program

NODES = ("front", "back")


def test_docker_compose_has_no_complaint() -> None:
    assert compose.complaints() == ""


def test_there_is_everything_that_a_mesh_is_watched_with() -> None:
    others = {"prometheus", "grafana", "elasticsearch", "kibana", "filebeat"}
    assert {"rabbitmq", *NODES, *others} <= services().keys()


@pytest.mark.parametrize("name", compose.NAMES)
def test_an_image_has_its_version(name: str) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?", services()[name]["image"])


def test_the_image_of_the_nodes_has_the_version_of_the_library_as_in_kubernetes() -> None:
    [image] = {services()[name]["image"] for name in NODES}
    base = yaml.safe_load((DEPLOY / "kubernetes" / "base" / "kustomization.yaml").read_text())
    assert image == f"miros-mesh:{base['images'][0]['newTag']}"


def test_rabbitmq_is_that_of_kubernetes() -> None:
    shared = kustomize(DEPLOY / "kubernetes" / "overlays" / "shared")
    assert f"image: {services()['rabbitmq']['image']}\n" in shared


@pytest.mark.parametrize("name", compose.NAMES)
def test_a_port_is_open_to_this_machine_alone(name: str) -> None:
    ports = services()[name].get("ports", [])
    assert {each["host_ip"] for each in ports} <= {"127.0.0.1"}


@pytest.mark.parametrize("name", compose.NAMES)
def test_every_file_that_is_mounted_is_there_and_cannot_be_changed(name: str) -> None:
    for each in services()[name].get("volumes", []):
        if each["type"] == "bind":
            assert Path(each["source"]).is_file()
            assert each["read_only"] is True


def test_no_secret_is_in_a_variable() -> None:
    names = {name for each in services().values() for name in each.get("environment") or {}}
    assert names
    assert not [
        name for name in names if name.endswith(("PASSWORD", "PASS", "KEY", "TOKEN", "URL"))
    ]


def test_each_part_gets_its_own_secrets_and_no_others() -> None:
    volumes = {
        name: {each["source"] for each in service.get("volumes", []) if each["type"] == "volume"}
        for name, service in services().items()
    }
    ours = {"authority", "broker-secrets", "nodes-secrets"}
    had = {name: sources & ours for name, sources in volumes.items()}
    assert had.pop("secrets") == ours
    assert had.pop("rabbitmq") == {"broker-secrets"}
    for name in NODES:
        assert had.pop(name) == {"nodes-secrets"}
    assert not set().union(*had.values())


def test_the_first_container_makes_what_the_others_mount(tmp_path: Path) -> None:
    # Given its command, with this machine's folder and user in place of those of the image
    service = services()["secrets"]
    script, folder, *hosts = service["entrypoint"][1:]
    [source] = [each["source"] for each in service["volumes"] if each["target"] == script]
    assert Path(source) == SCRIPT
    own = f"{os.getuid()}:{os.getgid()}"
    owners = dict.fromkeys(service["environment"], own)
    subprocess.run(
        ["sh", source, str(tmp_path), *hosts],
        env={**os.environ, **owners},
        capture_output=True,
        timeout=LIMIT_S,
        check=True,
    )
    # Then the volumes hold what the settings of the nodes and of the broker name
    made = {
        each["source"]: tmp_path / Path(each["target"]).relative_to(folder)
        for each in service["volumes"]
        if each["type"] == "volume"
    }
    conf = "".join(
        Path(each["source"]).read_text()
        for each in services()["rabbitmq"]["volumes"]
        if each["target"].startswith("/etc/rabbitmq/conf.d/")
    )
    named = set(re.findall(r"/etc/rabbitmq/secrets/(\S+)", conf))
    assert named == {file.name for file in made["broker-secrets"].iterdir()}
    for name in NODES:
        variables = services()[name]["environment"]
        files = {Path(value).name for value in variables.values() if value.startswith("/run/")}
        assert files <= {file.name for file in made["nodes-secrets"].iterdir()}
    # And the nodes find the broker under the name of its service
    assert "@rabbitmq:5671/" in (made["nodes-secrets"] / "broker_url").read_text()
    assert hosts[0] == "rabbitmq"


def test_the_owners_of_the_secrets_are_the_users_of_the_images() -> None:
    owners = services()["secrets"]["environment"]
    [user] = container_image.values("USER")
    assert owners["NODES_OWNER"] == user
    shared = list(yaml.safe_load_all(kustomize(DEPLOY / "kubernetes" / "overlays" / "shared")))
    [broker] = [each for each in shared if each["kind"] == "StatefulSet"]
    context = broker["spec"]["template"]["spec"]["securityContext"]
    assert owners["BROKER_OWNER"] == f"{context['runAsUser']}:{context['runAsGroup']}"


@pytest.mark.parametrize("name", NODES)
def test_a_node_can_write_only_where_it_has_to(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["tmpfs"] == ["/tmp"]
    written = {each["target"] for each in service["volumes"] if not each.get("read_only")}
    assert written == {"/var/lib/miros_mesh", "/var/log/doors"}


@pytest.mark.parametrize("name", NODES)
def test_a_node_has_the_time_to_end_that_the_page_on_the_life_cycle_asks_for(name: str) -> None:
    assert services()[name]["stop_grace_period"] == "30s"
    assert 2 * MeshConfig().drain_timeout_s + 10 < 30


def test_filebeat_reads_the_logs_of_the_nodes_and_knows_where_elasticsearch_is() -> None:
    filebeat = yaml.safe_load((DEPLOY / "elk" / "filebeat.yml").read_text())
    [source] = filebeat["filebeat.inputs"]
    [logs] = [each for each in services()["filebeat"]["volumes"] if each["source"] == "logs"]
    for name in NODES:
        log = services()[name]["command"][-1]
        assert log.startswith(f"{logs['target']}/")
        assert any(fnmatch.fnmatch(log, pattern) for pattern in source["paths"])
    [setting] = [word for word in services()["filebeat"]["command"] if word.startswith("output.")]
    path, _, value = setting.partition("=")
    assert path.split(".")[1] in filebeat["output.elasticsearch"] or "hosts" in path
    assert yaml.safe_load(value) == ["http://elasticsearch:9200"]


def test_prometheus_accepts_the_files_as_they_are_mounted_and_scrapes_the_nodes(
    tmp_path: Path,
) -> None:
    promtool = find_program("promtool")
    if promtool is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    for each in services()["prometheus"]["volumes"]:
        if each["type"] == "bind":
            file = tmp_path / each["target"].removeprefix("/etc/prometheus/")
            file.parent.mkdir(exist_ok=True)
            file.write_text(Path(each["source"]).read_text())
    done = subprocess.run(
        [promtool, "check", "config", "prometheus.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [group] = yaml.safe_load((tmp_path / "targets" / "nodes.yml").read_text())
    assert group["targets"] == [f"{name}:9464" for name in NODES]


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    mounts = {each["target"]: each["source"] for each in services()["grafana"]["volumes"]}
    sources = yaml.safe_load(
        Path(mounts["/etc/grafana/provisioning/datasources/miros_mesh.yml"]).read_text()
    )
    [source] = sources["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [port] = services()["prometheus"]["ports"]
    assert port["target"] == 9090
    # Rates are taken over a few scrapes, so Grafana has to know how often there is one.
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    providers = yaml.safe_load(
        Path(mounts["/etc/grafana/provisioning/dashboards/miros_mesh.yml"]).read_text()
    )
    [provider] = providers["providers"]
    home = services()["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).parent == Path(provider["options"]["path"])
    assert Path(mounts[home]) == DEPLOY / "grafana" / "miros_mesh.json"


def test_what_is_asked_of_elasticsearch_and_kibana_is_what_the_page_on_elk_asks() -> None:
    page = (DEPLOY / "elk" / "README.md").read_text().replace("\\\n", "")
    asked = [shlex.split(line) for line in page.splitlines() if line.startswith("curl ")]
    for name, words in zip(("index-template", "saved-search"), asked, strict=True):
        here = [*services()[name]["entrypoint"], *services()[name]["command"]]
        assert here[:2] == ["curl", "--fail"]
        # A header, a file, a path: the host is another one, and the file is mounted.
        said = [word for word in words if re.search(r": |@|://", word)]
        assert len(said) == 3
        for word in said:
            path = re.sub(r"^http://[\w.:]+", "", word).replace("@", "@/")
            assert any(path in each for each in here), path
