"""Hosts on the network that are none of ours: not joined, and named by `miros-mesh discover`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from lan.hosts import (
    LIMIT_S,
    OTHER_PASSWORD,
    OTHER_USER,
    A,
    B,
    C,
    D,
    Street,
    hear,
)
from miros_mesh.wire.keyring import generate_key
from support.rabbitmq_server import PASSWORD, USER
from support.waiting import wait_until

WEB_SERVER = """
import socket
with socket.create_server(("", 5672)) as server:
    print("ready", flush=True)
    while True:
        client, _ = server.accept()
        client.sendall(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n")
        client.close()
"""


def discovered(street: Street, *, user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    """What `miros-mesh discover` says of each address; as a table the same as in JSON."""
    variables = {
        "RABBIT_USER": user,
        "RABBIT_PASSWORD": password,
        "MESH_ENCRYPTION_KEY": street.key,
    }
    command = ("-m", "miros_mesh", "discover", "--sources", "lan")
    table = street.program(A, *command, **variables)
    as_json = street.program(A, *command, "--json", **variables)
    told = json.loads(as_json.finished())
    assert told["complete"]
    verdicts = {each["address"]: each["verdict"] for each in told["addresses"]}
    header, *rows = table.finished().split("\n\n")[0].splitlines()
    assert header.split() == ["address", "found", "by", "verdict", "ms"]
    assert {row.split()[0]: row.split()[2] for row in rows} == verdicts
    return verdicts


@contextmanager
def web_server(street: Street, host: str) -> Iterator[None]:
    with street.program(host, "-c", WEB_SERVER) as program:
        wait_until(lambda: program.lines, LIMIT_S)
        yield


def test_a_host_with_a_mesh_of_another_key_is_not_joined_and_is_named(street: Street) -> None:
    foreign = street.begin(C, mesh_encryption_key=generate_key().decode()).wait_started()
    # The search of one that starts sooner would find it without a mesh.
    (bob,) = street.start(B)
    (ada,) = street.start(A)
    ada.wait_for("searched", source="lan", found=1)

    hear(ada, [bob], "word")

    assert ada.up == street.addresses(B)
    assert ada.verdicts() == {street.address(B): {"ours"}, street.address(C): {"other_key"}}
    assert foreign.peers() == {}
    assert foreign.handled("word") == []
    assert discovered(street) == {street.address(B): "ours", street.address(C): "other_key"}


def test_a_host_with_other_credentials_is_not_joined_and_is_named(street: Street) -> None:
    other = {"rabbit_user": OTHER_USER, "rabbit_password": OTHER_PASSWORD}
    foreign = street.begin(C).wait_started()
    (bob,) = street.start(B, **other)
    (ada,) = street.start(A, **other)
    ada.wait_for("searched", source="lan", found=1)

    hear(ada, [bob], "word")

    assert ada.up == street.addresses(B)
    assert ada.verdicts() == {street.address(B): {"ours"}, street.address(C): {"credentials"}}
    assert foreign.handled("word") == []
    verdicts = discovered(street, user=OTHER_USER, password=OTHER_PASSWORD)
    assert verdicts == {street.address(B): "ours", street.address(C): "credentials"}


def test_a_host_whose_port_5672_is_not_amqp_is_named(street: Street) -> None:
    bob = street.start(B)[0]
    with web_server(street, D):
        ada = street.start(A)[0]
        ada.wait_for("searched", source="lan", found=1)
        hear(ada, [bob], "word")
        assert ada.up == street.addresses(B)
        assert ada.verdicts()[street.address(D)] == {"not_amqp"}
        verdicts = discovered(street)
    assert verdicts[street.address(D)] == "not_amqp"
    assert verdicts[street.address(B)] == "ours"
