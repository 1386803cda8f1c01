"""Three hosts with a RabbitMQ each and one without, on networks of several kinds."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from miros_mesh.wire.keyring import generate_key
from support.namespaces import INTERFACE, Everywhere, Host, Network
from support.rabbitmq_server import PASSWORD, USER, RabbitServer
from support.tls import Authority
from support.waiting import wait_until

RESIDENT = Path(__file__).with_name("resident.py")
LIMIT_S = 30.0
A, B, C, D = "ada", "bob", "cyd", "dan"
WITH_BROKER = (A, B, C)
# The users of the ancestor's two programs, and one who is known on two of the three hosts only.
USERS = {USER: PASSWORD, "bob": "dobbs"}
OTHER_USER, OTHER_PASSWORD = "eve", "wall-e"
Fact = dict[str, Any]
_numbers = itertools.count(1)


def numbered(pattern: str, *parts: str) -> dict[str, list[str]]:
    """The addresses of the four hosts in one network."""
    return {host: [pattern.format(part)] for host, part in zip((A, B, C, D), parts, strict=True)}


HOME_24 = numbered("192.168.7.{}/24", "10", "200", "77", "3")
SITE_24 = numbered("10.7.9.{}/24", "1", "2", "254", "128")
SITE_22 = numbered("10.8.{}/22", "0.1", "1.255", "3.254", "2.17")
RFC_4193 = numbered("fd07:7::{}/64", "a", "b", "c", "d")
# Each host still has the link-local IPv6 address that its kernel has given it.
LINK_LOCAL: dict[str, list[str]] = {host: [] for host in (A, B, C, D)}
SLASH_24 = {"192.168": HOME_24, "10": SITE_24}


class Resident:
    """The program on a host, seen from the test. It is free to look at its local network."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.name = host.name
        self.facts: list[Fact] = []
        self._orders = itertools.count()
        self.home = folder / host.name
        self.home.mkdir()
        with (self.home / "complaints.txt").open("wb") as complaints:
            self._process = subprocess.Popen(
                host.command(sys.executable, str(RESIDENT)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=free(self.home),
                text=True,
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def do(self, do: str, **arguments: Any) -> Any:
        """Give an order, and wait for what comes of it."""
        return self.result(self.begin(do, **arguments))

    def begin(self, do: str, **arguments: Any) -> int:
        """Give an order."""
        order = next(self._orders)
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"order": order, "do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        return order

    def result(self, order: int) -> Any:
        """What came of an order."""
        answer = wait_until(
            lambda: next((f for f in list(self.facts) if f.get("order") == order), None),
            LIMIT_S,
            message=f"order {order} on {self.name}",
        )
        assert answer["what"] == "done", answer["error"]
        return answer["result"]

    def wait_ready(self) -> None:
        wait_until(lambda: self.facts, LIMIT_S, message=f"a program on {self.name}")

    def close(self) -> None:
        self._process.communicate(timeout=LIMIT_S)
        self._reader.join()

    def complaints(self) -> str:
        """What it wrote on standard error."""
        return (self.home / "complaints.txt").read_text()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.facts.append(json.loads(line))


class Node:
    """A node with the ancestor's example on a host, as a test sees it."""

    def __init__(self, resident: Resident, name: str, settings: Mapping[str, Any]) -> None:
        self.host = resident.name
        self.name = name
        self.chart = f"ao_{name}"
        self.settings = dict(settings)
        self._resident = resident
        self._order = resident.begin("start", node=name, settings=self.settings)

    def wait_started(self) -> Self:
        self._resident.result(self._order)
        return self

    def stop(self) -> str:
        """End it; what its report says."""
        report: str = self._resident.do("stop", node=self.name)
        return report

    def do(self, do: str, **arguments: Any) -> Any:
        """An order for this node."""
        return self._resident.do(do, node=self.name, **arguments)

    def facts(self, what: str, **wanted: Any) -> list[Fact]:
        """What it has told so far of that kind, with these values."""
        return [
            fact
            for fact in list(self._resident.facts)
            if fact["node"] == self.name
            and fact["what"] == what
            and all(fact.get(key) == value for key, value in wanted.items())
        ]

    def wait_for(self, what: str, *, limit_s: float = LIMIT_S, **wanted: Any) -> Fact:
        """The first such fact."""
        found: list[Fact] = wait_until(
            lambda: self.facts(what, **wanted),
            limit_s,
            message=f"{self.name}: {what} {wanted}",
        )
        return found[0]

    def verdicts(self) -> dict[str, set[str]]:
        """What its scouts have said of each host."""
        said: dict[str, set[str]] = {}
        for fact in self.facts("scouted"):
            said.setdefault(host_of(fact["host"]), set()).add(fact["verdict"])
        return said

    def peers(self) -> dict[str, str]:
        """The hosts of the brokers that it knows, each with its state; home left out."""
        found = {
            host_of(where.partition("@")[2].partition("/")[0]): state
            for where, state in self.do("peers").items()
        }
        return {host: state for host, state in found.items() if host != "127.0.0.1"}

    @property
    def up(self) -> set[str]:
        """The other hosts' brokers to which it is connected."""
        return {host for host, state in self.peers().items() if state == "up"}

    def wait_up(self, hosts: set[str]) -> None:
        """Wait until it is connected to the brokers of these other hosts, and to no other's."""
        wait_until(lambda: self.up == hosts, LIMIT_S, message=f"{self.name} knows {hosts}")

    def handled(self, signal: str) -> list[Any]:
        """The payloads of the events of this name that its chart has handled."""
        return [fact["payload"] for fact in self.facts("handled", signal=signal)]


class Lan:
    """The network, its brokers and the programs on its hosts."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder = folder
        self._programs = programs
        # It vouches for the brokers at the addresses of `HOME_24`.
        self.authority = Authority(folder)
        self._stack = ExitStack()
        self.brokers: dict[str, RabbitServer] = {}
        self.residents: dict[str, Resident] = {}

    def start(self) -> None:
        with ExitStack() as stack:
            self.network = stack.enter_context(Network(HOME_24))
            for name in WITH_BROKER:
                server = self.brokers[name] = self._broker(name)
                # Nothing of it is worth an orderly end, which takes seconds.
                stack.callback(server.close)
                stack.callback(server.kill)
            with ThreadPoolExecutor() as starters:
                started = [starters.submit(each.start) for each in self.brokers.values()]
                for host in self.network.hosts.values():
                    resident = self.residents[host.name] = Resident(host, self._folder)
                    stack.callback(resident.close)
                for each in started:
                    each.result()
            for resident in self.residents.values():
                resident.wait_ready()
            self._stack = stack.pop_all()

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def renumber(self, plan: Mapping[str, Sequence[str]]) -> None:
        """Put the hosts on another network; none remembers any other."""
        for host in self.network.hosts.values():
            host.ip(
                f"address flush dev {INTERFACE} scope global\nneighbour flush dev {INTERFACE}\n"
                + "".join(
                    f"address add {address} dev {INTERFACE}{' nodad' if ':' in address else ''}\n"
                    for address in plan[host.name]
                )
            )

    def _broker(self, name: str) -> RabbitServer:
        users = USERS | ({OTHER_USER: OTHER_PASSWORD} if name in (A, B) else {})
        file = self._folder / f"{name}.json"
        file.write_text(json.dumps(_definitions(users)))
        home = HOME_24[name][0].partition("/")[0]
        files = self.authority.vouch(name, home, "127.0.0.1")
        settings = (
            f"load_definitions = {file}\n"
            "listeners.ssl.default = :::5671\n"
            f"ssl_options.cacertfile = {files.authority}\n"
            f"ssl_options.certfile = {files.certificate}\n"
            f"ssl_options.keyfile = {files.key}\n"
            "ssl_options.verify = verify_none\n"
        )
        place = Everywhere(self.network[name])
        return RabbitServer(self._folder / f"{name}-broker", self._programs, settings, place)


class Program:
    """A program on a host that ends with its input, and what it has printed so far."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self._complaints: list[str] = []
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        streams = (
            (self._process.stdout, self.lines),
            (self._process.stderr, self._complaints),
        )
        self._readers = [threading.Thread(target=_read, args=each) for each in streams]
        for reader in self._readers:
            reader.start()

    def finished(self, limit_s: float = LIMIT_S) -> str:
        """Everything that it has printed, once it has ended by itself, and well."""
        code = self._process.wait(limit_s)
        self._join()
        assert code == 0, "".join(self._complaints)
        return "".join(self.lines)

    def ended(self, limit_s: float = LIMIT_S) -> str:
        """What it has printed, once it has noticed the end of its input."""
        assert self._process.stdin
        self._process.stdin.close()
        return self.finished(limit_s)

    def kill(self) -> None:
        """End it; at once when it has ended already."""
        self._process.kill()
        self._process.wait()
        self._join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _join(self) -> None:
        for reader in self._readers:
            reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream
            stream.close()


def _read(stream: IO[str], lines: list[str]) -> None:
    # Line by line: a test that waits for one reads the list meanwhile.
    for line in stream:
        lines += (line,)


class Street:
    """What one test does on the network: its nodes have a key of their own, and stop with it."""

    def __init__(self, lan: Lan, folder: Path) -> None:
        self.lan = lan
        self.key = generate_key().decode()
        self._folder = folder
        self._plan: Mapping[str, Sequence[str]] = {}
        self._nodes: list[Node] = []
        self.renumber(HOME_24)

    def renumber(self, plan: Mapping[str, Sequence[str]]) -> None:
        """Put the hosts on another network."""
        self._plan = plan
        self.lan.renumber(plan)

    def address(self, host: str) -> str:
        """The address of a host."""
        return self._plan[host][0].partition("/")[0]

    def addresses(self, *hosts: str) -> set[str]:
        return {self.address(host) for host in hosts}

    def begin(self, host: str, **settings: Any) -> Node:
        """Start a node, without waiting for it; settings over those of this street."""
        name = f"{host}{next(_numbers)}"
        made = Node(self.lan.residents[host], name, self.settings(host) | settings)
        self._nodes.append(made)
        return made

    def settings(self, host: str) -> dict[str, Any]:
        """The settings of a node on a host, as keyword arguments."""
        return {
            "rabbit_user": USER,
            "rabbit_password": PASSWORD,
            "mesh_encryption_key": self.key,
            "discovery_cache_file": str(self.cache(host)),
            "discovery_hosts_file": str(self._folder / f"{host}.hosts.json"),
            "drain_timeout_s": 1.0,
        }

    def start(self, *hosts: str, **settings: Any) -> list[Node]:
        """Start a node on each host, all at once."""
        return [node.wait_started() for node in [self.begin(h, **settings) for h in hosts]]

    def meet(self, *nodes: Node) -> None:
        """Wait until each of these nodes is connected to all the others, and to no other."""
        for node in nodes:
            node.wait_up(self.addresses(*(each.host for each in nodes if each is not node)))

    def end(self, node: Node) -> str:
        """Stop a node before the test ends; what its report says."""
        self._nodes.remove(node)
        return node.stop()

    def cache(self, host: str) -> Path:
        """The file in which a host keeps what it has found."""
        return self._folder / f"{host}.cache.json"

    def forget(self, host: str) -> None:
        """Let a host forget every other, in its cache and in its kernel."""
        self.cache(host).unlink(missing_ok=True)
        self.lan.network[host].ip(f"neighbour flush dev {INTERFACE}\n")

    def list_hosts(self, host: str, *listed: str) -> None:
        """Write the hosts file of a host."""
        file = self._folder / f"{host}.hosts.json"
        file.write_text(json.dumps({"hosts": listed}))

    def sniff(self, host: str) -> None:
        """Note from now on what a host sends."""
        # The kernel asks for 3 s for an address that did not answer; that is none of what is noted.
        self.lan.network[host].ip(f"neighbour flush dev {INTERFACE}\n")
        self.lan.residents[host].do("sniff", interface=INTERFACE)

    def sniffed(self, host: str) -> list[str]:
        """What it has sent."""
        found: list[str] = self.lan.residents[host].do("sniffed")
        return found

    def program(self, host: str, *argv: str, **variables: str) -> Program:
        """Run a Python program on a host."""
        command = self.lan.network[host].command(sys.executable, *argv)
        return Program(command, free(self._folder) | variables)

    def close(self) -> None:
        with ThreadPoolExecutor() as stopping:
            for ended in [stopping.submit(node.stop) for node in self._nodes]:
                ended.result()


def all_hear_each_other(nodes: Sequence[Node], signal: str = "word") -> None:
    """Each sends events until all the others have handled one of them."""
    for node in nodes:
        hear(node, [each for each in nodes if each is not node], f"{signal}_of_{node.name}")


def hear(speaker: Node, listeners: Sequence[Node], signal: str) -> None:
    """An event of one reaches all the others, once each, as soon as it knows them."""
    wait_until(lambda: len(speaker.up) >= len(listeners), LIMIT_S, message=f"peers {speaker.name}")
    speaker.do("transmit", signal=signal, payload=speaker.name)
    for listener in listeners:
        listener.wait_for("handled", signal=signal)
    for listener in listeners:
        assert listener.handled(signal) == [speaker.name]


def host_of(where: str) -> str:
    """The host of `host`, `host:5672`, `[fd00::7]:5671`, `[fe80::7%25lan0]:5672`."""
    return where.removesuffix(":5672").removesuffix(":5671").strip("[]").replace("%25", "%")


def free(home: Path) -> dict[str, str]:
    """The environment of a program inside of the network: only that may look around."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MIROS_MESH_")}
    path = os.pathsep.join(filter(None, sys.path))
    return {**environment, "HOME": str(home), "MIROS_MESH_HOME": str(home), "PYTHONPATH": path}


def _definitions(users: Mapping[str, str]) -> dict[str, Any]:
    return {
        "vhosts": [{"name": "/"}],
        "users": [
            {"name": name, "password": password, "tags": ""} for name, password in users.items()
        ],
        "permissions": [
            {"user": name, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
            for name in users
        ],
    }
