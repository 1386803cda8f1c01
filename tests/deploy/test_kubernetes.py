"""`deploy/kubernetes`: what kustomize makes of it is valid, and its parts fit together."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from jsonschema import ValidationError  # type: ignore[import-untyped]

from miros_mesh import MeshConfig
from support.custom_resources import check, overridden
from support.deployed import DEPLOY
from support.doc_pages import ROOT
from support.manifests import Document, Rendered, containers

KUBERNETES = DEPLOY / "kubernetes"
FOLDERS = {
    "base": KUBERNETES / "base",
    **{folder.name: folder for folder in sorted((KUBERNETES / "overlays").iterdir())},
}
# The oldest that has containers which start first and stay, and the newest with a schema.
VERSIONS = ("1.29", "1.37")

folders = pytest.mark.parametrize("name", FOLDERS)
_rendered: dict[str, Rendered] = {}


@pytest.fixture(scope="module")
def made(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the two Secrets, with the files that the script has made."""
    folder = tmp_path_factory.mktemp("kubernetes") / "secrets"
    shutil.copytree(secrets, folder)
    shutil.copy(KUBERNETES / "secrets" / "kustomization.yaml", folder)
    return folder


@pytest.fixture
def rendered(name: str, made: Path) -> Rendered:
    """What is applied for one of the folders, the Secrets among it."""
    if name not in _rendered:
        _rendered[name] = Rendered(made, FOLDERS[name])
    return _rendered[name]


@folders
@pytest.mark.parametrize("version", VERSIONS)
def test_every_document_is_what_kubernetes_takes(rendered: Rendered, version: str) -> None:
    assert len(rendered.documents) > 5
    for document in rendered.documents:
        check(document, version)
    check(yaml.safe_load((KUBERNETES / "namespace.yaml").read_text()), version)


@pytest.mark.parametrize("name", ["cluster-operator"])
@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", "spec template spec"),
        ("PodDisruptionBudget", "spec"),
        ("PodMonitor", "spec podMetricsEndpoints 0"),
        ("RabbitmqCluster", "spec tls"),
        ("RabbitmqCluster", "spec override statefulSet spec template spec containers 0"),
    ],
)
def test_a_field_that_is_misspelt_is_found(rendered: Rendered, kind: str, path: str) -> None:
    [document, *_] = copy.deepcopy(rendered.kind(kind))
    place: Any = document
    for step in path.split():
        place = place[int(step) if step.isdigit() else step]
    place["misspelt"] = 1
    with pytest.raises(ValidationError, match="misspelt"):
        check(document, VERSIONS[-1])


@folders
def test_everything_is_in_the_namespace_of_its_own(rendered: Rendered) -> None:
    namespace = yaml.safe_load((KUBERNETES / "namespace.yaml").read_text())["metadata"]["name"]
    assert {each["metadata"].get("namespace") for each in rendered.documents} == {namespace}


@folders
def test_every_file_that_is_mounted_is_there(rendered: Rendered) -> None:
    for pod in rendered.pods():
        for container in containers(pod["spec"]):
            assert rendered.files(pod["spec"], container)


@folders
def test_the_settings_of_the_nodes_are_settings_and_their_files_are_mounted(
    rendered: Rendered, name: str, tmp_path: Path
) -> None:
    spec = rendered.one("Deployment", "doors")["spec"]["template"]["spec"]
    [container] = spec["containers"]
    environment = rendered.environment(container)
    # Given the files of the pod, as a kubelet puts them below /run/secrets
    for path, text in rendered.files(spec, container).items():
        file = tmp_path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(0o600)
        file.write_text(text)
    here = {key: value.replace("/run/", f"{tmp_path}/run/") for key, value in environment.items()}
    # Then the library takes them: it refuses each variable that it does not know
    config = MeshConfig.from_env(here)
    assert config.mode == ("ancestor" if name == "broker-per-pod" else "shared")
    assert config.mesh_encryption_key


