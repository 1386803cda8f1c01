"""The page on RabbitMQ on all hosts: its commands, its file and its settings, with a RabbitMQ."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from miros_mesh import MeshConfig
from support import doc_pages
from support.charts_at_work import KEY, Heard, Launch, event
from support.doc_pages import ROOT
from support.rabbitmq_server import HOST, RabbitServer, free_ports
from support.waiting import wait_until

PAGE = ROOT / "docs" / "all-hosts.md"
DEFINITIONS = str(ROOT / "deploy" / "rabbitmq" / "definitions.json")
LIMIT_S = 60.0


def block(language: str, word: str) -> str:
    return doc_pages.block(PAGE, language, word)


@pytest.fixture
def hosts_files(tmp_path: Path) -> Path:
    """The folder in which the commands of the page have made an authority and a certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path / "tls"
    folder.mkdir()
    script = block("sh", "req -x509") + block("sh", "host=red")
    subprocess.run(["sh", "-eu", "-c", script], cwd=folder, timeout=LIMIT_S, check=True)
    return folder


def settings_of(folder: Path, port: int) -> dict[str, str]:
    """What the page's lines for `.env` say, with files of this test."""
    for name, secret in (("password", b"hush\n"), ("mesh.key", KEY)):
        (folder / name).touch(0o600)
        (folder / name).write_bytes(secret)
    env_file = folder / ".env"
    env_file.touch(0o600)
    text = block("sh", "MIROS_MESH_RABBIT_TLS=on").replace("/etc/miros_mesh", str(folder))
    env_file.write_text(f"{text}MIROS_MESH_RABBIT_PORT={port}\n")
    return {"env_file": str(env_file)}


def test_a_host_that_was_set_up_as_the_page_says_is_at_the_mesh(
    hosts_files: Path, rabbitmq: RabbitServer, launch: Launch
) -> None:
    # Given a RabbitMQ with the configuration of the page; the tests' own listener stays
    (port,) = free_ports(1)
    conf = block("ini", "listeners.ssl")
    assert "listeners.tcp = none\n" in conf
    conf = conf.replace("listeners.tcp = none\n", "").replace("= 5671", f"= {HOST}:{port}")
    conf = conf.replace("/etc/rabbitmq/tls/host", str(hosts_files / "red"))
    conf = conf.replace("/etc/rabbitmq/tls", str(hosts_files))
    server = RabbitServer(hosts_files.parent / "node", rabbitmq.programs, conf)
    try:
        server.start()
        # And the user of the page
        for line in block("sh", "add_vhost").splitlines():
            command, _, file = line.partition("#")[0].partition("<")
            words = shlex.split(command)
            assert words[:2] == ["sudo", "rabbitmqctl"]
            if "guest" not in words:
                given = {"password": ["hush"], "definitions.json": [DEFINITIONS], "": []}
                server.rabbitmqctl(*words[2:], *given[file.strip()])
        # When a program starts with the settings of the page, then its event goes out and comes
        heard = Heard()
        config = MeshConfig.from_env({}, **settings_of(hosts_files, port), discovery=())
        assert str(config.brokers[0]) == f"amqps://mesh@127.0.0.1:{port}/mesh"
        alice = launch("alice", config, heard)
        launch("bob", config.overridden(node_name="bob"), heard)
        alice.transmit(event("over_tls"))
        wait_until(lambda: ("over_tls", None) in heard)
    finally:
        server.close()


def test_a_certificate_of_the_page_names_what_the_page_says(hosts_files: Path) -> None:
    shown = subprocess.run(
        ["openssl", "x509", "-in", "red.pem", "-noout", "-ext", "subjectAltName"],
        cwd=hosts_files,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    ).stdout
    assert "DNS:red, IP Address:192.168.1.75, IP Address:127.0.0.1" in shown
    # And keys are for their owner alone
    assert {(hosts_files / name).stat().st_mode & 0o077 for name in ("ca.key", "red.key")} == {0}


def test_every_shell_command_of_the_page_can_be_parsed() -> None:
    for script in doc_pages.blocks(PAGE, "sh"):
        subprocess.run(["sh", "-n", "-c", script], timeout=LIMIT_S, check=True)
