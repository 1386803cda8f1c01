"""Searches over TLS and over IPv6, against a RabbitMQ that speaks both."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from miros_mesh import MeshConfig, NetworkedActiveObject, Observer
from miros_mesh.errors import NotAmqpError
from support.charts_at_work import KEY, Heard, Launch, alone, event
from support.rabbitmq_server import HOST, PASSWORD, USER, RabbitServer, free_ports
from support.tls import Files, certificates
from support.waiting import wait_until

COMMAND = str(Path(sys.executable).with_name("miros-mesh"))
OTHER_HOST, UNNAMED_HOST, IPV6 = "127.0.0.2", "127.0.0.3", "::1"


class Broker(NamedTuple):
    """One RabbitMQ at ports with and without TLS, on addresses that look like several hosts'."""

    files: Files
    plain: str
    home: str
    other: str
    unnamed: str
    ipv6: str
    plain_ipv6: str

    def url(self, scheme: str = "amqps", where: str = "") -> str:
        return f"{scheme}://{USER}:{PASSWORD}@{where or self.home}//"


class Diary(Observer):
    """Who was found, and which connections were made."""

    def __init__(self) -> None:
        self.verdicts: dict[str, str] = {}
        self.up: list[str] = []

    def scouted(self, *, source: str, host: str, verdict: str, seconds: float) -> None:
        self.verdicts[host] = verdict

    def peer_up(self, *, peer: str) -> None:
        self.up.append(peer)