@folders
def test_secrets_are_files_that_their_group_may_read_and_no_variables(rendered: Rendered) -> None:
    passwords = {"password", "broker_url", "mesh.key", "users.json"}
    for pod in rendered.pods():
        assert pod["spec"]["securityContext"]["fsGroup"]
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o440
        for container in containers(pod["spec"]):
            assert "secretKeyRef" not in str(container)
            assert not passwords & set(rendered.environment(container))


@folders
def test_pods_keep_to_the_restricted_standard(rendered: Rendered) -> None:
    pods = list(rendered.pods())
    assert pods
    for pod in pods:
        own = pod["spec"]["securityContext"]
        assert own["runAsNonRoot"] is True
        assert own["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["spec"]["automountServiceAccountToken"] is False
        for container in containers(pod["spec"]):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context.get("runAsUser", own["runAsUser"]) > 0
            assert {"requests", "limits"} <= container["resources"].keys()


@folders
def test_what_selects_pods_finds_some(rendered: Rendered) -> None:
    labels = [pod["metadata"]["labels"] for pod in rendered.pods()]
    # The cluster operator labels its pods so.
    labels += [
        {"app.kubernetes.io/name": each["metadata"]["name"]}
        for each in rendered.kind("RabbitmqCluster")
    ]
    found = [_selector(each) for each in rendered.documents]
    selectors = [each for each in found if each]
    assert len(selectors) >= 4
    for selector in selectors:
        assert [each for each in labels if selector.items() <= each.items()], selector


@folders
def test_every_port_that_is_named_is_one_of_the_pod(rendered: Rendered) -> None:
    for pod in rendered.pods():
        for container in containers(pod["spec"]):
            ports = {each["name"] for each in container.get("ports", [])}
            probes = [
                container.get(f"{kind}Probe") for kind in ("startup", "liveness", "readiness")
            ]
            asked = {_asked(probe)["port"] for probe in probes if probe}
            assert asked <= ports
    [monitor] = rendered.kind("PodMonitor")
    [container] = rendered.one("Deployment", "doors")["spec"]["template"]["spec"]["containers"]
    [metrics] = container["ports"]
    assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == [metrics["name"]]


@folders
def test_a_pod_has_the_time_to_end_that_the_page_on_the_life_cycle_asks_for(
    rendered: Rendered,
) -> None:
    spec = rendered.one("Deployment", "doors")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > 2 * MeshConfig().drain_timeout_s + 10


@folders
def test_nodes_reach_the_name_server_and_their_broker_and_nothing_else(
    rendered: Rendered, name: str
) -> None:
    policy = rendered.one("NetworkPolicy", "doors")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    ports = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 5672 if name == "broker-per-pod" else 5671]
    assert all(rule["to"] for rule in policy["egress"])


@pytest.mark.parametrize("name", ["broker-per-pod"])
def test_the_name_that_nodes_look_up_is_that_of_the_headless_service(rendered: Rendered) -> None:
    [service] = rendered.kind("Service")
    [container] = rendered.one("Deployment", "doors")["spec"]["template"]["spec"]["containers"]
    config = rendered.environment(container)
    assert service["spec"]["clusterIP"] == "None"
    assert config["MIROS_MESH_DISCOVERY"] == "dns"
    assert config["MIROS_MESH_DISCOVERY_DNS_NAMES"] == service["metadata"]["name"]


@pytest.mark.parametrize("name", ["shared", "broker-per-pod"])
def test_the_memory_of_the_broker_is_that_of_its_container(rendered: Rendered) -> None:
    [(spec, broker)] = [
        (pod["spec"], each)
        for pod in rendered.pods()
        for each in containers(pod["spec"])
        if each["name"] == "rabbitmq"
    ]
    conf = rendered.files(spec, broker)["/etc/rabbitmq/conf.d/50-size.conf"]
    [size] = re.findall(r"^total_memory_available_override_value = (\d+[MG])B$", conf)
    assert broker["resources"]["limits"]["memory"] == f"{size}i"


