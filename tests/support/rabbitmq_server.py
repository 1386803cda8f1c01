"""A private RabbitMQ server for tests: own ports, own folder, own epmd, nothing but loopback.

It shares nothing with a RabbitMQ that the machine already runs, and it ends with the test run,
even when the test run is killed: the server reads from a pipe that the run holds open.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from support.waiting import wait_until

HOST = "127.0.0.1"
USER = "peter"
PASSWORD = "rabbit"
VHOSTS_PER_REFILL = 25
# On a busy machine a server takes a minute to start; one that never does is found out all the same.
START_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 120.0
COMMAND_TIMEOUT_S = 240.0
# Below the range from which Linux takes the local ports of outgoing connections, so that a port
# is still free when a stopped server starts again.
PORTS = range(20_000, 30_000)
# A program that ends with its input, and so with the test run, however that ends.
UNTIL_INPUT_ENDS = '"$@" & read -r _; kill $!'
# A stopped server would not notice the end of its own input.
UNTIL_INPUT_ENDS_STOPPED = 'kill -STOP "$0"; read -r _; kill -CONT "$0"'
_POLICY = "short"
AMQP_HEADER = b"AMQP\x00\x00\x09\x01"


class RabbitServerError(Exception):
    """The server did not do what it was told; the message ends with the tail of its log."""


def find_programs() -> Path | None:
    """Return the folder with `rabbitmq-server` and `rabbitmqctl`, or None without RabbitMQ."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which("rabbitmq-server", path=path)
    # Debian puts a wrapper on the PATH which changes the user and drops the environment. It lies
    # beside the real program.
    return Path(found).resolve().parent if found else None


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nobody listens on."""
    ports: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise RabbitServerError("no free port on the loopback interface")


def erlang_string(text: str) -> str:
    """Return `text` as an Erlang binary literal."""
    return "<<" + ",".join(str(byte) for byte in text.encode()) + ">>"


def _definition(of: Mapping[str, object]) -> str:
    return json.dumps({name.replace("_", "-"): value for name, value in of.items()})


class Place(Protocol):
    """Where a server runs."""

    @property
    def host(self) -> str:
        """The address on which it listens for AMQP."""

    def ports(self, count: int) -> list[int]:
        """Ports for it."""

    def command(self, *argv: str) -> list[str]:
        """What runs a program there, in the process that it is started in."""

    def speaks_amqp(self, port: int) -> bool:
        """Whether a broker answers on that port."""


class Loopback:
    """The loopback interface of this machine."""

    host = HOST

    def ports(self, count: int) -> list[int]:
        return free_ports(count)

    def command(self, *argv: str) -> list[str]:
        return list(argv)

    def speaks_amqp(self, port: int) -> bool:
        try:
            with socket.create_connection((HOST, port), timeout=5) as client:
                client.sendall(AMQP_HEADER)
                return bool(client.recv(1))
        except OSError:
            return False


class RabbitServer:
    """One node; `start`, `stop` and `kill` it as often as a test needs, then `close` it."""

    # How the servers of Erlang are named, and at which address they talk to each other.
    _names = "-sname"
    _spoken_at = HOST

    def __init__(
        self, folder: Path, programs: Path, settings: str = "", place: Place | None = None
    ) -> None:
        self._place: Place = place or Loopback()
        self.host = self._place.host
        self.programs = programs
        self.port, self._dist_port, self._epmd_port = self._place.ports(3)
        self._folder = folder
        self._output = folder / "output.txt"
        self._said_before = 0
        self._node = f"mesh-{secrets.token_hex(4)}@localhost"
        self._vhosts: list[str] = []
        self._vhosts_made = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._write_files(settings)

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        return f"<RabbitServer {self.host}:{self.port} {state}>"

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    @property
    def pid(self) -> int | None:
        return self._server.pid if self._server else None

    def enable(self, *plugins: str) -> None:
        """Let it have these plugins when it starts."""
        self._file("enabled_plugins", f"[{', '.join(plugins)}].\n")

    def disk_bytes(self) -> int:
        """How many bytes it has on the disk, without its logs."""
        files = (self._folder / "mnesia").rglob("*")
        return sum(file.stat().st_blocks * 512 for file in files if file.is_file())

    def url(self, vhost: str = "/", user: str = USER, password: str = PASSWORD) -> str:
        """Return the AMQP URL of a virtual host, for programs that run where the server is heard.

        From anywhere else the address may be a stranger's.
        """
        who = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"amqp://{who}@{self.host}:{self.port}/{quote(vhost, safe='')}"

    def start(self) -> None:
        """Start the node and return when it speaks AMQP, and listens wherever it shall."""
        if self.running:
            return
        self._start_epmd()
        with self._output.open("ab") as output:
            self._said_before = output.tell()
            self._server = subprocess.Popen(
                self._place.command(str(self.programs / "rabbitmq-server")),
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._await_amqp()

    def stop(self) -> None:
        """Stop the node as an operator would: connections are closed with a reason."""
        if self.running and self._server:
            self._server.terminate()
        self._reap()

    def kill(self) -> None:
        """End the node in the middle of what it does."""
        if self.running and self._server:
            self._server.kill()
        self._reap()

    def close(self) -> None:
        """Stop everything that was started."""
        self.stop()
        if self._epmd:
            self._epmd.communicate(timeout=STOP_TIMEOUT_S)
            self._epmd = None

    def rabbitmqctl(self, *arguments: str) -> str:
        """Run an administrator's command and return what it prints."""
        return self._printed(self._place.command(*self._ctl, *arguments)).strip()

    def run(self, script: str, folder: Path) -> str:
        """Run an administrator's script in a folder, with `rabbitmqctl` of this server."""
        # By its environment it knows the server. With an option before the command, rabbitmqctl of
        # RabbitMQ 4.0 would not read a password that comes by `<`.
        ctl = shlex.join(self._place.command(str(self.programs / "rabbitmqctl")))
        commands = f'sudo() {{ "$@"; }}\nrabbitmqctl() {{ {ctl} "$@"; }}\n'
        return self._printed(["sh", "-eu", "-c", f"{commands}{script}"], folder)

    @property
    def _ctl(self) -> list[str]:
        return [str(self.programs / "rabbitmqctl"), "--silent", "-n", self._node]

    def _printed(self, command: list[str], folder: Path | None = None) -> str:
        done = subprocess.run(
            command,
            env=self._environment(),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise RabbitServerError(f"{command}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def import_definitions(self, text: str) -> None:
        """Import definitions, as `rabbitmqctl import_definitions` does that starts an Erlang."""
        answer = self.eval(f"rabbit_definitions:import_raw({erlang_string(text)})")
        if answer != "ok":
            raise RabbitServerError(f"the definitions are refused: {answer}")

    def eval(self, expression: str) -> str:
        """Run an Erlang expression in the node and return its value as Erlang prints it."""
        # `rabbitmqctl` starts an Erlang of its own for each call, seconds of work; this does not.
        if (value := self._called(expression)) is not None:
            return value
        return self.rabbitmqctl("eval", f"{expression}.")

    def _called(self, expression: str) -> str | None:
        """Ask by `erl_call`, which Debian's Erlang brings; None where that gives no value."""
        program, cookie = shutil.which("erl_call"), self._folder / "home" / ".erlang.cookie"
        if program is None or not cookie.exists():
            return None
        done = subprocess.run(
            self._place.command(program, self._names, self._node, "-c", cookie.read_text(), "-e"),
            env=self._environment(),
            input=f"{expression}.\n",
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        answer = done.stdout.strip()
        if done.returncode or not (answer.startswith("{ok, ") and answer.endswith("}")):
            return None
        return answer[len("{ok, ") : -1]

    def new_vhost(self) -> str:
        """Return the name of a virtual host that no test has used."""
        if not self._vhosts:
            self._vhosts = self._make_vhosts(VHOSTS_PER_REFILL)
        return self._vhosts.pop()

    def add_user(self, user: str, password: str) -> None:
        """Add a user who may enter no virtual host."""
        name, secret = erlang_string(user), erlang_string(password)
        self.eval(f"ok = rabbit_auth_backend_internal:add_user({name}, {secret}, <<>>)")

    def delete_user(self, user: str) -> None:
        """Delete a user; the server closes the connections of that user."""
        self.eval(f"ok = rabbit_auth_backend_internal:delete_user({erlang_string(user)}, <<>>)")

    def set_permissions(
        self, user: str, vhost: str, configure: str = ".*", write: str = ".*", read: str = ".*"
    ) -> None:
        """Let a user into a virtual host, with patterns of what the user may do there."""
        words = ", ".join(erlang_string(word) for word in (user, vhost, configure, write, read))
        self.eval(f"ok = rabbit_auth_backend_internal:set_permissions({words}, <<>>)")

    def set_topic_permissions(self, user: str, vhost: str, exchange: str, write: str) -> None:
        """Let a user write to an exchange under the topics of a pattern only, and read all."""
        words = ", ".join(erlang_string(word) for word in (user, vhost, exchange, write, ".*"))
        self.eval(f"ok = rabbit_auth_backend_internal:set_topic_permissions({words}, <<>>)")

    def clear_topic_permissions(self, user: str, vhost: str) -> None:
        """Let a user write under any topic."""
        words = ", ".join(erlang_string(word) for word in (user, vhost))
        self.eval(f"ok = rabbit_auth_backend_internal:clear_topic_permissions({words}, <<>>)")

    def limit_user(self, user: str, **limits: int) -> None:
        """Set the limits of a user, `max_channels` say."""
        words = f"{erlang_string(user)}, {erlang_string(_definition(limits))}"
        self.eval(f"ok = rabbit_auth_backend_internal:set_user_limits({words}, <<>>)")

    def limit_vhost(self, vhost: str, **limits: int) -> None:
        """Set the limits of a virtual host, `max_queues` say; none takes all of them away."""
        name = erlang_string(vhost)
        if limits:
            words = f"{name}, {erlang_string(_definition(limits))}"
            self.eval(f"ok = rabbit_vhost_limit:parse_set({words}, <<>>)")
        else:
            self.eval(f"ok = rabbit_vhost_limit:clear({name}, <<>>)")

    def limit_queues(self, vhost: str, pattern: str, messages: int) -> None:
        """Let the queues of a pattern refuse what is published beyond so many messages."""
        definition = _definition({"max-length": messages, "overflow": "reject-publish"})
        words = ", ".join(map(erlang_string, (vhost, _POLICY, pattern, definition)))
        self.eval(f'ok = rabbit_policy:parse_set({words}, "0", <<"queues">>, <<>>)')

    def lift_queues(self, vhost: str) -> None:
        """Take away what `limit_queues` has set."""
        self.eval(
            f"ok = rabbit_policy:delete({erlang_string(vhost)}, {erlang_string(_POLICY)}, <<>>)"
        )

    def close_user_connections(self, user: str) -> None:
        """Close every connection of a user from the server's side."""
        self.eval(
            f'rabbit_networking:close_all_user_connections({erlang_string(user)}, "by a test")'
        )

    def delete_vhost(self, vhost: str) -> None:
        """Delete a virtual host and everything in it."""
        self.eval(f"rabbit_vhost:delete({erlang_string(vhost)}, <<>>)")

    def refusals(self, *users: str) -> list[str]:
        """What it says in its log, or prints, that it has refused to these users."""
        refused = re.compile(rf"refused for user '({'|'.join(map(re.escape, users))})'")
        logs = [*(self._folder / "log").glob("*.log"), self._output]
        lines = (line for log in logs for line in log.read_text(errors="replace").splitlines())
        return [line for line in lines if refused.search(line)]

    def close_all_connections(self, reason: str = "closed by a test") -> int:
        """Close every client's connection from the server's side; return how many there were."""
        words = f"binary_to_list({erlang_string(reason)})"
        close = f"rabbit_networking:close_connection(Connection, {words})"
        done = self.eval(f"length([{close} || Connection <- rabbit_networking:connections()])")
        return int(done)

    @contextmanager
    def memory_alarm(self) -> Iterator[None]:
        """Block publishers the way a server does that runs out of memory."""
        before = self.eval("vm_memory_monitor:get_vm_memory_high_watermark()")
        self.eval("vm_memory_monitor:set_vm_memory_high_watermark(0.0)")
        try:
            yield
        finally:
            self.eval(f"vm_memory_monitor:set_vm_memory_high_watermark({before})")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the server do nothing, as a machine does that is short of memory."""
        with subprocess.Popen(
            ["/bin/sh", "-c", UNTIL_INPUT_ENDS_STOPPED, str(self.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        ):
            yield

    def _make_vhosts(self, count: int) -> list[str]:
        first = self._vhosts_made
        self._vhosts_made += count
        user, every = erlang_string(USER), erlang_string(".*")
        name = 'list_to_binary("test-" ++ integer_to_list(N))'
        allow = f"set_permissions({user}, V, {every}, {every}, {every}, <<>>)"
        self.eval(
            f"[begin V = {name}, rabbit_vhost:add(V, <<>>), "
            f"ok = rabbit_auth_backend_internal:{allow} end "
            f"|| N <- lists:seq({first}, {first + count - 1})]"
        )
        return [f"test-{number}" for number in range(first, first + count)]

    def _write_files(self, settings: str) -> None:
        (self._folder / "home").mkdir(parents=True)
        self._file("enabled_plugins", "[].\n")
        self._file("rabbitmq-env.conf", "")
        self._file(
            "rabbitmq.conf",
            f"listeners.tcp.default = {self.host}:{self.port}\n"
            f"default_user = {USER}\n"
            f"default_pass = {PASSWORD}\n"
            "loopback_users = none\n"
            "disk_free_limit.absolute = 1MB\n"
            f"{settings}",
        )

    def _file(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_"))
        }
        folder = self._folder
        own = {
            "HOME": folder / "home",
            "ERL_EPMD_ADDRESS": self._spoken_at,
            "ERL_EPMD_PORT": self._epmd_port,
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": self._dist_port,
            "RABBITMQ_MNESIA_BASE": folder / "mnesia",
            "RABBITMQ_LOG_BASE": folder / "log",
            "RABBITMQ_CONFIG_FILE": folder / "rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": folder / "advanced.config",
            "RABBITMQ_CONF_ENV_FILE": folder / "rabbitmq-env.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "enabled_plugins",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f"-kernel inet_dist_use_interface {{{self._spoken_at.replace('.', ',')}}}"
            ),
            # With input allowed, the start script becomes the server (one process to signal),
            # and the server ends when its input does.
            "RABBITMQ_ALLOW_INPUT": "1",
        }
        return inherited | {name: str(value) for name, value in own.items()}

    def _start_epmd(self) -> None:
        if self._epmd and self._epmd.poll() is None:
            return
        program = shutil.which("epmd")
        if program is None:
            raise RabbitServerError("epmd, a part of Erlang, is not on the PATH")
        where = "-port", str(self._epmd_port), "-address", self._spoken_at
        command = self._place.command(program, *where)
        self._epmd = subprocess.Popen(
            ["/bin/sh", "-c", UNTIL_INPUT_ENDS, "sh", *command],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def _await_amqp(self) -> None:
        try:
            wait_until(self._answers, START_TIMEOUT_S, message=f"{self!r} speaks AMQP")
        except AssertionError as error:
            self.kill()
            output = self._output.read_text(errors="replace")
            raise RabbitServerError(f"{error}\n{output[-4000:]}") from error

    def _answers(self) -> bool:
        if not self.running:
            raise AssertionError("rabbitmq-server ended at its start")
        # It listens at one port after the other, and says when it is done.
        said = self._output.read_bytes()[self._said_before :]
        return b" completed with " in said and self._place.speaks_amqp(self.port)

    def _reap(self) -> None:
        if self._server is None:
            return
        try:
            self._server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait(STOP_TIMEOUT_S)
        if self._server.stdin:
            self._server.stdin.close()
        self._server = None
