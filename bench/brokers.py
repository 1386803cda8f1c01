"""The brokers that are compared: both used by this run alone, unless it is told of another one."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import kombu

from miros_mesh import MeshConfig
from miros_mesh.cli.options import BrokerOption
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.wire.keyring import generate_key

ROOT = Path(__file__).parents[1]
# On the disk of the checkout, as a home folder is: a temporary folder may be in memory.
SCRATCH = ROOT / ".build"
CONNECT_LIMIT_S = 5.0

sys.path.append(str(ROOT / "tests"))
from support.rabbitmq_server import RabbitServer, RabbitServerError, find_programs  # noqa: E402


class BrokerError(Exception):
    """A broker that cannot be measured."""


@dataclass(frozen=True)
class Measured:
    """A broker and what to call it."""

    title: str
    version: str
    config: MeshConfig
    pid: int | None = None
    """Of its own process, where it has one that this run started."""
    another: Callable[[], MeshConfig] | None = None
    """Settings of a node at one more virtual host of a server of ours, which hear each other."""


@contextmanager
def embedded() -> Iterator[Measured]:
    """The embedded broker in a folder of its own."""
    with scratch() as folder:
        config = MeshConfig(home=folder / "home")
        yield Measured("embedded", f"SQLite {sqlite3.sqlite_version}", config)


@contextmanager
def rabbitmq(url: BrokerOption) -> Iterator[Measured | None]:
    """The broker at `url`, else a private server on loopback ports, or None without RabbitMQ."""
    if url is not None:
        yield _at(url)
        return
    with private_rabbitmq() as (_, broker):
        yield broker


@contextmanager
def private_rabbitmq() -> Iterator[tuple[RabbitServer, Measured] | tuple[None, None]]:
    """A server on loopback ports that may be stopped and started, or None without RabbitMQ."""
    programs = find_programs()
    if programs is None:
        yield None, None
        return
    with scratch() as folder:
        server = RabbitServer(folder / "rabbitmq", programs)
        try:
            _start(server)
            yield server, with_vhosts(_at(server.url(), server.pid), server)
        finally:
            server.close()


def with_vhosts(broker: Measured, server: RabbitServer) -> Measured:
    """Return it with a way to have further virtual hosts of its server, as peers of each other."""

    def another() -> MeshConfig:
        # In all of them the mesh has one name.
        return broker.config.overridden(
            broker_url=server.url(server.new_vhost()), mesh_label="bench"
        )

    return replace(broker, another=another)


def plain_url(broker: Measured) -> str:
    """Return the URL of a RabbitMQ as others than this library write it."""
    address = broker.config.brokers[0]
    user, password = quote(address.user, safe=""), quote(address.password, safe="")
    host = f"{user}:{password}@{address.host}:{address.port}"
    return f"amqp://{host}/{quote(address.virtual_host, safe='')}"


def _start(server: RabbitServer) -> None:
    try:
        server.start()
    except RabbitServerError as error:
        raise BrokerError(str(error)) from error


def _at(given: str | SecretFile, pid: int | None = None) -> Measured:
    config = MeshConfig(broker_url=given, mesh_encryption_key=generate_key())
    where = config.brokers[0].redacted
    url = given.read() if isinstance(given, SecretFile) else given
    try:
        with kombu.Connection(url, connect_timeout=CONNECT_LIMIT_S) as connection:
            connection.ensure_connection(max_retries=1)
            version = connection.connection.server_properties.get("version", "?")
    except kombu.exceptions.KombuError as error:
        raise BrokerError(f"{where} cannot be used: {error}") from error
    return Measured("RabbitMQ", f"RabbitMQ {version}", config, pid)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk of the checkout, for a while."""
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=SCRATCH) as folder:
        yield Path(folder)