def has_ipv6() -> bool:
    try:
        with socket.create_server((IPV6, 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def broker(rabbitmq: RabbitServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if not has_ipv6():
        pytest.skip("this machine has no IPv6, not even on loopback")
    folder = tmp_path_factory.mktemp("tls")
    files = certificates(folder, HOST, OTHER_HOST, IPV6)
    home, other, unnamed, ipv6, plain_ipv6 = free_ports(5)
    server = RabbitServer(
        folder / "node",
        rabbitmq.programs,
        f"listeners.tcp.ipv6 = {IPV6}:{plain_ipv6}\n"
        f"listeners.ssl.home = {HOST}:{home}\n"
        f"listeners.ssl.other = {OTHER_HOST}:{other}\n"
        f"listeners.ssl.unnamed = {UNNAMED_HOST}:{unnamed}\n"
        f"listeners.ssl.ipv6 = {IPV6}:{ipv6}\n"
        f"ssl_options.cacertfile = {files.authority}\n"
        f"ssl_options.certfile = {files.certificate}\n"
        f"ssl_options.keyfile = {files.key}\n"
        "ssl_options.verify = verify_none\n",
    )
    try:
        server.start()
        yield Broker(
            files,
            plain=f"{HOST}:{server.port}",
            home=f"{HOST}:{home}",
            other=f"{OTHER_HOST}:{other}",
            unnamed=f"{UNNAMED_HOST}:{unnamed}",
            ipv6=f"[{IPV6}]:{ipv6}",
            plain_ipv6=f"[{IPV6}]:{plain_ipv6}",
        )
    finally:
        server.close()


def listing(folder: Path, *hosts: str) -> Path:
    path = folder / "hosts.json"
    path.write_text(json.dumps({"hosts": hosts}))
    return path


def test_a_node_with_tls_finds_the_brokers_that_it_may_trust_and_talks_over_them(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launch: Launch
) -> None:
    # Given a node whose broker is reached over TLS, and hosts with and without it
    monkeypatch.setenv("SSL_CERT_FILE", str(broker.files.authority))
    diary, heard = Diary(), Heard()
    hosts = (broker.other, broker.ipv6, broker.unnamed, broker.plain)
    config = MeshConfig(
        broker_url=broker.url(),
        mesh_encryption_key=KEY,
        discovery=("manual",),
        discovery_hosts_file=listing(tmp_path, *hosts),
        observers=(diary,),
    )
    # When it starts
    alice = launch("alice", config, heard)
    wait_until(lambda: set(hosts) <= set(diary.verdicts), 30)
    # Then it tells them apart
    assert diary.verdicts == {
        broker.other: "ours",
        broker.ipv6: "ours",
        broker.unnamed: "certificate",
        broker.plain: "no_tls",
    }
    # And joins those that it can trust: what it says there is heard
    wait_until(lambda: len(diary.up) >= 3, 30)
    assert any(broker.other in peer for peer in diary.up)
    assert any(broker.ipv6 in peer for peer in diary.up)
    assert {peer.partition(":")[0] for peer in diary.up} == {"amqps"}
    launch("bob", config.overridden(discovery=(), node_name="bob"), heard)
    alice.transmit(event("over_tls"))
    wait_until(lambda: ("over_tls", None) in heard)


@contextmanager
def recording() -> Iterator[tuple[str, bytearray]]:
    """A port without TLS, and what was said to it."""
    said = bytearray()
    with socket.create_server((HOST, 0)) as listener:
        stopping = threading.Event()

        def listen() -> None:
            while True:
                client, _ = listener.accept()
                with client:
                    if stopping.is_set():
                        return
                    client.settimeout(5)
                    # As a RabbitMQ does with what it does not understand
                    said.extend(client.recv(4096))
                    client.sendall(b"AMQP\x00\x00\x09\x01")

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"{HOST}:{listener.getsockname()[1]}", said
        finally:
            stopping.set()
            socket.create_connection(listener.getsockname()[:2]).close()
            thread.join()


def test_a_broker_on_each_host_is_found_by_tls_and_never_without(
    broker: Broker, tmp_path: Path, launch: Launch
) -> None:
    # Given hosts with and without TLS, and a private authority
    diary, heard = Diary(), Heard()
    with recording() as (stranger, said):
        hosts = (broker.other, broker.unnamed, broker.plain, stranger)
        config = MeshConfig(
            rabbit_user=USER,
            rabbit_password=PASSWORD,
            rabbit_port=int(broker.home.rpartition(":")[2]),
            rabbit_tls=True,
            broker_ca_file=broker.files.authority,
            mesh_encryption_key=KEY,
            discovery=("manual",),
            discovery_hosts_file=listing(tmp_path, *hosts),
            observers=(diary,),
        )
        # When a node with the credentials of every host starts
        alice = launch("alice", config, heard)
        wait_until(lambda: set(hosts) <= set(diary.verdicts), 30)
    # Then it trusts what that authority has signed for the host, and nothing else
    assert diary.verdicts == {
        broker.other: "ours",
        broker.unnamed: "certificate",
        broker.plain: "no_tls",
        stranger: "no_tls",
    }
    # And without TLS it has said nothing but the first words of a handshake
    assert said[:2] == b"\x16\x03"
    assert not [word for word in (PASSWORD, USER, "PLAIN") if word.encode() in said]
    # And it talks over both brokers
    wait_until(lambda: len(diary.up) >= 2, 30)
    assert {peer.partition(":")[0] for peer in diary.up} == {"amqps"}
    launch("bob", config.overridden(discovery=(), node_name="bob"), heard)
    alice.transmit(event("over_tls"))
    wait_until(lambda: ("over_tls", None) in heard)


def discover(broker: Broker, url: str, hosts: Path, **environment: str) -> dict[str, str]:
    """What the command says of each address."""
    done = subprocess.run(
        [COMMAND, "discover", "--json", "--sources", "manual", "--broker", url],
        env={
            **os.environ,
            "MIROS_MESH_ENCRYPTION_KEY": KEY.decode(),
            "MIROS_MESH_DISCOVERY_HOSTS_FILE": str(hosts),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert PASSWORD not in done.stdout + done.stderr
    return {each["address"]: each["verdict"] for each in json.loads(done.stdout)["addresses"]}


def test_discover_names_a_certificate_that_no_authority_has_signed(
    broker: Broker, tmp_path: Path
) -> None:
    hosts = listing(tmp_path, broker.home, broker.plain)
    assert discover(broker, broker.url(), hosts) == {
        broker.home: "certificate",
        broker.plain: "no_tls",
    }


def test_a_port_with_tls_is_told_to_need_amqps(broker: Broker) -> None:
    chart = NetworkedActiveObject(
        "alice",
        config=MeshConfig(broker_url=broker.url("amqp", broker.home), mesh_encryption_key=KEY),
    )
    with pytest.raises(NotAmqpError, match="speaks TLS; write amqps://"):
        chart.start_at(alone(Heard()))


def test_without_tls_a_port_that_wants_it_is_no_broker(
    broker: Broker, tmp_path: Path, launch: Launch
) -> None:
    # Given a mesh, looked for without TLS
    plain = broker.url("amqp", broker.plain)
    launch("alice", MeshConfig(broker_url=plain, mesh_encryption_key=KEY))
    hosts = listing(tmp_path, broker.plain, broker.plain_ipv6, broker.home)
    # When a search looks over IPv4, IPv6, and at a port with TLS, then the mesh is seen over both
    found = discover(broker, plain, hosts)
    assert found.pop(broker.home) == "not_amqp"
    assert found == {broker.plain: "own", broker.plain_ipv6: "ours"}
