"""No secret is in anything that a busy mesh writes, prints or shows, whatever went wrong."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import kombu
import pytest
from cryptography.fernet import Fernet

from support.rabbitmq_server import HOST, RabbitServer, erlang_string, free_ports
from support.waiting import wait_until

pytestmark = pytest.mark.proof

COMMAND = str(Path(sys.executable).with_name("miros-mesh"))
PROGRAM = Path(__file__).parent / "programs" / "telling.py"
NAMES = ("left", "right")
# On a busy machine a process takes seconds to start, and there are many.
LIMIT_S = 120.0
WATCH_S = 5.0
# What is looked through are megabytes.
POLL_S = 0.3

# What help, Sphinx and an IDE show of every public name.
HELP = """
import importlib, inspect, os, pkgutil, pydoc, sys
import miros_mesh

def canary(word=sys.argv[1]):
    pass

print(pydoc.render_doc(canary), inspect.signature(canary))
shown = 0
for found in pkgutil.walk_packages(miros_mesh.__path__, "miros_mesh."):
    if found.name.endswith("__main__"):
        continue
    module = importlib.import_module(found.name)
    print(pydoc.render_doc(module, renderer=pydoc.plaintext))
    for name in getattr(module, "__all__", ()):
        each = getattr(module, name)
        print(name, repr(each))
        if callable(each):
            shown += 1
            try:
                print(inspect.signature(each))
            except ValueError as error:
                # A type of the standard library's, which has none.
                print(error)
