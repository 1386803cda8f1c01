"""TLS with a RabbitMQ that wants certificates: each fault an error of its own, and renewals."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.errors import (
    CertificateExpiredError,
    CertificateNotYetValidError,
    CertificateUserError,
    ClientCertificateError,
    ClientCertificateMissingError,
    LinkError,
    LoginMethodError,
    TlsFileError,
    UnknownAuthorityError,
    WrongHostError,
)
from support.broker_files import configuration
from support.charts_at_work import KEY, Heard, Launch, alone, event
from support.rabbitmq_server import HOST, RabbitServer, free_ports
from support.tls import HOUR, Authority, Files, pem_of
from support.waiting import wait_until

DAY = timedelta(days=1)
# The user whom a certificate names, and one with a password.
HOUSE, GUEST = "house", "guest-of-a-test"
PASSWORD = "-".join(("marmalade", "in", "the", "attic"))
LIMIT_S = 60.0


class Broker:
    """A RabbitMQ whose only door for clients is TLS; it wants to see a certificate of theirs."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.authority, self.other = Authority(folder), Authority(folder, "stranger")
        self._files = self.authority.vouch("broker", HOST)
        (self.port,) = free_ports(1)
        self.server = RabbitServer(
            folder / "node",
            programs,
            configuration("tls.conf", "external.conf", tls=self._files, door=f"{HOST}:{self.port}")
            + "auth_mechanisms.2 = PLAIN\n",
        )
        self.server.enable("rabbitmq_auth_mechanism_ssl")

    def start(self) -> None:
        self.server.start()
        self.server.add_user(HOUSE, secrets.token_hex(8))
        self.server.add_user(GUEST, PASSWORD)
        for user in (HOUSE, GUEST):
            self.server.set_permissions(user, "/")

    def renew(self, authority: Authority, *addresses: str, **moments: timedelta) -> None:
        """Let it show another certificate from now on."""
        authority.vouch("broker", *addresses, **moments)
        # Erlang reads files again after two minutes.
        self.server.eval("ssl:clear_pem_cache()")

    def good(self) -> None:
        self.renew(self.authority, HOST)


@pytest.fixture(scope="module")
def broker(rabbitmq: RabbitServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("tls"), rabbitmq.programs)
    try:
        broker.start()
        yield broker
    finally:
        broker.server.close()


@pytest.fixture
def client(broker: Broker, tmp_path: Path) -> Files:
    """A certificate of the test's own that the broker trusts, for the user `house`."""
    broker.good()
    files = broker.authority.vouch("client", name=HOUSE)
    moved = Files(files.authority, tmp_path / "client.pem", tmp_path / "client.key")
    files.certificate.rename(moved.certificate)
    files.key.rename(moved.key)
    return moved


def config_of(broker: Broker, client: Files | None, **settings: Any) -> MeshConfig:
    """Settings with the user of the certificate, unless they name another broker or user."""
    if client:
        files = {"broker_cert_file": client.certificate, "broker_key_file": client.key}
        settings = {**files, **settings}
    if "rabbit_user" not in settings:
        settings.setdefault("broker_url", f"amqps://{HOST}:{broker.port}//")
    settings.setdefault("broker_ca_file", broker.authority.file)
    return MeshConfig(mesh_encryption_key=KEY, **settings)


def refused(kind: type[LinkError], config: MeshConfig) -> str:
    """What a start says that must fail so."""
    chart = NetworkedActiveObject("alice", config=config)
    with pytest.raises(LinkError) as caught:
        chart.start_at(alone(Heard()))
    chart.stop()
    assert type(caught.value) is kind, caught.value
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def with_password(broker: Broker, client: Files | None, **settings: Any) -> MeshConfig:
    url = f"amqps://{GUEST}:{PASSWORD}@{HOST}:{broker.port}//"
    return config_of(broker, client, broker_url=url, **settings)


# The broker's certificate


