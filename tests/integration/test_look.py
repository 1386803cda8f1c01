"""What a look at an address tells apart, in time, and without leaving a trace."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import amqp
import pytest

from miros_mesh.address import BrokerAddress
from miros_mesh.errors import (
    BrokerUnreachableError,
    CredentialsRefusedError,
    LinkError,
    NoMeshError,
    NotAmqpError,
    OtherKeyError,
    VirtualHostError,
)
from miros_mesh.link.connections import CONNECTIONS_PER_ADDRESS
from miros_mesh.link.kombu_link import KombuLink, amqp_link
from miros_mesh.link.ports import Broker
from support.post_office import SETTINGS
from support.rabbitmq_server import HOST, RabbitServer, free_ports

MESH, OURS, OLD, THEIRS = (f"miros_mesh.v1.{name}" for name in ("mesh", "key.1", "key.0", "key.9"))
OLD_MESH = "miros.mesh.exchange"
LIMIT_S = 5.0
SHORT_S = 0.3
DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture
def link() -> Iterator[KombuLink]:
    made = amqp_link(SETTINGS)
    yield made
    made.close()


def at(address: BrokerAddress) -> Broker:
    return Broker(address.redacted, (address,))


def at_port(port: int) -> Broker:
    return at(BrokerAddress("amqp", HOST, port, user="peter", password="rabbit"))


def look(
    link: KombuLink, broker: Broker, timeout_s: float = LIMIT_S, instead: tuple[str, ...] = ()
) -> type[LinkError] | None:
    """What is raised, if anything."""
    try:
        link.look(broker, exchange=MESH, marks=(OURS, OLD), timeout_s=timeout_s, instead=instead)
    except LinkError as error:
        return type(error)
    return None


def declare(address: BrokerAddress, *exchanges: str) -> None:
    with amqp.Connection(
        host=f"{address.host}:{address.port}",
        userid=address.user,
        password=address.password,
        virtual_host=address.virtual_host,
    ) as connection:
        for exchange in exchanges:
            connection.channel().exchange_declare(
                exchange, "topic", durable=True, auto_delete=False
            )


@contextmanager
def server(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """A port where one connection is answered, and then held open."""
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                answer(connection)

        serving = threading.Thread(target=serve)
        serving.start()
        yield listener.getsockname()[1]
        serving.join(LIMIT_S)


@pytest.mark.parametrize(
    ("exchanges", "verdict"),
    [
        ((), NoMeshError),
        ((OURS,), NoMeshError),
        ((MESH,), OtherKeyError),
        ((MESH, THEIRS), OtherKeyError),
        ((MESH, OURS), None),
        ((MESH, OLD, THEIRS), None),
    ],
)
def test_what_the_exchanges_of_a_broker_say(
    link: KombuLink, vhost_url: str, exchanges: tuple[str, ...], verdict: type[LinkError] | None
) -> None:
    address = BrokerAddress.parse(vhost_url)
    declare(address, *exchanges)
    assert look(link, at(address)) is verdict


@pytest.mark.parametrize(
    ("exchanges", "verdict"),
    [((THEIRS,), NoMeshError), ((OLD_MESH,), None), ((MESH,), OtherKeyError)],
)
def test_another_exchange_may_do_instead(
    link: KombuLink, vhost_url: str, exchanges: tuple[str, ...], verdict: type[LinkError] | None
) -> None:
    address = BrokerAddress.parse(vhost_url)
    declare(address, *exchanges)
    assert look(link, at(address), instead=(OLD_MESH,)) is verdict


def test_a_look_declares_nothing(
    link: KombuLink, rabbitmq: RabbitServer, vhost: str, vhost_url: str
) -> None:
    look(link, at(BrokerAddress.parse(vhost_url)))
    assert "miros_mesh" not in rabbitmq.rabbitmqctl("list_exchanges", "-p", vhost)


def test_a_wrong_password(link: KombuLink, vhost_url: str) -> None:
    address = replace(BrokerAddress.parse(vhost_url), password="wrong")
    assert look(link, at(address)) is CredentialsRefusedError


def test_a_password_that_changes_between_two_looks(vhost_url: str) -> None:
    address = BrokerAddress.parse(vhost_url)
    passwords = iter(("wrong", address.password))
    link = amqp_link(
        replace(SETTINGS, credentials=lambda at: (replace(at, password=next(passwords)), ""))
    )
    declare(address, MESH, OURS)
    stale = at(replace(address, password="of yesterday"))
    assert look(link, stale) is CredentialsRefusedError
    assert look(link, stale) is None
    link.close()


def test_no_such_virtual_host(link: KombuLink, vhost_url: str) -> None:
    address = replace(BrokerAddress.parse(vhost_url), virtual_host="nowhere")
    assert look(link, at(address)) is VirtualHostError


def test_nobody_there(link: KombuLink) -> None:
    (port,) = free_ports(1)
    assert look(link, at_port(port)) is BrokerUnreachableError


def test_somebody_else_there(link: KombuLink) -> None:

    def answer(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        silence(connection)

    with server(answer) as port:
        began = time.monotonic()
        assert look(link, at_port(port)) is NotAmqpError
        assert time.monotonic() - began < 3


def silence(connection: socket.socket) -> None:
    while connection.recv(1024):
        pass


def drip(connection: socket.socket) -> None:
    """The beginning of an endless frame, a byte now and then."""
    pause = threading.Event()
    try:
        connection.sendall(b"\x01\x00\x00\x00\x00\xff\xff")
        while not pause.wait(SHORT_S / 6):
            connection.sendall(b"\0")
    except OSError:
        return


@pytest.mark.parametrize("answer", [silence, drip])
def test_a_look_keeps_to_its_time_whatever_the_other_side_does(
    link: KombuLink, answer: Callable[[socket.socket], object]
) -> None:
    with server(answer) as port:
        began = time.monotonic()
        assert look(link, at_port(port), SHORT_S) is BrokerUnreachableError
        assert time.monotonic() - began < SHORT_S + 5


def test_looks_leave_nothing_open_and_need_no_place_in_the_pools(
    link: KombuLink, vhost_url: str
) -> None:
    # Given a mesh at a broker to which this link has all the connections that it may have
    address = BrokerAddress.parse(vhost_url)
    broker = at(address)
    declare(address, MESH, OURS)
    held = [link._pools.open(broker) for _ in range(CONNECTIONS_PER_ADDRESS)]
    before = len(list(DESCRIPTORS.iterdir()))
    # When many look at once
    found: list[type[LinkError] | None] = []
    looks = [threading.Thread(target=lambda: found.append(look(link, broker))) for _ in range(16)]
    for each in looks:
        each.start()
    for each in looks:
        each.join()
    # Then all see it
    assert found == [None] * 16
    assert len(list(DESCRIPTORS.iterdir())) == before
    for connection in held:
        link._pools.give_back(connection, broken=False)
