"""The program of the page on production, and the commands of the runbook beside it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.charts_at_work import KEY, OTHER_KEY
from support.doc_pages import ROOT, block
from support.door_service import Door
from support.notices import Notices
from support.rabbitmq_server import free_ports
from support.secret_files import write_secret
from support.waiting import wait_until

PAGE = ROOT / "docs" / "production.md"
RUNBOOK = ROOT / "docs" / "runbook.md"
LIMIT_S = 60.0


def test_the_service_tells_how_it_is_and_hears_its_signals(vhost_url: str, tmp_path: Path) -> None:
    # Given the service with its settings in the environment, under something like systemd
    key, url = tmp_path / "mesh.key", tmp_path / "broker_url"
    write_secret(key, KEY.decode())
    write_secret(url, vhost_url)
    with Notices() as systemd:
        environment = {
            "NOTIFY_SOCKET": systemd.address,
            "MIROS_MESH_NODE_NAME": "house",
            "MIROS_MESH_BROKER_URL_FILE": str(url),
            "MIROS_MESH_ENCRYPTION_KEY_FILE": str(key),
            # The file of keys is read at each heartbeat besides: never while this test runs.
            "MIROS_MESH_HEARTBEAT_INTERVAL_S": "600",
        }
        log = tmp_path / "doors.json"
        with Door(["front", "side", "--log", str(log)], environment) as door:
            # When its charts have started, then systemd is told, and its pages are answered
            systemd.wait_for("READY=1", LIMIT_S)
            assert door.wait_for("/live")["status"] == "alive"
            (node,) = door.wait_for("/ready")["nodes"]
            assert (node["node"], len(node["keys"]["mesh"])) == ("house", 1)
            metrics = door.ask("/metrics")[1]
            assert "miros_mesh_ready 1.0" in metrics
            assert "miros_mesh_charts 2.0" in metrics
            # When a key is added and SIGHUP comes, then it has both
            write_secret(key, f"{KEY.decode()}\n{OTHER_KEY.decode()}\n")
            door.reload()
            systemd.wait_for("RELOADING=1", LIMIT_S)
            systemd.wait_for("READY=1", LIMIT_S)
            wait_until(lambda: len(door.wait_for("/ready")["nodes"][0]["keys"]["mesh"]) == 2)
            # And the doors work: one knocks, the other opens, as the log says
            wait_until(lambda: "e->knock() closed->opened" in log.read_text(), LIMIT_S)
            # When SIGTERM comes, then it ends in good order, and says nothing but in its log
            assert door.terminate(LIMIT_S) == []
            systemd.wait_for("STOPPING=1", LIMIT_S)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert "front begins, and knocks every 0.2 s" in [line["message"] for line in lines]
    assert {line["service"].get("name") for line in lines} >= {"doors"}


def test_a_door_without_a_name_is_called_as_its_node(tmp_path: Path) -> None:
    with Door([], {"MIROS_MESH_NODE_NAME": "gatehouse"}) as door:
        door.wait_for("/ready")
        (begins, *_) = door.terminate(LIMIT_S)
    assert json.loads(begins)["message"].startswith("gatehouse begins")


def test_the_commands_of_the_page_show_the_same(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    # On another port, so that two runs of the tests do not meet.
    script = block(PAGE, "sh", "curl").replace("9464", str(free_ports(1)[0]))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    printed = _typed(script, tmp_path)
    assert '{"status": "ready"' in printed
    assert "miros_mesh_ready 1.0" in printed
    assert (tmp_path / "doors.json").read_text()


def test_the_commands_of_the_runbook_work_beside_the_service(
    vhost_url: str, tmp_path: Path
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    url, key = tmp_path / "broker_url", tmp_path / "mesh.key"
    write_secret(url, vhost_url)
    write_secret(key, KEY.decode())
    settings = {
        "MIROS_MESH_BROKER_URL_FILE": str(url),
        "MIROS_MESH_ENCRYPTION_KEY_FILE": str(key),
    }
    with Door(["front", "side"], {"MIROS_MESH_NODE_NAME": "house", **settings}) as door:
        door.wait_for("/ready")
        script = block(RUNBOOK, "sh", "miros-mesh check").replace("9464", str(door.port))
        printed = _typed(script, tmp_path, **settings)
        assert '{"status": "ready"' in printed
        assert '{"status": "alive"' in printed
        assert 'miros_mesh_peers{state="up"} 1.0' in printed
        assert "an event went out, sealed and confirmed, and came back" in printed
        assert "house: uses" in printed
        # And those within a sentence are commands
        for command in re.findall(r"`(miros-mesh [^`]+)`", RUNBOOK.read_text()):
            _typed(command, tmp_path, **settings)
        door.terminate(LIMIT_S)


def _typed(script: str, folder: Path, **settings: str) -> str:
    """What a script prints, whose commands all succeed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, **settings},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
    return done.stdout