def test_a_certificate_of_a_private_authority_is_enough_and_says_who_we_are(
    broker: Broker, client: Files, launch: Launch
) -> None:
    heard = Heard()
    config = config_of(broker, client)
    assert str(config.brokers[0]) == f"amqps://{HOST}:{broker.port}//"
    alice = launch("alice", config, heard)
    launch("bob", config.overridden(node_name="bob"), heard)
    alice.transmit(event("over_tls"))
    wait_until(lambda: ("over_tls", None) in heard)
    users = broker.server.rabbitmqctl("list_connections", "user", "auth_mechanism", "ssl")
    assert set(users.splitlines()) == {f"{HOUSE}\tEXTERNAL\ttrue"}


def test_a_user_in_the_settings_logs_in_with_the_password(
    broker: Broker, client: Files, launch: Launch
) -> None:
    host = {"rabbit_user": GUEST, "rabbit_password": PASSWORD, "rabbit_port": broker.port}
    launch("alice", config_of(broker, client, **host, rabbit_tls=True, discovery=()))
    launch("bob", with_password(broker, client))
    users = broker.server.rabbitmqctl("list_connections", "user", "auth_mechanism", "ssl")
    assert set(users.splitlines()) == {f"{GUEST}\tPLAIN\ttrue"}


def test_an_unknown_authority(broker: Broker, client: Files) -> None:
    broker.renew(broker.other, HOST)
    message = refused(UnknownAuthorityError, with_password(broker, client))
    assert f"known are those of broker_ca_file ({broker.authority.file})" in message
    # Also one that the system does not know
    system = MeshConfig(
        broker_url=f"amqps://{GUEST}:{PASSWORD}@{HOST}:{broker.port}//", mesh_encryption_key=KEY
    )
    assert "broker_ca_file names another" in refused(UnknownAuthorityError, system)


def test_another_host(broker: Broker, client: Files) -> None:
    broker.renew(broker.authority, "127.0.0.9")
    message = refused(WrongHostError, with_password(broker, client))
    assert f"{HOST}:{broker.port}" in message
    assert "subjectAltName" in message


def test_an_expired_certificate(broker: Broker, client: Files) -> None:
    broker.renew(broker.authority, HOST, begins=-DAY, ends=-HOUR)
    assert "renew it" in refused(CertificateExpiredError, with_password(broker, client))


def test_a_certificate_of_tomorrow(broker: Broker, client: Files) -> None:
    broker.renew(broker.authority, HOST, begins=HOUR, ends=DAY)
    assert "clock" in refused(CertificateNotYetValidError, with_password(broker, client))


# Ours


@pytest.mark.parametrize("attempt", range(5))
def test_no_certificate_where_one_is_wanted(broker: Broker, client: Files, attempt: int) -> None:
    message = refused(ClientCertificateMissingError, with_password(broker, None))
    assert "name one with broker_cert_file" in message


@pytest.mark.parametrize("fault", ["stranger", "expired", "tomorrow"])
def test_a_certificate_that_the_broker_does_not_trust(
    broker: Broker, client: Files, fault: str
) -> None:
    authority = broker.other if fault == "stranger" else broker.authority
    moments = {
        "stranger": {},
        "expired": {"begins": -DAY, "ends": -HOUR},
        "tomorrow": {"begins": HOUR, "ends": DAY},
    }[fault]
    wrong = authority.vouch("wrong", name=HOUSE, **moments)
    message = refused(ClientCertificateError, config_of(broker, wrong))
    assert str(wrong.certificate) in message


def test_a_certificate_of_no_user(broker: Broker, client: Files) -> None:
    unknown = broker.authority.vouch("unknown", name="cuckoo")
    message = refused(CertificateUserError, config_of(broker, unknown))
    assert "rabbitmqctl add_user" in message


