"""The page on RabbitMQ on all hosts: its commands, its file and its settings, with a RabbitMQ."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from miros_mesh import MeshConfig
from support import doc_pages, machine
from support.broker_files import FOLDER, configuration
from support.charts_at_work import KEY, Heard, Launch, event
from support.doc_pages import ROOT
from support.machine import Machine
from support.namespaces import Network
from support.rabbitmq_server import HOST, RabbitServer, free_ports
from support.terminal import Terminal
from support.tls import Files
from support.waiting import wait_until

PAGE = (ROOT / "docs" / "all-hosts.md").read_text()
HARDENING = ROOT / "docs" / "hardening.md"
DEPLOY = ROOT / "deploy" / "README.md"
LIMIT_S = 60.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def block(language: str, word: str) -> str:
    (found,) = [each for each in blocks(language) if word in each]
    return found


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
    text = block("sh", "MIROS_MESH_RABBIT_TLS=on").replace("/etc/miros-mesh", str(folder))
    env_file.write_text(f"{text}MIROS_MESH_RABBIT_PORT={port}\n")
    return {"env_file": str(env_file)}


def test_a_host_that_was_set_up_as_the_page_says_is_at_the_mesh(
    hosts_files: Path, rabbitmq: RabbitServer, launch: Launch
) -> None:
    # Given a RabbitMQ with the configuration of the page
    (port,) = free_ports(1)
    red = Files(*(hosts_files / file for file in ("ca.pem", "red.pem", "red.key")))
    conf = configuration("rabbitmq.conf", "tls.conf", tls=red, door=f"{HOST}:{port}")
    server = RabbitServer(hosts_files.parent / "node", rabbitmq.programs, conf)
    settings = settings_of(hosts_files, port)
    shutil.copy(FOLDER / "definitions.json", hosts_files)
    try:
        server.start()
        # And the user of the page, and guest as a new server has it
        server.add_user("guest", "guest")
        server.run(block("sh", "add_user"), hosts_files)
        # When a program starts with the settings of the page, then its event goes out and comes
        heard = Heard()
        config = MeshConfig.from_env({}, **settings, discovery=())
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


def test_a_machine_is_set_up_by_the_commands_of_the_pages(
    private_networks: None,
    systemd_services: None,
    rabbitmq_programs: Path,
    tmp_path: Path,
) -> None:
    """All that writes into /etc, with the page on hardening; what fetches packages is left out."""
    if reason := machine.why_not():
        pytest.skip(reason)
    folder = tmp_path / "hosts"
    shutil.copytree(FOLDER, folder / "red")
    with ExitStack() as stack:
        network = stack.enter_context(Network({"red": ["192.168.1.75/24"]}))
        red = stack.enter_context(Machine(network["red"], tmp_path / "red", [folder], systemd=True))
        red.run("useradd", "peter")
        terminal = Terminal(red, folder / "red")
        stack.callback(terminal.close)
        terminal.paste("cd")
        for word in ("req -x509", "host=red", "rand -hex 24"):
            terminal.paste(block("sh", word))
        terminal.paste(re.sub("^sudo apt-get.*\n", "", block("sh", "apt-get"), flags=re.MULTILINE))
        # Without what the tutorial has carried away, all of which is in this folder.
        for word in ("20-mesh-tls.conf", "add_user mesh", "-o peter"):
            terminal.paste(block("sh", word))
        terminal.paste(f"(umask 077; cat > .env <<'END'\n{block('sh', 'RABBIT_TLS=on')}END\n)")
        (folder / "red" / ".miros_mesh_hosts.json").write_text('{"hosts": ["192.168.1.75"]}')
        # Then a node of it is on the mesh, and its broker shows the certificate to others
        # There is no other host to be found, which `discover` says by its exit code.
        terminal.paste("set +e")
        said = terminal.paste(block("sh", "miros-mesh discover"))
        terminal.paste("set -e")
        assert "the broker of this host: amqps://mesh@127.0.0.1:5671/mesh" in said
        assert "an event went out, sealed and confirmed, and came back" in said
        assert re.search("192.168.1.75 +manual +own ", said)
        # And so is one with a certificate, where the broker asks for it
        for word in ("clientAuth", "30-mesh-external.conf", "-o peter"):
            terminal.paste(doc_pages.block(HARDENING, "sh", word))
        for word in ("30-mesh-external.conf", "sed 's/USER/press/'"):
            terminal.paste(doc_pages.block(DEPLOY, "sh", word))
        terminal.paste("unset $(env | sed -n 's/^\\(MIROS_MESH_[A-KM-Z][A-Z_]*\\)=.*/\\1/p')")
        settings = doc_pages.block(DEPLOY, "sh", "BROKER_CERT_FILE")
        said = terminal.paste(settings.replace("HOST", "127.0.0.1"))
        assert "an event went out, sealed and confirmed, and came back" in said


def test_every_shell_command_of_the_page_can_be_parsed() -> None:
    for script in blocks("sh"):
        subprocess.run(["sh", "-n", "-c", script], timeout=LIMIT_S, check=True)