assert shown > 50, shown
"""


@dataclass(frozen=True)
class Secret:
    """A secret in all the spellings that a program could show it in."""

    name: str
    forms: tuple[bytes, ...]

    @classmethod
    def text(cls, name: str, text: str) -> Secret:
        """A password, as it is given, in a URL, in base64 at any place, and in hex."""
        raw = text.encode()
        # Three bytes are four letters, so what stands before decides how it is cut.
        aligned = (base64.b64encode(bytes(before) + raw)[4:-4] for before in range(3))
        return cls(name, (raw, quote(text, safe="").encode(), raw.hex().encode(), *aligned))

    @classmethod
    def key(cls, name: str, key: bytes) -> Secret:
        """A Fernet key, whole or one of its halves, in each spelling of its bytes."""
        raw = base64.urlsafe_b64decode(key)
        halves = [raw[:16], raw[16:]]
        forms = [
            key.rstrip(b"="),
            base64.b64encode(raw).rstrip(b"="),
            raw,
            repr(raw).encode()[2:-1],
        ]
        for half in halves:
            forms += [half, half.hex().encode(), repr(half).encode()[2:-1]]
            forms += [base64.b64encode(half)[:-3], base64.urlsafe_b64encode(half)[:-3]]
        return cls(name, tuple(forms))

    def is_in(self, evidence: bytes) -> bool:
        """Whether one of its spellings is there, in small or in large letters for the hex ones."""
        return any(form in evidence for form in self.forms) or any(
            form in evidence.lower() for form in self.forms if form.islower()
        )


@dataclass
class Evidence:
    """All that was written, by where it was found."""

    found: dict[str, bytes] = field(default_factory=dict)

    def add(self, where: str, what: bytes) -> None:
        self.found[where] = self.found.get(where, b"") + what

    def add_command_lines(self) -> None:
        """Add what every user of the machine sees of every process."""
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.add("command lines", process.read_bytes() + b"\n")
            except OSError:
                # It has ended meanwhile.
                continue

    def add_files(self, folder: Path) -> None:
        """Add the content and the name of every file."""
        for file in folder.rglob("*"):
            self.add("names of files", f"{file}\n".encode())
            if file.is_file():
                self.add(f"file {file.relative_to(folder)}", file.read_bytes())

    def with_one_of(self, known: Iterable[Secret]) -> list[tuple[str, str]]:
        """Where which secret is."""
        return [
            (s.name, where) for where, what in self.found.items() for s in known if s.is_in(what)
        ]


@dataclass
class Mesh:
    """Two busy nodes at a broker, what they must not show, and what they wrote."""

    server: RabbitServer
    folder: Path
    vhost: str
    user: str
    password: str
    wrong: str
    keys: dict[str, bytes]
    canary: str
    evidence: Evidence = field(default_factory=Evidence)
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def secrets(self) -> list[Secret]:
        texts = {"password": self.password, "wrong password": self.wrong}
        return [
            *(Secret.text(name, text) for name, text in texts.items()),
            *(Secret.key(name, key) for name, key in self.keys.items()),
        ]

    def url(self, password: str = "", port: int = 0) -> str:
        url = self.server.url(self.vhost, self.user, password or self.password)
        return url.replace(f":{self.server.port}/", f":{port or self.server.port}/")

    def secret_file(self, name: str, text: str | bytes, mode: int = 0o600) -> Path:
        file = self.folder / "secrets" / name
        file.parent.mkdir(exist_ok=True)
        file.touch(mode)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        file.chmod(mode)
        return file

    def environment(self, home: str) -> dict[str, str]:
        folder = self.folder / home
        folder.mkdir(exist_ok=True)
        hosts = folder / "hosts.json"
        if not hosts.exists():
            hosts.write_text('{"hosts": [')
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            # What kombu tells of itself only when it is asked to.
            "KOMBU_LOG_DEBUG": "1",
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "TMPDIR": str(folder),
            "MIROS_MESH_HOME": str(folder / "mesh"),
            "MIROS_MESH_BROKER_URL_FILE": str(self.folder / "secrets" / "url"),
            "MIROS_MESH_ENCRYPTION_KEY_FILE": str(self.folder / "secrets" / "mesh"),
            # In the environment, as many have them.
            "MIROS_MESH_SNOOP_SPY_ENCRYPTION_KEY": self.keys["snoop_spy"].decode(),
            "SNOOP_TRACE_ENCRYPTION_KEY": self.keys["snoop_trace"].decode(),
            "MIROS_MESH_DISCOVERY": "manual",
            "MIROS_MESH_DISCOVERY_HOSTS_FILE": str(hosts),
        }

    def start(self, stack: ExitStack, name: str) -> None:
        """Start a node; it ends with the stack."""
        environment = self.environment(name)
        out, err = (
            stack.enter_context(self.output(name, each).open("wb")) for each in ("out", "err")
        )
        node = subprocess.Popen(
            [sys.executable, str(PROGRAM), name, str(self.folder / f"{name}.log"), self.canary],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
        )
        self.nodes[name] = node
        stack.callback(_end, node)

    def output(self, name: str, stream: str) -> Path:
        return self.folder / f"{name}.{stream}"

    def said(self, name: str, words: str) -> bool:
        """Whether a node has said that on either stream; looks a few times a second."""
        threading.Event().wait(POLL_S)
        assert self.nodes[name].poll() is None, self.output(name, "err").read_text()[-3000:]
        texts = (self.output(name, each).read_text(errors="replace") for each in ("out", "err"))
        return any(words in text for text in texts)

    def await_said(self, words: str) -> None:
        for name in self.nodes:
            wait_until(
                lambda name=name: self.said(name, words), LIMIT_S, message=f"{name}: {words}"
            )

    def scrape(self) -> None:
        for name in self.nodes:
            text = self.output(name, "out").read_text(errors="replace")
            port = text.partition("port ")[2].split()[0]
            for page in ("metrics", "health/ready", "health/live", "nowhere"):
                where = f"http://{HOST}:{port}/{page}"
                try:
                    with urllib.request.urlopen(where, timeout=LIMIT_S) as answer:
                        self.evidence.add(f"{page} of {name}", answer.read())
                except urllib.error.HTTPError as error:
                    self.evidence.add(f"{page} of {name}", error.read())

    def close_connections(self) -> int:
        user = erlang_string(self.user)
        mine = f"rabbit_networking:connection_info(Each, [user]) =:= [{{user, {user}}}]"
        close = 'rabbit_networking:close_connection(Each, "by a test")'
        every = f"Each <- rabbit_networking:connections(), {mine}"
        return int(self.server.eval(f"length([{close} || {every}])"))

    def change_password(self, password: str) -> None:
        words = f"{erlang_string(self.user)}, {erlang_string(password)}, <<>>"
        self.server.eval(f"ok = rabbit_auth_backend_internal:change_password({words})")

    def publish_rubbish(self) -> None:
        """Put what is sealed with no key, and with another one, on every network."""
        with kombu.Connection(self.url()) as connection:
            producer = kombu.Producer(connection.channel(), auto_declare=False)
            for network in ("mesh", "snoop_trace", "snoop_spy"):
                for body in (b"rubbish", Fernet(Fernet.generate_key()).encrypt(b"rubbish")):
                    producer.publish(
                        body,
                        exchange=f"miros_mesh.v1.{network}",
                        routing_key="miros.mesh",
                        content_type="application/data",
                        content_encoding="binary",
                    )

    def command(self, *arguments: str, stop_after_s: float | None = None, **changes: str) -> None:
        """Run a command, watch the list of processes meanwhile, and keep what it prints."""
        done = subprocess.Popen(
            [COMMAND, *arguments],
            env={**self.environment("operator"), **changes},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, err = done.communicate(timeout=stop_after_s or WATCH_S)
        except subprocess.TimeoutExpired:
            self.evidence.add_command_lines()
            if stop_after_s:
                done.send_signal(signal.SIGINT)
            out, err = done.communicate(timeout=LIMIT_S)
        self.evidence.add(f"printed by {' '.join(arguments[:2])}", out + err)


def _end(node: subprocess.Popen[bytes]) -> None:
    node.kill()
    node.communicate(timeout=LIMIT_S)


@pytest.fixture(scope="module")
def mesh(rabbitmq: RabbitServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    rabbitmq.start()
    user = f"own-{secrets.token_hex(4)}"
    made = Mesh(
        rabbitmq,
        tmp_path_factory.mktemp("mesh"),
        rabbitmq.new_vhost(),
        user,
        # With letters that a URL has to quote
        password=f"pw/{secrets.token_hex(12)}:%{secrets.token_hex(4)}",
        wrong=f"no+{secrets.token_hex(12)}",
        keys={name: Fernet.generate_key() for name in ("mesh", "snoop_trace", "snoop_spy")},
        canary=f"canary{secrets.token_hex(12)}",
    )
    rabbitmq.add_user(user, made.password)
    rabbitmq.set_permissions(user, made.vhost)
    try:
        _live(made)
        yield made
    finally:
        rabbitmq.delete_user(user)


def _live(mesh: Mesh) -> None:
    """Let the mesh work, go through every fault, and tell all."""
    [dead] = free_ports(1)
    # Fail-over: the first of them is not there.
    urls = f"{mesh.url(port=dead)},{mesh.url()}"
    mesh.secret_file("url", urls)
    mesh.secret_file("mesh", mesh.keys["mesh"])
    mesh.secret_file("open", mesh.url(), 0o644)
    with ExitStack() as stack:
        for name in NAMES:
            mesh.start(stack, name)
        mesh.await_said("port ")
        _break(mesh, dead, urls)
        _operate(mesh, dead)
        mesh.scrape()
        # When a program shows all that it has
        for node in mesh.nodes.values():
            assert node.stdin is not None
            node.stdin.write(b"\n")
            node.stdin.flush()
        mesh.await_said("told all")
        mesh.evidence.add_command_lines()
        for name, node in mesh.nodes.items():
            node.communicate(timeout=LIMIT_S)
            assert node.returncode == 0, mesh.output(name, "err").read_text()[-3000:]
    _help(mesh, urls)
    for secret in (mesh.folder / "secrets").iterdir():
        secret.unlink()
    mesh.evidence.add_files(mesh.folder)


def _break(mesh: Mesh, dead: int, urls: str) -> None:
    """Let everything go wrong, and be good again."""
    mesh.await_said("hosts.json is ignored")
    # Frames come that cannot be opened.
    mesh.publish_rubbish()
    mesh.await_said("told dropped")
    # Hosts are listed that are not there, after the file was none.
    for name in NAMES:
        hosts = mesh.folder / name / "hosts.json"
        hosts.write_text(f'{{"hosts": ["{HOST}:{dead}"]}}')
    # An event kills its handler.
    mesh.await_said("told set_aside")
    # The password is wrong, and connections break.
    mesh.change_password(mesh.wrong + "-not")
    file = mesh.secret_file("url", f"{mesh.url(mesh.wrong, dead)},{mesh.url(mesh.wrong)}")
    assert mesh.close_connections()
    mesh.await_said("told unreached")
    mesh.await_said("refused the user or the password")
    mesh.scrape()
    # The file is malformed, open to others, and good again.
    file.write_text("http://" + urls)
    mesh.await_said("the broker URL")
    file.chmod(0o644)
    mesh.await_said("is open to other users")
    file.chmod(0o600)
    mesh.change_password(mesh.password)
    file.write_text(urls)


def _operate(mesh: Mesh, dead: int) -> None:
    """Look at the mesh with every command, also at brokers that cannot be used."""
    urls = {
        "one": mesh.url(),
        "absent": mesh.url(port=dead),
        "refused": mesh.url(mesh.wrong),
        "malformed": mesh.url().replace("amqp:", "http:"),
    }
    files = {name: str(mesh.secret_file(name, url)) for name, url in urls.items()}
    mesh.command("check")
    for file in (*files.values(), str(mesh.folder / "secrets" / "open")):
        mesh.command("check", "--broker-file", file)
    mesh.command("check", MIROS_MESH_ENCRYPTION_KEY=mesh.keys["mesh"].decode()[:-4])
    mesh.command("top", "--once")
    mesh.command("snoop", stop_after_s=2 * WATCH_S)
    mesh.command("discover", "--timeout", "2", "--broker-file", files["one"])
    mesh.command("dead-letters", "list")
    mesh.command("dead-letters", "retry", "--all")
    mesh.command("demo", "--seconds", "6", "--broker-file", files["one"])
    mesh.command("--help")


def _help(mesh: Mesh, url: str) -> None:
    environment = mesh.environment("operator") | {
        "MIROS_MESH_BROKER_URL": url,
        "RABBIT_PASSWORD": mesh.password,
        "MESH_ENCRYPTION_KEY": mesh.keys["mesh"].decode(),
    }
    done = subprocess.run(
        [sys.executable, "-c", HELP, mesh.canary],
        env=environment,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    mesh.evidence.add("help", done.stdout + done.stderr)


def test_no_secret_is_in_anything_that_was_written_or_shown(mesh: Mesh) -> None:
    assert mesh.evidence.with_one_of(mesh.secrets) == []


def test_the_same_search_finds_a_secret_that_is_told(mesh: Mesh) -> None:
    canary = Secret.text("canary", mesh.canary)
    where = {place for _, place in mesh.evidence.with_one_of([canary])}
    each = {
        f"{kind} {name}{end}"
        for name in NAMES
        for kind, end in (
            ("file", ".out"),
            ("file", ".err"),
            ("file", ".log"),
            ("file", "/base64"),
            ("file", "/hex"),
            ("file", "/quoted"),
            ("metrics of", ""),
        )
    }
    assert each | {"command lines", "help"} <= where


def test_every_spelling_of_a_secret_is_found(mesh: Mesh) -> None:
    key = mesh.keys["mesh"]
    raw = base64.urlsafe_b64decode(key)
    known = Secret.key("key", key)
    for shown in (key, raw, raw.hex().encode(), repr(raw).encode(), base64.b64encode(raw)):
        assert known.is_in(b"the key is " + shown)
    text = Secret.text("password", mesh.password)
    for before in range(5):
        assert text.is_in(base64.b64encode(bytes(before) + mesh.password.encode() + b"@host"))
    assert text.is_in(mesh.url().encode())
    assert not known.is_in(b"the key is " + Fernet.generate_key())


def test_the_mesh_did_what_could_show_a_secret(mesh: Mesh) -> None:
    # The sources are not empty: each fault and each command left its words.
    for name in NAMES:
        text = b"".join(mesh.evidence.found[f"file {name}.{each}"] for each in ("out", "err"))
        for words in (
            "MeshConfig(",
            "BrokerAddress(",
            "CredentialsRefusedError",
            "VirtualHostError",
        ):
            assert words.encode() in text
        assert b"no error" not in text
        assert b"miros_mesh_" in mesh.evidence.found[f"metrics of {name}"]
    assert b"came back" in mesh.evidence.found["printed by check"]
    assert b"handler" in mesh.evidence.found["printed by dead-letters list"]
    assert b"left_" in mesh.evidence.found["printed by snoop"]
