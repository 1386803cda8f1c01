"""The benchmark measures what it says, quickly and small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from miros_mesh import MeshConfig
from miros_mesh.wire.keyring import generate_key
from support.rabbitmq_server import RabbitServer

sys.path.append(str(Path(__file__).parents[2] / "bench"))
from brokers import Measured, with_vhosts
from scale import peers

BENCH = Path(__file__).parents[2] / "bench"
LIMIT_S = 100.0
# Of many processes, on a machine that others use as well.
LONG_LIMIT_S = 500.0
SMALL = ["--runs", "1", "--events", "500", "--samples", "20", "--charts", "5"]

WITHOUT_RABBITMQ = """
import runpy, sys
bench = sys.argv.pop(1)
sys.path.insert(0, bench)
import brokers
brokers.find_programs = lambda: None
runpy.run_path(bench, run_name="__main__")
"""

WITHOUT_NATS = """
import runpy, sys
bench = sys.argv.pop(1)
sys.path.insert(0, bench)
import servers
servers.find = lambda name: None
runpy.run_path(bench, run_name="__main__")
"""


def test_it_compares_both_brokers_with_a_local_chart(vhost_url: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = _run(str(BENCH), *SMALL, "--broker", vhost_url, "--json", str(figures))
    assert done.returncode == 0, done.stderr
    assert "events per second" in done.stdout
    assert "run 1 of 1: RabbitMQ" in done.stderr
    written = json.loads(figures.read_text())
    assert "A scrape of a process with 5 charts" in done.stdout
    assert 0 < written["scrape"]["median_s"] <= written["scrape"]["p99_s"]
    columns = written["columns"]
    assert list(columns) == ["local post_fifo", "embedded", "RabbitMQ"]
    for column in columns.values():
        assert column["median"]["events_per_s"] > 0
        assert 0 < column["median"]["latency_median_s"] <= column["median"]["latency_p99_s"]


@pytest.mark.proof
def test_a_missing_rabbitmq_leaves_its_column_out_and_is_told() -> None:
    done = _run("-c", WITHOUT_RABBITMQ, str(BENCH), *SMALL)
    assert done.returncode == 0, done.stderr
    header = next(line for line in done.stdout.splitlines() if "local post_fifo" in line)
    assert "embedded" in header
    assert "RabbitMQ" not in header
    assert "There is no rabbitmq-server on this machine" in done.stdout


def test_its_help_lists_all_measurements_and_an_unknown_one_is_refused_with_them() -> None:
    names = ["peers", "against", "scale", "backlog", "cluster", "discovery", "patterns"]
    helped, refused = _run(str(BENCH), "--help"), _run(str(BENCH), "planets")
    assert (helped.returncode, refused.returncode) == (0, 2)
    lines = [line.split()[0] for line in helped.stdout.splitlines() if line.strip()]
    assert lines[-len(names) :] == names
    assert f"no measurement is called planets; there are {', '.join(names)}" in refused.stderr


@pytest.mark.proof
def test_it_tells_how_figures_grow(vhost_url: str, tmp_path: Path) -> None:
    scaled = _scaled(vhost_url, tmp_path, "--only", "payload", "--counts", "100,200,400")
    assert list(scaled) == ["payload"]
    for figures in scaled["payload"]["brokers"].values():
        assert figures["per_s"]["growth"]["word"]
        assert list(figures["per_s"]["median"]) == ["100", "200", "400"]


@pytest.mark.proof
def test_it_measures_a_backlog_and_that_nothing_of_it_is_lost(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    small = ["backlog", "--events", "2000", "--json", str(figures)]
    done = _run("-c", WITHOUT_RABBITMQ, str(BENCH), *small)
    assert done.returncode == 0, done.stderr
    assert "accumulate" in done.stdout
    (backlog,) = json.loads(figures.read_text())
    assert (backlog["broker"], backlog["away"], backlog["events"]) == ("embedded", "receiver", 2000)
    assert backlog["lost"] == backlog["doubled"] == backlog["late"] == 0
    assert backlog["accumulated_per_s"] > 0
    assert backlog["drained_per_s"] > 0
    assert backlog["stored_mib"] > 0


@pytest.mark.proof
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("charts", {"start_s", "named_s", "threads", "memory", "per_s"}),
        ("processes", {"complete_s", "per_s", "cpu_s"}),
        ("backlog", {"sent_per_s", "drained_per_s"}),
    ],
)
def test_it_measures_along_every_axis(
    name: str, keys: set[str], vhost_url: str, tmp_path: Path
) -> None:
    axis = _scaled(vhost_url, tmp_path, "--only", name, "--quick")[name]
    assert axis["failures"] == []
    assert list(axis["brokers"]) == ["embedded", "RabbitMQ"]
    for figures in axis["brokers"].values():
        for key in keys:
            assert len(figures[key]["median"]) == 3
            assert all(value > 0 for value in figures[key]["median"].values())


@pytest.mark.proof
def test_peers_are_virtual_hosts_of_a_server_of_its_own(
    rabbitmq: RabbitServer, vhost_url: str
) -> None:
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=generate_key())
    broker = with_vhosts(Measured("RabbitMQ", "", config), rabbitmq)
    with peers.AXIS.open((1, 2)) as take:
        one, two = take(broker, 1), take(broker, 2)
    assert two["threads"] > one["threads"]
    assert 0 < two["per_s"] < two["deliveries_per_s"]
    assert not peers.AXIS.suits(Measured("embedded", "", MeshConfig()))


def _scaled(url: str, folder: Path, *arguments: str) -> dict[str, Any]:
    figures = folder / "figures.json"
    given = [*arguments, "--runs", "1", "--broker", url, "--json", str(figures)]
    done = _run(str(BENCH), "scale", *given, limit_s=LONG_LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert "at the end" in done.stdout
    axes: dict[str, Any] = json.loads(figures.read_text())["axes"]
    return axes


@pytest.mark.proof
def test_it_compares_requests_with_those_of_raw_kombu(vhost_url: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    # nameko's environment comes out of a network, and is no matter of a test.
    small = ["--runs", "2", "--alone", "20", "--sustained", "100", "--without", "nameko"]
    done = _run(str(BENCH), "patterns", *small, "--broker", vhost_url, "--json", str(figures))
    assert done.returncode == 0, done.stderr
    assert "round 2 of 2: raw Kombu" in done.stderr
    assert "x the round trip of raw Kombu" in done.stdout
    columns = json.loads(figures.read_text())["columns"]
    assert list(columns) == ["raw Kombu", "chart.request", "MeshClient"]
    for column in columns.values():
        assert len(column["rounds"]) == 2
        assert 0 < column["median"]["median_s"] <= column["median"]["p99_s"]
        assert column["median"]["per_s"] > 0


def test_it_compares_events_with_the_messages_of_others(vhost_url: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    # What others need beside Kombu comes out of a network, and is no matter of a test.
    names = ["stock miros", "networked post_fifo", "miros_mesh, RabbitMQ", "miros_mesh, embedded"]
    names += ["Kombu, unconfirmed", "Kombu, confirmed"]
    small = ["--quick", "--runs", "1", "--idle", "5", "--only", ";".join(names)]
    done = _run(str(BENCH), "peers", *small, "--broker", vhost_url, "--json", str(figures))
    assert done.returncode == 0, done.stderr
    assert "round 1 of 1: miros_mesh, RabbitMQ" in done.stderr
    assert "times the rate of" in done.stdout
    written = json.loads(figures.read_text())
    assert list(written["columns"]) == names
    assert written["left_out"] == {}
    for column in written["columns"].values():
        assert column["median"]["events_per_s"] > 0
        assert column["median"]["sender_peak_bytes"] > 0
        assert 0 < column["median"]["latency_s"] <= column["median"]["latency_p99_s"]


@pytest.mark.proof
def test_a_library_whose_server_is_missing_is_left_out_and_told() -> None:
    only = ["--quick", "--runs", "1", "--idle", "5", "--only", "stock miros;NATS JetStream"]
    done = _run("-c", WITHOUT_NATS, str(BENCH), "peers", *only)
    assert done.returncode == 0, done.stderr
    assert "NATS JetStream is left out: there is no nats-server here" in done.stdout


def test_a_broker_that_does_not_answer_is_told_without_its_password(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.touch(0o600)
    file.write_text("amqp://peter:sesame@127.0.0.1:1//\n")
    done = _run(str(BENCH), *SMALL, "--broker-file", str(file))
    assert done.returncode == 1
    assert "amqp://peter@127.0.0.1:1// cannot be used" in done.stderr
    assert "sesame" not in done.stdout + done.stderr


def _run(*arguments: str, limit_s: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)


@pytest.mark.proof
def test_it_measures_what_signatures_cost() -> None:
    done = _run(str(BENCH), *SMALL, "--signatures")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "| events in a frame | seal | seal and sign | open | open and verify |"
    assert [line.split(" ")[1] for line in lines[2:5]] == ["1", "20", "100"]
    assert lines[-1].startswith("| signed | ")
