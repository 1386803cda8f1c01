"""RabbitMQ with the files of `deploy/rabbitmq` for TLS: in comes who shows a certificate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from miros_mesh import MeshConfig
from miros_mesh.cli.check import check
from miros_mesh.errors import (
    CertificateUserError,
    ClientCertificateError,
    ClientCertificateMissingError,
    LinkError,
    LoginMethodError,
    TlsError,
)
from support.broker_files import configuration, definitions
from support.charts_at_work import KEY, Heard, Launch, event
from support.doc_pages import ROOT
from support.rabbitmq_server import HOST, RabbitServer, free_ports
from support.secret_files import write_secret
from support.tls import Authority, Files
from support.waiting import wait_until

pytestmark = pytest.mark.proof
LIMIT_S = 60.0
PRESS = "press"


@dataclass(frozen=True)
class Door:
    """A server with those files, for one version of TLS, and certificates for its clients."""

    server: RabbitServer
    port: int
    version: str
    authority: Authority
    by_host: bool
    """Whether the user is the name of a host, and not the common name."""

    def vouch(self, user: str, authority: Authority | None = None, file: str = "client") -> Files:
        """A certificate that says a user where this server looks."""
        hosts, name = ((user,), "somebody") if self.by_host else ((), user)
        return (authority or self.authority).vouch(file, *hosts, name=name)

    def config(self, shown: Files | None, login: str = "") -> MeshConfig:
        """Settings of a node that shows a certificate."""
        return MeshConfig(
            broker_url=f"amqps://{login}{HOST}:{self.port}/mesh",
            broker_ca_file=self.authority.file,
            broker_cert_file=shown and shown.certificate,
            broker_key_file=shown and shown.key,
            mesh_encryption_key=KEY,
            node_name=PRESS,
        )


@pytest.fixture(
    scope="module", params=[("tlsv1.3", False), ("tlsv1.2", True)], ids=["1.3-CN", "1.2-SAN"]
)
def door(
    request: pytest.FixtureRequest,
    rabbitmq_programs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Door]:
    """One for each version of TLS, and for each part of a certificate that may be the user."""
    version, by_host = request.param
    folder = tmp_path_factory.mktemp("door")
    authority = Authority(folder)
    (port,) = free_ports(1)
    conf = configuration(
        "rabbitmq.conf",
        "tls.conf",
        "external.conf",
        tls=authority.vouch("broker", HOST),
        door=f"{HOST}:{port}",
    )
    conf = re.sub(r"^ssl_options.versions.*\n", "", conf, flags=re.MULTILINE)
    conf += f"ssl_options.versions.1 = {version}\n"
    if by_host:
        conf = conf.replace("ssl_cert_login_from = common_name\n", "").replace("# ssl_", "ssl_")
    server = RabbitServer(folder / "node", rabbitmq_programs, conf)
    server.enable("rabbitmq_auth_mechanism_ssl")
    try:
        server.start()
        server.import_definitions(definitions("definitions.json"))
        server.import_definitions(definitions("certified_user.json", user=PRESS))
        server.import_definitions(definitions("permissions/node.json", node=PRESS, hears=PRESS))
        yield Door(server, port, version, authority, by_host)
    finally:
        server.close()


def test_a_certificate_comes_in_as_its_user(door: Door, launch: Launch) -> None:
    config, heard = door.config(door.vouch(PRESS)), Heard()
    launch("stamp", config, heard, tx_routing_key="press.state")
    launch("die", config, tx_routing_key="press.state").transmit(event("pressed"))
    wait_until(lambda: heard == [("pressed", None)], LIMIT_S)
    listed = door.server.rabbitmqctl("list_connections", "user", "auth_mechanism", "ssl_protocol")
    assert set(listed.splitlines()) == {f"{PRESS}\tEXTERNAL\t{door.version}"}
    # With the file's limit, whose value another test compares with the largest frame
    limit = door.server.eval("rabbit_misc:get_env(rabbit, max_message_size, 0)")
    assert limit == "4194304"


def test_the_limits_of_the_server_are_enough_for_a_group_in_parts(
    door: Door, launch: Launch
) -> None:
    rights = definitions("permissions/member.json", node=PRESS, group="payments")
    door.server.import_definitions(rights)
    heard = Heard()
    launch(
        "till",
        door.config(door.vouch(PRESS)),
        heard,
        tx_routing_key="press.orders",
        group="payments",
        group_mode="share",
        partition_by=lambda event: event.payload,
    ).transmit(event("number", 1))
    wait_until(lambda: heard == [("number", 1)], LIMIT_S)


def test_the_settings_of_the_page_pass_the_check(
    door: Door, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown, key = door.vouch(PRESS), tmp_path / "mesh.key"
    write_secret(key, KEY.decode())
    settings = {
        "MIROS_MESH_BROKER_URL": f"amqps://{HOST}:{door.port}/mesh",
        "MIROS_MESH_BROKER_CA_FILE": str(shown.authority),
        "MIROS_MESH_BROKER_CERT_FILE": str(shown.certificate),
        "MIROS_MESH_BROKER_KEY_FILE": str(shown.key),
        "MIROS_MESH_ENCRYPTION_KEY_FILE": str(key),
        "MIROS_MESH_NODE_NAME": PRESS,
    }
    page = (ROOT / "deploy" / "README.md").read_text()
    (block,) = [each for each in page.split("```") if "BROKER_CERT_FILE" in each]
    assert re.findall(r"^export (\w+)=", block, re.MULTILINE) == list(settings)
    assert check(settings, broker_url=None) == 0
    assert "FAIL" not in capfd.readouterr().out


def refused(launch: Launch, kind: type[LinkError], config: MeshConfig) -> str:
    """What a chart says that must not come in, for that reason."""
    with pytest.raises(LinkError) as caught:
        launch("stamp", config)
    assert type(caught.value) is kind, caught.value
    return str(caught.value)


@pytest.mark.parametrize("login", ["", f"{PRESS}:hush@"], ids=["no one", "a password"])
def test_no_certificate(door: Door, launch: Launch, login: str) -> None:
    # An alert of TLS 1.2 does not say what is missing.
    kind = TlsError if door.version == "tlsv1.2" else ClientCertificateMissingError
    assert "broker_cert_file" in refused(launch, kind, door.config(None, login))


def test_a_password_beside_a_certificate(door: Door, launch: Launch) -> None:
    config = door.config(door.vouch(PRESS), f"{PRESS}:hush@")
    assert "EXTERNAL" in refused(launch, LoginMethodError, config)


def test_a_certificate_without_a_user(door: Door, launch: Launch) -> None:
    config = door.config(door.vouch("cuckoo"))
    assert "rabbitmqctl add_user" in refused(launch, CertificateUserError, config)


def test_a_certificate_of_an_authority_that_the_broker_does_not_trust(
    door: Door, launch: Launch, tmp_path: Path
) -> None:
    shown = door.vouch(PRESS, Authority(tmp_path, "stranger"))
    said = refused(launch, ClientCertificateError, door.config(shown))
    assert str(shown.certificate) in said