def test_a_broker_that_takes_no_certificates_for_a_login(broker: Broker, client: Files) -> None:
    mechanisms = "application:set_env(rabbit, auth_mechanisms, [{}])"
    broker.server.eval(mechanisms.format("'PLAIN'"))
    try:
        message = refused(LoginMethodError, config_of(broker, client))
    finally:
        broker.server.eval(mechanisms.format("'PLAIN', 'EXTERNAL'"))
    assert "rabbitmq_auth_mechanism_ssl" in message


def test_a_file_of_ours_that_is_of_no_use(broker: Broker, client: Files, tmp_path: Path) -> None:
    garbled, gone, locked = tmp_path / "garbled", tmp_path / "gone", tmp_path / "locked"
    garbled.write_text("-----BEGIN NOTHING-----\n")
    lock = serialization.BestAvailableEncryption(b"hush")
    for file in (locked, garbled):
        file.touch(0o600)
        file.chmod(0o600)
    locked.write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1()), lock))
    other = broker.authority.vouch("other", name=HOUSE)
    for setting, file, says in [
        ("broker_ca_file", gone, "cannot be read: No such file"),
        ("broker_ca_file", garbled, "holds no certificate in PEM form"),
        ("broker_cert_file", gone, "cannot be read: No such file"),
        ("broker_cert_file", garbled, "have to be in PEM form"),
        ("broker_key_file", gone, "cannot be read: No such file"),
        ("broker_key_file", garbled, "have to be in PEM form"),
        ("broker_key_file", locked, "no passphrase"),
        ("broker_key_file", other.key, "the key has to fit"),
    ]:
        message = refused(TlsFileError, config_of(broker, client, **{setting: file}))
        assert str(file) in message
        assert says in message
    client.key.chmod(0o644)
    message = refused(TlsFileError, config_of(broker, client))
    assert f"broker_key_file: {client.key} holds a key, and is open to other users" in message


def test_a_key_may_be_in_the_file_of_its_certificate(
    broker: Broker, client: Files, launch: Launch
) -> None:
    both = client.key
    both.write_bytes(client.certificate.read_bytes() + client.key.read_bytes())
    launch("alice", config_of(broker, None, broker_cert_file=both))


# Renewals


def reason(chart: NetworkedActiveObject) -> str:
    """Why the broker is away, as `health` has it; "" when it is not."""
    return next((outage.reason for outage in chart.health().outages.values()), "")


def test_a_node_outlives_certificates_that_run_out_and_are_renewed(
    broker: Broker, client: Files, launch: Launch
) -> None:
    heard = Heard()
    config = config_of(broker, client)
    alice = launch("alice", config)
    launch("bob", config.overridden(node_name="bob"), heard)
    # When the broker's certificate is not renewed in time
    broker.renew(broker.authority, HOST, begins=-DAY, ends=-HOUR)
    broker.server.close_all_connections()
    wait_until(lambda: reason(alice) == "certificate_expired", LIMIT_S)
    alice.transmit(event("while_expired"))
    # And then it is
    broker.good()
    wait_until(lambda: ("while_expired", None) in heard, LIMIT_S)
    wait_until(lambda: reason(alice) == "", LIMIT_S)

    # When ours is replaced by one of no use
    good = client.certificate.read_bytes(), client.key.read_bytes()
    wrong = broker.other.vouch("wrong", name=HOUSE)
    client.key.write_bytes(wrong.key.read_bytes())
    client.certificate.write_bytes(wrong.certificate.read_bytes())
    broker.server.close_all_connections()
    wait_until(lambda: reason(alice) == "client_certificate", LIMIT_S)
    # And by none
    client.certificate.unlink()
    wait_until(lambda: reason(alice) == "tls_file", LIMIT_S)
    alice.transmit(event("without"))
    # Then the right one counts at the next attempt
    client.certificate.write_bytes(good[0])
    client.key.write_bytes(good[1])
    wait_until(lambda: ("without", None) in heard, LIMIT_S)
    wait_until(lambda: alice.health().ready, LIMIT_S)
