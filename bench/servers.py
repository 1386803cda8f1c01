"""NATS and Redis of this run alone, on loopback ports, in folders of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from brokers import BrokerError, scratch

# The folder of the tests is on the path since `brokers` is imported.
# isort: split
from support.rabbitmq_server import HOST, free_ports
from support.waiting import wait_until

START_LIMIT_S = 60.0
END_LIMIT_S = 30.0
# A program that ends with its input, and so with this run, however that ends.
_UNTIL_INPUT_ENDS = '"$@" & read -r _; kill $!; wait $!'


@dataclass(frozen=True)
class Server:
    """A server that listens."""

    url: str
    version: str
    pid: int


@contextmanager
def nats() -> Iterator[Server | None]:
    """A NATS with JetStream as it is installed, or None without a program."""
    with _running("nats-server", ("--version",), _nats) as server:
        yield server


@contextmanager
def redis() -> Iterator[Server | None]:
    """A Redis whose log of writes goes to the disk each second, or None without a program."""
    with _running("redis-server", ("--version",), _redis) as server:
        yield server


def find(name: str) -> str | None:
    """Return the program of a server, also where only an administrator's PATH has it."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    return shutil.which(name, path=path)


def _nats(folder: Path, port: int) -> tuple[str, list[str]]:
    options = ["--jetstream", "--store_dir", str(folder), "--addr", HOST, "--port", str(port)]
    return f"nats://{HOST}:{port}", options


def _redis(folder: Path, port: int) -> tuple[str, list[str]]:
    options = ["--bind", HOST, "--port", str(port), "--dir", str(folder), "--save", ""]
    durable = ["--appendonly", "yes", "--appendfsync", "everysec"]
    return f"redis://{HOST}:{port}/0", [*options, *durable]


@contextmanager
def _running(
    name: str,
    ask_version: Sequence[str],
    command: Callable[[Path, int], tuple[str, list[str]]],
) -> Iterator[Server | None]:
    program = find(name)
    if program is None:
        yield None
        return
    with scratch() as folder:
        (port,) = free_ports(1)
        url, options = command(folder, port)
        with (
            (folder / "output.txt").open("wb") as output,
            subprocess.Popen(  # noqa: S603 - a program of this machine, with options of ours
                ["/bin/sh", "-c", _UNTIL_INPUT_ENDS, "sh", program, *options],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                _await(name, port)
                yield Server(url, _version(program, ask_version), process.pid)
            finally:
                process.communicate(timeout=END_LIMIT_S)


def _await(name: str, port: int) -> None:
    def listens() -> bool:
        try:
            socket.create_connection((HOST, port), timeout=1.0).close()
        except OSError:
            return False
        return True

    try:
        wait_until(listens, START_LIMIT_S, message=f"{name} listens")
    except AssertionError as error:
        raise BrokerError(str(error)) from error


def _version(program: str, ask: Sequence[str]) -> str:
    done = subprocess.run(  # noqa: S603 - a program of this machine
        [program, *ask], capture_output=True, text=True, timeout=START_LIMIT_S, check=True
    )
    words = done.stdout.replace("v=", "v").split()
    number = next((word for word in words if word.lstrip("v")[:1].isdigit()), "?")
    name = {"nats-server": "NATS", "redis-server": "Redis"}[Path(program).name]
    return f"{name} {number.lstrip('v').rstrip(':')}"
