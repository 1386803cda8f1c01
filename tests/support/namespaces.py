"""A private network for tests: hosts joined by a switch, with cables to cut, delay and lose on.

Hosts and switch are Linux network namespaces without a name, held by processes which end with
their input: nothing of it outlives the test run, however that ends. No interface of a host is
connected to the machine, and there is no route out. Without root the namespaces belong to a user
namespace of their own.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_interface
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from support.rabbitmq_server import RabbitServer

INTERFACE = "lan0"
AMQP_PORT = 5672
NO_NAMESPACES = (
    "needs Linux network namespaces ({}): run the tests as root, or allow user namespaces to "
    "others (sysctl kernel.apparmor_restrict_unprivileged_userns=0), and have ip: `make test` as "
    "root installs it with apt; otherwise: sudo apt-get install iproute2"
)

_WIRE = Path(__file__).with_name("wire.py")
_COMMAND_LIMIT_S = 20.0
_PORTS = (AMQP_PORT, 25672, 4369)
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_AS_ROOT = os.geteuid() == 0
_UNSHARE = ("unshare", "--net", "--mount")
_OWN_USERS = () if _AS_ROOT else ("--user", "--map-root-user")
# The look-ups of a host end in its own files: whatever the machine asks would be asked outside.
_HOLD = """
for name in hosts resolv.conf nsswitch.conf; do
    if [ -e /etc/$name ]; then mount --bind "$0/$name" "/etc/$name" || exit; fi
done
if [ -d /run/nscd ]; then mount -t tmpfs none /run/nscd || exit; fi
ip link set lo up && echo ready && read -r _
"""
_LOOKUPS = {
    "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
_SWITCH = """
link add switch type bridge
link set switch up
"""
_NO_IPV6 = "for file in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 1 > $file; done"
_SPEAKS_AMQP = """
import socket, sys, time
end = time.monotonic() + 2
while time.monotonic() < end:
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1) as client:
            client.sendall(b"AMQP\\0\\0\\x09\\x01")
            sys.exit(not client.recv(1))
    except OSError:
        time.sleep(0.05)
