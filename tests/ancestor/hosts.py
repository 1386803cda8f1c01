"""Hosts of a mesh of both: a RabbitMQ on each, and a program of either library beside it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal, Self

from miros_mesh.wire.keyring import generate_key
from support.doc_pages import ROOT
from support.namespaces import INTERFACE, Everywhere, Host, Network
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

Kind = Literal["old", "new"]

PROGRAM = Path(__file__).with_name("program.py")
ANCESTORS_PYTHON = ROOT / ".build" / "ancestor" / "bin" / "python"
NO_ANCESTOR = "needs miros-rabbitmq in .build/ancestor: `make test`"
USER, PASSWORD = "bob", "dobbs"
LIMIT_S = 60.0
A, B, C, D = "ada", "ben", "cyd", "dan"
ADDRESSES = {A: "192.168.7.11", B: "192.168.7.12", C: "192.168.7.13", D: "192.168.7.14"}
# Where its LAN chart asks the kernel for this host's address; nothing is ever sent there.
ROUTE = f"route add 10.255.255.255/32 dev {INTERFACE}\n"
# It starts these, and ends without them. They find nobody here, as on any network whose hosts
# ignore broadcast pings: these do so without being there.
TOOLS = ("ping", "arp", "cmd.exe")
_numbers = itertools.count()


def why_not() -> str | None:
    """Why this machine has no ancestor; None when it has."""
    return None if ANCESTORS_PYTHON.exists() else NO_ANCESTOR


class Hosts:
    """Four hosts with a RabbitMQ each, on one network of their own."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder, self._programs = folder, programs
        self._stack = ExitStack()
        self.brokers: dict[str, RabbitServer] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            plan = {name: [f"{address}/24"] for name, address in ADDRESSES.items()}
            self.network = stack.enter_context(Network(plan))
            with ThreadPoolExecutor() as starters:
                for name in ADDRESSES:
                    self.network[name].ip(ROUTE)
                    server = self.brokers[name] = self._broker(name)
                    stack.callback(server.close)
                    stack.callback(server.kill)
                for each in [starters.submit(one.start) for one in self.brokers.values()]:
                    each.result()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _broker(self, name: str) -> RabbitServer:
        file = self._folder / f"{name}.json"
        every = {"vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        definitions = {
            "vhosts": [{"name": "/"}],
            "users": [{"name": USER, "password": PASSWORD, "tags": ""}],
            "permissions": [{"user": USER, **every}],
        }
        file.write_text(json.dumps(definitions))
        place = Everywhere(self.network[name])
        folder = self._folder / f"{name}-broker"
        return RabbitServer(folder, self._programs, f"load_definitions = {file}\n", place)


class Keys:
    """The keys of one test: those of its three networks."""

    def __init__(self) -> None:
        self.mesh, self.trace, self.spy = (generate_key().decode() for _ in range(3))

    def environment(self) -> dict[str, str]:
        """As the ancestor's `.env` has them, and ours understands."""
        return {
            "RABBIT_USER": USER,
            "RABBIT_PASSWORD": PASSWORD,
            "RABBIT_PORT": "5672",
            "RABBIT_HEARTBEAT_INTERVAL": "3600",
            "CONNECTION_ATTEMPTS": "3",
            "MESH_ENCRYPTION_KEY": self.mesh,
            "SNOOP_TRACE_ENCRYPTION_KEY": self.trace,
            "SNOOP_SPY_ENCRYPTION_KEY": self.spy,
        }