@pytest.mark.parametrize("name", ["cluster-operator"])
def test_the_servers_of_the_operator_get_the_same_files_as_a_server_of_our_own(
    rendered: Rendered, made: Path
) -> None:
    [cluster] = rendered.kind("RabbitmqCluster")
    spec = overridden(cluster)["spec"]["template"]["spec"]
    files = rendered.files(spec, spec["containers"][0])
    assert (
        files["/etc/rabbitmq/definitions.json"]
        == (DEPLOY / "rabbitmq" / "definitions.json").read_text()
    )
    assert files["/etc/rabbitmq/secrets/users.json"] == (made / "broker" / "users.json").read_text()
    assert (
        files["/etc/rabbitmq/conf.d/20-mesh.conf"]
        == (DEPLOY / "rabbitmq" / "rabbitmq.conf").read_text()
    )
    # And the Secret has what the operator looks for.
    assert {"tls.crt", "tls.key"} <= rendered.one("Secret", "mesh-broker")["data"].keys()
    assert cluster["spec"]["tls"]["secretName"] == "mesh-broker"


@pytest.mark.parametrize("name", ["shared"])
def test_a_change_of_settings_makes_new_pods_and_one_of_secrets_does_not(
    rendered: Rendered,
) -> None:
    names = [each["metadata"]["name"] for each in rendered.kind("ConfigMap")]
    assert all(re.fullmatch(r"[a-z-]+-[a-z0-9]{10}", each) for each in names)
    assert {each["metadata"]["name"] for each in rendered.kind("Secret")} == {
        "mesh-broker",
        "mesh-nodes",
    }


def test_the_image_has_the_version_of_the_library() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    [image] = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text())["images"]
    assert image["newTag"] == version


def test_the_rules_of_prometheus_are_those_of_a_prometheusrule_by_the_command_of_the_page() -> None:
    page = (KUBERNETES / "README.md").read_text()
    [command] = re.findall(r"^```sh\n(\{.*?)^```", page, re.MULTILINE | re.DOTALL)
    made, _, applied = command.rpartition(" | ")
    assert applied == "kubectl apply --filename -\n"
    done = subprocess.run(
        ["sh", "-c", made], cwd=KUBERNETES, capture_output=True, timeout=60, check=True
    )
    document = yaml.safe_load(done.stdout)
    check(document, VERSIONS[-1])
    rules = yaml.safe_load((DEPLOY / "prometheus" / "miros_mesh.rules.yml").read_text())
    assert document["spec"] == rules


def test_the_commands_of_the_page_can_be_parsed_and_name_what_is_there() -> None:
    page = (KUBERNETES / "README.md").read_text()
    for script in re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        subprocess.run(["sh", "-n", "-c", script], timeout=60, check=True)
    named = re.findall(r"(?:--kustomize |--filename |--from-file=|\bsh )([\w./-]+/?[\w.-]+)", page)
    files = [name for name in named if "/" in name or name == "secrets"]
    assert len(files) > 8
    assert not [name for name in files if not (KUBERNETES / name).exists()]


def test_no_secret_can_be_committed() -> None:
    done = subprocess.run(
        ["git", "check-ignore", "authority/ca.key", "broker/users.json", "nodes/broker_url"],
        cwd=KUBERNETES / "secrets",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "not a git repository" not in done.stderr:
        assert len(done.stdout.splitlines()) == 3


def _asked(probe: Document) -> Document:
    return dict(probe.get("httpGet") or probe["tcpSocket"])


def _selector(document: Document) -> dict[str, str]:
    spec = document.get("spec", {})
    if document["kind"] == "Service":
        return dict(spec["selector"])
    selector = spec.get("podSelector") or spec.get("selector") or {}
    return dict(selector.get("matchLabels", {}))