sys.exit(1)
"""


class NetworkError(Exception):
    """A command inside the network failed; the message has its last words."""


@cache
def why_not() -> str | None:
    """Why this machine cannot have such a network; None when it can."""
    if shutil.which("ip", path=_PATH) is None:
        return NO_NAMESPACES.format("there is no program ip")
    command = [*_UNSHARE, *_OWN_USERS, "ip", "link", "add", "probe", "type", "veth"]
    try:
        _finished(command)
    except (NetworkError, OSError) as error:
        return NO_NAMESPACES.format(error)
    return None


@dataclass(frozen=True)
class Toll:
    """How many frames a bad cable let through, and how many it lost."""

    passed: int = 0
    lost: int = 0


class Namespace:
    """One network namespace, with look-ups of its own."""

    def __init__(self, lookups: Path, inside: Sequence[str] = ()) -> None:
        self._holder = subprocess.Popen(
            [*inside, *_UNSHARE, *(() if inside else _OWN_USERS), "sh", "-c", _HOLD, str(lookups)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
        self.pid = self._holder.pid
        assert self._holder.stdout
        if self._holder.stdout.readline() != b"ready\n":
            self.close()
            raise NetworkError("a network namespace cannot be made")

    def command(self, *argv: str) -> list[str]:
        """What runs a program here; it keeps the number of its process."""
        return [*self.users, "--net", "--mount", "--", *argv]

    @property
    def users(self) -> list[str]:
        """What enters the user namespace that owns this one."""
        enter = ["nsenter", "--target", str(self.pid)]
        return enter if _AS_ROOT else [*enter, "--user", "--preserve-credentials"]

    def run(self, *argv: str, lines: str = "") -> str:
        """Run a program to its end, and return what it prints. Raises `NetworkError`."""
        return _finished(self.command(*argv), lines)

    def ip(self, lines: str) -> None:
        """Run `ip` for each line."""
        self.run("ip", "-batch", "-", lines=lines)

    def close(self) -> None:
        """Forget it; it is gone when the last program in it has ended."""
        self._holder.communicate(timeout=_COMMAND_LIMIT_S)


T = TypeVar("T", bound=Namespace)


class Host(Namespace):
    """A machine on the network. A `RabbitServer` takes it as its place."""

    def __init__(
        self, name: str, addresses: Sequence[str], lookups: Path, inside: Sequence[str]
    ) -> None:
        super().__init__(lookups, inside)
        self.name = name
        self.addresses = [ip_interface(address) for address in addresses]
        self.host = str(self.addresses[0].ip)

    def ports(self, count: int) -> list[int]:
        """Ports that nobody else has: the host runs nothing but what a test starts."""
        return list(_PORTS[:count])

    def speaks_amqp(self, port: int, address: str = "") -> bool:
        """Whether a broker answers here; waits for it a little."""
        probe = [sys.executable, "-S", "-c", _SPEAKS_AMQP, address or self.host, str(port)]
        try:
            self.run(*probe)
        except NetworkError:
            return False
        return True

    def rabbitmq(self, folder: Path, programs: Path, settings: str = "") -> RabbitServer:
        """A RabbitMQ server on this host, not yet started."""
        return RabbitServer(folder, programs, settings, place=self)


class Everywhere:
    """A `Place`: a broker that listens on every address of its host, whatever those become."""

    host = "::"

    def __init__(self, host: Host) -> None:
        self._host = host

    def ports(self, count: int) -> list[int]:
        return self._host.ports(count)

    def command(self, *argv: str) -> list[str]:
        return self._host.command(*argv)

    def speaks_amqp(self, port: int) -> bool:
        return self._host.speaks_amqp(port, "127.0.0.1")


class Network:
    """Hosts on one switch: `Network({"left": ["10.7.0.1/24"], "right": ["10.7.0.2/24"]})`."""

    def __init__(self, plan: Mapping[str, Sequence[str]]) -> None:
        self.hosts: dict[str, Host] = {}
        self._plan = plan
        self._wires: dict[str, _Wire] = {}
        self._stack = ExitStack()

    def __getitem__(self, host: str) -> Host:
        return self.hosts[host]

    def start(self) -> None:
        """Make switch, hosts and cables."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mesh-network-")))
            self._write_lookups(folder)
            self.switch = self._held(stack, Namespace(folder))
            self.switch.run("sh", "-c", _NO_IPV6)
            self.switch.ip(_SWITCH)
            inside = () if _AS_ROOT else (*self.switch.users, "--")
            for number, (name, addresses) in enumerate(self._plan.items()):
                host = self._held(stack, Host(name, addresses, folder, inside))
                self.hosts[name] = host
                self._plug_in(number, host)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """End everything that was made; programs on the hosts have ended before."""
        for host in list(self._wires):
            self.clear(host)
        self._stack.close()

    def cut(self, host: str) -> None:
        """Pull a host's cable out of the switch."""
        self.switch.ip(f"link set {self._port(host)} down\n")

    def mend(self, host: str) -> None:
        """Put a host's cable back."""
        self.switch.ip(f"link set {self._port(host)} up\n")

    def worsen(self, host: str, *, loss: float = 0.0, delay_s: float = 0.0) -> None:
        """Lose a share of the frames on a host's cable, and delay the others: each way."""
        self.clear(host)
        self._wires[host] = _Wire(self.switch, self._port(host), loss, delay_s)

    def clear(self, host: str) -> Toll:
        """Make a host's cable a good one again."""
        wire = self._wires.pop(host, None)
        return wire.close() if wire else Toll()

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

    def _held(self, stack: ExitStack, namespace: T) -> T:
        stack.callback(namespace.close)
        return namespace

    def _port(self, host: str) -> str:
        return f"port{list(self.hosts).index(host)}"

    def _plug_in(self, number: int, host: Host) -> None:
        port = f"port{number}"
        self.switch.ip(
            f"link add {port} type veth peer name {INTERFACE} netns {host.pid}\n"
            f"link set {port} master switch up\n"
        )
        # Nobody else can have an address of ours, so an IPv6 one need not wait to find out.
        addresses = [
            f"address add {address} dev {INTERFACE}{' nodad' if address.version == 6 else ''}\n"
            for address in host.addresses
        ]
        host.ip("".join([*addresses, f"link set {INTERFACE} up\n"]))

    def _write_lookups(self, folder: Path) -> None:
        hosts = [f"127.0.0.1 localhost {socket.gethostname()}", "::1 localhost"]
        for name, addresses in self._plan.items():
            hosts += [f"{ip_interface(address).ip} {name}" for address in addresses]
        for name, text in {**_LOOKUPS, "hosts": "\n".join([*hosts, ""])}.items():
            (folder / name).write_text(text)


class _Wire:
    """A bad cable between a port and the switch, made of a program: not every kernel has netem."""

    def __init__(self, switch: Namespace, port: str, loss: float, delay_s: float) -> None:
        self.switch = switch
        self._port = port
        self._near, self._far = f"{port}-near", f"{port}-far"
        switch.ip(
            f"link add {self._near} type veth peer name {self._far}\n"
            f"link set {self._far} master switch up\n"
            f"link set {self._near} up\n"
            f"link set {port} nomaster\n"
        )
        self._process = subprocess.Popen(
            switch.command(
                *(sys.executable, "-S", str(_WIRE)), port, self._near, str(loss), str(delay_s)
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        if self._process.stdout.readline() != "ready\n":
            raise NetworkError(f"no bad cable at {port}")

    def close(self) -> Toll:
        said, _ = self._process.communicate(timeout=_COMMAND_LIMIT_S)
        self.switch.ip(f"link del {self._near}\nlink set {self._port} master switch\n")
        return Toll(*map(int, said.split()))


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": _PATH}


def _finished(argv: Sequence[str], lines: str = "") -> str:
    done = subprocess.run(
        argv,
        input=lines,
        capture_output=True,
        text=True,
        timeout=_COMMAND_LIMIT_S,
        check=False,
        env=_environment(),
    )
    if done.returncode:
        raise NetworkError(f"{argv[-1]}: {done.stderr.strip()[-1000:]}")
    return done.stdout