class Program:
    """A program on a host, and what it has told and printed so far."""

    def __init__(
        self,
        host: Host,
        kind: Kind,
        keys: Keys,
        folder: Path,
        listed: Sequence[str],
        variables: Mapping[str, str],
        *,
        scouts: bool,
    ) -> None:
        self.host, self.kind = host, kind
        self.name = f"{host.name}_{kind}{next(_numbers)}"
        self.facts: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.complaints = folder / f"{self.name}.txt"
        home = folder / self.name
        home.mkdir()
        # Either reads both in its working folder. With what it has found before, an ancestor sends
        # no scouts, whose word others take for the address of an alien, `4`, say, which for its
        # resolver is 0.0.0.4. What it finds after its start ends all of its threads at the next
        # event that it transmits.
        hosts = [ADDRESSES[each] for each in listed]
        scouted, known = (hosts, []) if kind == "new" or scouts else ([], hosts)
        (home / ".miros_rabbitmq_hosts.json").write_text(json.dumps({"hosts": scouted}))
        (home / ".miros_rabbitmq_lan_cache.json").write_text(json.dumps(_cache(known)))
        for tool in TOOLS:
            (home / tool).write_text("#!/bin/sh\n")
            (home / tool).chmod(0o755)
        python = str(ANCESTORS_PYTHON) if kind == "old" else sys.executable
        with self.complaints.open("wb") as complaints:
            self._process = subprocess.Popen(
                host.command(python, "-u", str(PROGRAM), kind, self.name),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=_environment(kind, home) | keys.environment() | dict(variables),
                text=True,
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, what: str, limit_s: float = LIMIT_S) -> Any:
        """The last fact of that kind."""
        found: list[dict[str, Any]] = wait_until(
            lambda: [each for each in list(self.facts) if what in each],
            limit_s,
            message=f"{self.name}: {what}",
        )
        return found[-1][what]

    def starts_within(self, limit_s: float) -> bool:
        """Whether it tells in time that it has started."""
        try:
            self.wait_for("started", limit_s)
        except AssertionError:
            return False
        return True

    def do(self, do: str, **arguments: Any) -> None:
        """Give an order."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()

    def has_sent(self, amount: int) -> bool:
        """Whether it has transmitted so many at once."""
        return any(each.get("sent") == amount for each in list(self.facts))

    def heard(self) -> Mapping[str, list[int]]:
        """By sender, the numbers that its chart has handled, in their order."""
        told = self._told("heard")
        return {sender: list(numbers) for sender, numbers in told["heard"].items()}

    def received(self) -> Mapping[str, list[str]]:
        """By sender, the node and the chart that `received` has told."""
        return {sender: list(where) for sender, where in self._told("heard")["received"].items()}

    def _told(self, order: str) -> dict[str, Any]:
        before = len(self.facts)
        self.do(order)
        found: list[dict[str, Any]] = wait_until(
            lambda: [each for each in self.facts[before:] if order in each],
            LIMIT_S,
            message=f"{self.name}: {order}",
        )
        return found[0]

    def traces(self) -> list[str]:
        """The lines of traces that it has printed."""
        return [line for line in list(self.lines) if line.startswith(" [+t] ")]

    def stop(self) -> None:
        """End it in order; the ancestor knows no order."""
        if self._process.poll() is None:
            self.do("stop")
        self._process.wait(LIMIT_S)
        self._end()

    def kill(self) -> None:
        """End it; at once when it has ended already."""
        self._process.kill()
        self._process.wait()
        self._end()

    def _end(self) -> None:
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            # What was not taken any more is of no use.
            with suppress(BrokenPipeError):
                stream.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("{"):
                self.facts.append(json.loads(line))
            else:
                self.lines.append(line.rstrip("\n"))


def _cache(hosts: Sequence[str]) -> dict[str, Any]:
    urls = [f"amqp://{USER}:{PASSWORD}@{each}:5672/%2F?connection_attempts=3" for each in hosts]
    return {"addresses": list(hosts), "amqp_urls": urls, "time_out_in_minutes": 60}


def _environment(kind: Kind, home: Path) -> dict[str, str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MIROS_MESH_")}
    environment |= {"HOME": str(home), "MIROS_MESH_HOME": str(home)}
    if kind == "old":
        # Its environment has packages of its own, and nothing of ours.
        environment.pop("PYTHONPATH", None)
        environment["PATH"] = os.pathsep.join([str(home), environment.get("PATH", os.defpath)])
        return environment
    return environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
