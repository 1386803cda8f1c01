"""A real Prometheus scrapes two processes on a real RabbitMQ, by the files in `deploy/`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from cryptography.fernet import Fernet

from miros_mesh.observe.metrics.table import LOSSES
from support import doc_tables
from support.doc_pages import ROOT, block
from support.prometheus_server import LIMIT_S, Prometheus, PrometheusError, find_program
from support.rabbitmq_server import HOST, PASSWORD, USER, RabbitServer, free_ports
from support.waiting import wait_until

DEPLOY = ROOT / "deploy"
RUNBOOK = ROOT / "docs" / "runbook.md"
RULES = DEPLOY / "prometheus" / "miros_mesh.rules.yml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "miros_mesh.json").read_text())
PROGRAM = Path(__file__).parent / "programs" / "watched.py"
NAMES = ("left", "right")
NO_PROMETHEUS = (
    "needs the programs prometheus and promtool: `make test` as root installs them with apt; "
    "otherwise: sudo apt-get install prometheus"
)
WINDOW = "5s"
# These have data only once something has gone wrong, or somebody strange has come.
EMPTY_WHEN_WELL = {
    "Connections lost and not made",
    "Reconnects and blocks",
    "Brokers named by strangers",
}

PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


@dataclass(frozen=True)
class Watched:
    """The Prometheus, and the two processes that it scrapes."""

    prometheus: Prometheus
    instances: tuple[str, ...]


@pytest.fixture(scope="module")
def promtool() -> str:
    program = find_program("promtool")
    if program is None or find_program("prometheus") is None:
        if os.environ.get("CI") == "true":
            pytest.fail(NO_PROMETHEUS, pytrace=False)
        pytest.skip(NO_PROMETHEUS)
    return program


@pytest.fixture(scope="module")
def watched(
    promtool: str, rabbitmq: RabbitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    rabbitmq.start()
    folder = tmp_path_factory.mktemp("prometheus")
    with ExitStack() as stack:
        # Given two processes on one RabbitMQ, which also look for a broker that is not there
        environment = _environment(rabbitmq, folder)
        nodes = [_node(stack, name, environment) for name in NAMES]
        instances = tuple(f"{HOST}:{_port(node)}" for node in nodes)
        # And a Prometheus as it is deployed, but in more of a hurry
        config = _deployed(folder / "deploy", instances)
        prometheus = stack.enter_context(Prometheus(folder, config))
        wait_until(
            lambda: len(prometheus.query(f"count_over_time(up[{WINDOW}]) >= 4")) == len(NAMES),
            LIMIT_S,
            message="both processes were scraped some times",
        )
        yield Watched(prometheus, instances)


def test_both_processes_are_up_and_ready(watched: Watched) -> None:
    for metric in ("up", "miros_mesh_ready"):
        values = {labels["instance"]: value for labels, value in watched.prometheus.query(metric)}
        assert values == dict.fromkeys(watched.instances, 1)


def test_the_rate_of_publishing_is_that_of_the_charts(watched: Watched) -> None:
    rates = watched.prometheus.query(
        f'sum by (instance) (rate(miros_mesh_confirmed_events_total{{network="mesh"}}[{WINDOW}]))'
    )
    assert {labels["instance"] for labels, _ in rates} == set(watched.instances)
    # 50 events a second, with the pauses and the haste of a noisy machine.
    assert all(1 < rate < 200 for _, rate in rates)


def test_each_chart_hears_the_other_process(watched: Watched) -> None:
    handed = watched.prometheus.query(f"rate(miros_mesh_handed_over_events_total[{WINDOW}]) > 1")
    assert {labels["chart"] for labels, _ in handed} == {f"{n}_{c}" for n in NAMES for c in "ab"}


def test_discovery_tells_what_it_looked_at_and_for_how_long(watched: Watched) -> None:
    looks = watched.prometheus.query('miros_mesh_scouts_total{source="manual"} > 0')
    assert {labels["verdict"] for labels, _ in looks} == {"nothing"}
    runs = watched.prometheus.query('miros_mesh_search_seconds_count{source="manual"} > 0')
    assert len(runs) == len(looks) == len(NAMES)


def test_the_alerts_are_loaded_and_none_of_them_fires(watched: Watched) -> None:
    written = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    assert watched.prometheus.alerts() == written
    assert watched.prometheus.query("ALERTS") == []


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_query_of_the_dashboard_is_answered(
    watched: Watched, panel: dict[str, object]
) -> None:
    targets = panel["targets"]
    assert isinstance(targets, list)
    assert targets
    for target in targets:
        found = watched.prometheus.query(_filled(target["expr"]))
        if panel["title"] not in EMPTY_WHEN_WELL:
            assert found, target["expr"]


def test_the_variables_of_the_dashboard_find_what_is_scraped(watched: Watched) -> None:
    [job, instance] = DASHBOARD["templating"]["list"][1:]
    label_values = re.compile(r"label_values\((.*), (\w+)\)")
    for variable, values in ((job, {"miros_mesh"}), (instance, set(watched.instances))):
        [(series, label)] = label_values.findall(variable["query"])
        found = watched.prometheus.query(_filled(series))
        assert {labels[label] for labels, _ in found} == values


def test_a_query_that_is_none_is_told(watched: Watched) -> None:
    with pytest.raises(PrometheusError, match="parse error"):
        watched.prometheus.query("sum by (")


def test_every_metric_that_deploy_names_exists() -> None:
    exists = set(re.findall(r"`(miros_mesh_\w+)`", doc_tables.metrics()))
    named = set()
    for file in (RULES, DEPLOY / "grafana" / "miros_mesh.json"):
        for name in re.findall(r"miros_mesh_[a-z_]+\b(?!\.)", file.read_text()):
            named.add(re.sub(r"_(bucket|count|sum)$", "", name))
    assert named <= exists | {"miros_mesh_"}
    assert len(named) > 20


def test_alert_and_dashboard_know_the_same_losses_as_the_metrics() -> None:
    # A wrong key has an alert of its own.
    losses = set(LOSSES["mesh"]) - {"undecryptable"}
    queries = [target["expr"] for panel in PANELS for target in panel["targets"]]
    for text in (RULES.read_text(), "\n".join(queries)):
        [reasons] = re.findall(r'reason=~"([^"]+)"', text)
        assert set(reasons.split("|")) == losses


def test_every_alert_has_a_test() -> None:
    tests = (RULES.parent / "miros_mesh.rules.test.yml").read_text()
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    assert set(re.findall(r"alertname: (\w+)", tests)) == alerts


def test_every_alert_leads_to_its_section_of_the_runbook_and_each_section_has_an_alert() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    alerts = {rule["alert"]: rule["annotations"]["runbook"] for rule in group["rules"]}
    sections = re.findall(r"^## (MirosMesh\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert list(alerts) == sections
    # As headings become anchors.
    assert alerts == {name: f"docs/runbook.md#{name.lower()}" for name in sections}


def test_each_section_says_what_it_means_how_to_see_more_what_to_do_and_when_it_ends() -> None:
    _, *sections = re.split(r"^## MirosMesh", RUNBOOK.read_text(), flags=re.MULTILINE)
    for section in sections:
        said = re.findall(r"^\* \*\*([\w ]+)\*\*: ", section, re.MULTILINE)
        assert said == ["Means", "See more", "Do", "Ends"]


def test_the_runbook_names_metrics_that_exist() -> None:
    named = set(re.findall(r"`(miros_mesh_\w+)`", RUNBOOK.read_text()))
    assert named
    assert not [name for name in named if f"| `{name}` |" not in doc_tables.metrics()]


def test_a_link_is_made_of_the_annotation_as_the_runbook_says() -> None:
    script = block(RUNBOOK, "sh", "runbook_url")
    made = subprocess.run(
        ["sh", "-c", script], cwd=RULES.parent, capture_output=True, timeout=LIMIT_S, check=True
    )
    (group,) = yaml.safe_load(made.stdout)["groups"]
    assert {rule["annotations"]["runbook_url"] for rule in group["rules"]} == {
        f"https://HOST/runbook/#{rule['alert'].lower()}" for rule in group["rules"]
    }


def test_promtool_finds_no_fault_in_the_metrics(promtool: str, watched: Watched) -> None:
    for instance in watched.instances:
        with urllib.request.urlopen(f"http://{instance}/metrics", timeout=LIMIT_S) as response:
            text = response.read()
        ours = b"".join(line for line in text.splitlines(keepends=True) if b"miros_mesh_" in line)
        assert ours.count(b"# TYPE") > 20
        assert _run(promtool, "check", "metrics", stdin=ours) == ""


@pytest.mark.parametrize(
    "command",
    [
        ["check", "rules", "miros_mesh.rules.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "miros_mesh.rules.test.yml"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_promtool_finds_no_fault_in_what_is_deployed(promtool: str, command: list[str]) -> None:
    assert "SUCCESS" in _run(promtool, *command)


def _environment(rabbitmq: RabbitServer, folder: Path) -> dict[str, str]:
    hosts = folder / "hosts.json"
    hosts.write_text(json.dumps({"hosts": [f"{HOST}:{free_ports(1)[0]}"]}))
    return {
        **os.environ,
        "MIROS_MESH_RABBIT_USER": USER,
        "MIROS_MESH_RABBIT_PASSWORD": PASSWORD,
        "MIROS_MESH_RABBIT_PORT": str(rabbitmq.port),
        "MIROS_MESH_RABBIT_VIRTUAL_HOST": rabbitmq.new_vhost(),
        "MIROS_MESH_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "MIROS_MESH_DISCOVERY": "manual",
        "MIROS_MESH_DISCOVERY_HOSTS_FILE": str(hosts),
        "MIROS_MESH_HOME": str(folder / "home"),
    }


def _node(stack: ExitStack, name: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    node = subprocess.Popen(
        [sys.executable, str(PROGRAM), name],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    stack.callback(_end, node)
    return node


def _end(node: subprocess.Popen[str]) -> None:
    try:
        _, errors = node.communicate(timeout=LIMIT_S)
    finally:
        node.kill()
    assert node.returncode == 0, errors


def _port(node: subprocess.Popen[str]) -> int:
    assert node.stderr
    return int(node.stderr.readline() or 0)


def _deployed(folder: Path, instances: tuple[str, ...]) -> Path:
    shutil.copytree(DEPLOY / "prometheus", folder)
    targets = "\n".join(f"    - {instance}" for instance in instances)
    (folder / "targets" / "nodes.yml").write_text(f"- targets:\n{targets}\n")
    config = folder / "prometheus.yml"
    hurried = config.read_text().replace("15s", "500ms")
    config.write_text(hurried)
    return config


def _filled(query: str) -> str:
    """A query with the variables that Grafana fills in."""
    for variable, value in (
        ("$__rate_interval", WINDOW),
        ("$job", "miros_mesh"),
        ("$instance", ".+"),
    ):
        query = query.replace(variable, value)
    assert "$" not in query
    return query


def _run(*command: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        command,
        cwd=DEPLOY / "prometheus",
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LIMIT_S,
        check=False,
    )
    output = done.stdout.decode()
    assert done.returncode == 0, output
    return output
