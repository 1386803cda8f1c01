"""Blocks of the pages that no other test runs: settings, commands, files, parts of programs.

What a reader has to fill in, and folders of a real host, are replaced by those of the test.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Self

import pytest
import yaml  # type: ignore[import-untyped]

from miros_mesh import MeshConfig
from miros_mesh.discovery.sources.lan import is_cache
from miros_mesh.discovery.sources.man_net import hosts_in
from miros_mesh.health import Health
from miros_mesh.observe.snoop.views import ChartView, NodeView, WorkView
from miros_mesh.wire.signing import Signer, generate_identity
from support import doc_blocks, doc_pages
from support.broker_files import FOLDER as RABBITMQ
from support.charts_at_work import KEY, Heard
from support.custom_resources import check as check_resource
from support.dead_letters import keep, refused, waiting
from support.doc_pages import PAGES, ROOT, block
from support.door_service import Door
from support.namespaces import Host, Network
from support.prometheus_server import find_program
from support.rabbitmq_server import RabbitServer
from support.secret_files import write_secret
from support.waiting import wait_until

DOCS = ROOT / "docs"
CONFIGURATION = DOCS / "configuration.md"
DISCOVERY = DOCS / "discovery.md"
OBSERVABILITY = DOCS / "observability.md"
FRAGMENT = Path(__file__).parent / "programs" / "fragment.py"
PROGRAMS = Path(sys.executable).parent
LIMIT_S = 60.0
# As a shell has them after the commands of a block, and no command is run.
READ_SETTINGS = """
miros-mesh() { :; }
set -a
%s
set +a
exec python -c 'from miros_mesh import MeshConfig; print(MeshConfig.from_env())'
"""


def shell(script: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end, with the commands of the library, and no input."""
    return subprocess.run(
        ["bash", "-eu", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def printed(script: str, folder: Path, **settings: str) -> str:
    """What a script prints whose commands all succeed."""
    done = shell(script, folder, **settings)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


# Parts of programs

PARTS = [
    pytest.param(part, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, part in enumerate(doc_pages.fragments(page))
    if not any(word in part for word in doc_blocks.FRAGMENTS_NOT_RUN)
]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_program_runs(part: str, tmp_path: Path) -> None:
    write_secret(tmp_path / ".env", "MIROS_MESH_NODE_NAME=front\n")
    (tmp_path / "log").mkdir()
    file = tmp_path / "part.py"
    file.write_text(part.replace('b"..."', repr(KEY)).replace("/var/log/doors", "log"))
    assert printed(f"python {FRAGMENT} part.py", tmp_path).endswith("done\n")


# Settings

SETTINGS = [
    ("deploy/README.md", "BROKER_URL_FILE=/run"),
    ("docs/configuration.md", "# The mesh of the house"),
    ("docs/configuration.md", "MIROS_MESH_NODE_IDENTITY_FILE"),
    ("docs/dead-letters.md", "MIROS_MESH_NODE_NAME"),
    ("docs/getting-started.md", "RABBIT_USER=peter"),
    ("docs/getting-started.md", "rabbit.example.org"),
    ("docs/production.md", "MIROS_MESH_DRAIN_TIMEOUT_S"),
    ("docs/sizing.md", "a.example"),
]


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder with each file that settings of the pages name."""
    allowed = json.loads(block(CONFIGURATION, "json", "may_put_back"))
    identities = {name: generate_identity() for name in ("operator", "press")}
    for name, identity in identities.items():
        allowed[name]["public_keys"] = [Signer(name, identity).public_key]
    files = {
        "allowed.json": json.dumps(allowed),
        "broker_url": "amqp://mesh:hush@rabbit.example.org/mesh",
        "ca.pem": "",
        "mesh.key": KEY.decode(),
        "mesh_key": KEY.decode(),
        **{f"{name}.identity": each.decode() for name, each in identities.items()},
    }
    for name, content in files.items():
        write_secret(tmp_path / name, content)
    return tmp_path


@pytest.mark.parametrize(("page", "word"), SETTINGS)
def test_settings_are_such_that_the_library_takes_them(page: str, word: str, secrets: Path) -> None:
    script = block(ROOT / page, "sh", word)
    here = re.sub(
        r"/(?:etc/miros-mesh|run/secrets|home/operator|path/to)(?=/)", str(secrets), script
    )
    # What a block of two blocks before has made.
    here += "\nexport MIROS_MESH_ENCRYPTION_KEY_FILE=$PWD/mesh.key" if "KEY" not in here else ""
    assert printed(READ_SETTINGS % here, secrets).startswith("MeshConfig(")


def test_the_list_of_nodes_is_taken_as_it_is_shown() -> None:
    assert MeshConfig(allowed_nodes=block(CONFIGURATION, "json", "may_put_back")).members()


def test_an_identity_is_made_as_the_page_says(tmp_path: Path) -> None:
    public = printed(block(CONFIGURATION, "sh", "keygen --identity"), tmp_path).strip()
    file = tmp_path / "press.identity"
    assert file.stat().st_mode & 0o777 == 0o600
    allowed = {"press": {"public_keys": [public.split()[-1]]}}
    assert MeshConfig(
        node_name="press", node_identity=file.read_text().strip(), allowed_nodes=allowed
    ).signer()


def test_the_files_of_discovery_are_read_as_they_are_shown() -> None:
    listed = json.loads(block(DISCOVERY, "json", '"192.168.1.80:5673"'))["hosts"]
    wrong: list[tuple[int, str]] = []
    assert list(hosts_in(listed, 5672, lambda *each: wrong.append(each))) == listed
    assert wrong == []
    assert is_cache(json.loads(block(DISCOVERY, "json", '"searches"')))


# Keys


def test_a_key_is_changed_in_a_file_as_the_page_says(tmp_path: Path) -> None:
    made = block(DOCS / "all-hosts.md", "sh", "rand -hex 24") + "\nmiros-mesh keygen > new.key"
    printed(f"umask 077\n{made}", tmp_path)
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
    old, new = ((tmp_path / name).read_text() for name in ("mesh.key", "new.key"))
    rings = []
    for line in block(DOCS / "keys.md", "sh", "next.key").splitlines():
        printed(line, tmp_path)
        rings.append((tmp_path / "mesh.key").read_text())
    assert rings == [old, old + new, new + old, new, new]
    assert (tmp_path / "mesh.key").stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in tmp_path.glob("*.key")) == ["mesh.key", "old.key"]


# What programs say, and what reads them


def test_json_that_is_shown_has_the_fields_of_the_real_one() -> None:
    health = json.loads(block(OBSERVABILITY, "json", '"not ready"'))
    assert set(health["nodes"][0]) == {field.name for field in fields(Health)}
    (node,) = json.loads(block(OBSERVABILITY, "json", '"silent_s"'))["nodes"]
    charts = [ChartView(**each) for each in node["charts"]]
    work = [WorkView(**each) for each in node["work"]]
    assert asdict(NodeView(**{**node, "charts": charts, "work": work})) == node


def test_the_containers_of_the_page_are_those_that_kubernetes_knows() -> None:
    probed = yaml.safe_load(block(OBSERVABILITY, "yaml", "livenessProbe"))
    labels = {"app": "doors"}
    probed["containers"][0]["image"] = "doors"
    document = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "doors"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": probed},
        },
    }
    check_resource(document, "1.37")


def test_prometheus_takes_what_the_page_has_it_scrape(tmp_path: Path) -> None:
    promtool = find_program("promtool")
    if promtool is None:
        pytest.skip("needs promtool: sudo apt-get install prometheus")
    # That of Debian is built without Kubernetes.
    text = block(OBSERVABILITY, "yaml", "scrape_configs").replace(
        "kubernetes_sd_configs: [{role: pod}]", "static_configs: [{targets: [pod]}]"
    )
    (tmp_path / "prometheus.yml").write_text(text)
    assert "SUCCESS" in printed(f"{promtool} check config prometheus.yml", tmp_path)


# Commands


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """A service of two doors; the settings of those who watch it."""
    home = tmp_path / "mesh"
    with Door(["bell", "front"], {"MIROS_MESH_HOME": str(home)}) as service:
        service.wait_for("/ready")
        yield {"MIROS_MESH_HOME": str(home)}


def test_what_is_shown_of_snoop_and_sequence_works_beside_a_mesh(
    doors: Mapping[str, str], tmp_path: Path
) -> None:
    watched = block(OBSERVABILITY, "sh", "miros-mesh snoop").splitlines()
    for line in watched:
        command, _, comment = line.partition("#")
        # Instead of Ctrl-C
        ended = command.replace("miros-mesh snoop", "miros-mesh snoop --seconds 4")
        said = printed(ended, tmp_path, **doors)
        assert said or ">>" in command, comment
    # An old log is lines of a terminal.
    printed("miros-mesh snoop --trace --seconds 4 > old.log", tmp_path, **doors)
    assert (tmp_path / "snoop.json").read_text()
    drawn = block(OBSERVABILITY, "sh", "miros-mesh sequence").replace("--seconds 20", "--seconds 4")
    assert "front" in printed(drawn, tmp_path, **doors)
    for name in ("run.html", "run.svg"):
        assert "front" in (tmp_path / name).read_text()


def test_the_dead_letters_of_the_page_are_listed_put_back_and_dropped(
    tmp_path: Path, launch: Any
) -> None:
    # Given a chart that has refused two events
    config = MeshConfig(node_name="house", home=tmp_path / "mesh")
    heard = Heard()
    launch("door", config, heard)
    keep(config, refused("knock", {"door": 3}), refused("knock", {"door": 4}, number=2))
    settings = {"MIROS_MESH_HOME": str(tmp_path / "mesh")}
    console = block(DOCS / "dead-letters.md", "console", "dead-letters list").splitlines()
    commands = [line.removeprefix("$ ") for line in console if line.startswith("$ ")]
    # When the commands of the page are typed, with the id of the first of them
    listed = printed(commands[0], tmp_path, **settings).splitlines()
    assert listed[0].split() == console[1].split()
    first = listed[1].split()[0]
    for command in commands[1:3]:
        printed(command.replace("3f1c", first[:6]), tmp_path, **settings)
    assert waiting(config) == 1
    for command in commands[3:]:
        # At a terminal the last one asks.
        yes = " --yes" if " drop " in command else ""
        printed(command + yes, tmp_path, **settings)
    # Then both are handled
    wait_until(lambda: [name for name, _ in heard] == ["knock", "knock"])
    assert waiting(config) == 0


def test_a_user_with_a_certificate_gets_its_rights(rabbitmq: RabbitServer, tmp_path: Path) -> None:
    folder = tmp_path / "rabbitmq"
    shutil.copytree(RABBITMQ, folder)
    try:
        rabbitmq.run(block(ROOT / "deploy" / "README.md", "sh", "sed 's/USER/press/'"), folder)
        wait_until(lambda: "press" in rabbitmq.rabbitmqctl("list_permissions", "--vhost", "mesh"))
    finally:
        rabbitmq.delete_user("press")
        rabbitmq.delete_vhost("mesh")


def test_two_brokers_on_one_machine_find_each_other_as_the_page_says(
    private_networks: None, rabbitmq_programs: Path, tmp_path: Path
) -> None:
    # Given a machine of the test's own, whose ports are free, and the files of the page
    scripts = {
        "broker.sh": block(DISCOVERY, "sh", 'folder="$PWD/$1"'),
        "door.py": doc_pages.program("docs/getting-started.md", "door.py"),
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
    printed(block(DISCOVERY, "sh", "miros-mesh keygen"), tmp_path)
    front = block(DISCOVERY, "sh", "RABBIT_PORT=5701")
    back = front.replace("5701", "5702").replace("door.py front", "door.py back")
    with ExitStack() as stack:
        host = stack.enter_context(Network({"machine": ["10.7.0.1/24"]}))["machine"]
        # Of what was started it alone outlives the rest, as the page says.
        stack.callback(wait_until, lambda: _ended(host, "epmd", "-port", "14369", "-kill"), LIMIT_S)
        terminals = {}
        for line in block(DISCOVERY, "sh", "sh broker.sh red").splitlines():
            name, port = shlex.split(line)[2:]
            terminals[name] = stack.enter_context(Terminal(host, tmp_path, name, line))
            wait_until(lambda port=int(port): host.speaks_amqp(port, "127.0.0.1"), LIMIT_S)
        # When both programs run, then each finds the broker of the other
        for name, script in {"front": front, "back": back}.items():
            terminals[name] = stack.enter_context(Terminal(host, tmp_path, name, script))
        for name, port in {"front": "5702", "back": "5701"}.items():
            found = re.compile(rf":{port}'.*verdict='ours'")
            seen = terminals[name]
            wait_until(lambda s=seen, f=found: f.search(s.read()), LIMIT_S)
        # And when somebody presses return at the back door, the front door opens
        terminals["back"].press_return()
        wait_until(lambda: "e->knock() closed->opened" in terminals["front"].read(), LIMIT_S)


class Terminal:
    """A script of a page that runs on a host until the `with` block ends."""

    def __init__(self, host: Host, folder: Path, name: str, script: str) -> None:
        self._shown = folder / f"{name}.txt"
        with self._shown.open("w") as output:
            self._typed = subprocess.Popen(
                host.command("bash", "-c", f"cd {folder}\n{script}"),
                env={**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}"},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )

    def read(self) -> str:
        """All that it shows."""
        return self._shown.read_text()

    def press_return(self) -> None:
        assert self._typed.stdin
        self._typed.stdin.write("\n")
        self._typed.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self._typed.pid, signal.SIGTERM)
        self._typed.communicate(timeout=LIMIT_S)


def _ended(host: Host, *command: str) -> bool:
    done = subprocess.run(host.command(*command), capture_output=True, timeout=LIMIT_S, check=False)
    return done.returncode == 0


# make

MADE = [line for each in doc_blocks.blocks() if each.is_make for line in each.text.splitlines()]


def test_make_knows_what_it_is_asked_for() -> None:
    targets = {shlex.split(line, comments=True)[1] for line in MADE}
    assert len(targets) > 4
    done = subprocess.run(
        ["make", "--dry-run", *sorted(targets)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert "No rule to make target" not in done.stderr


@pytest.mark.parametrize("program", ["bench", "chaos", "fuzz"])
def test_options_of_what_make_runs_are_known(program: str) -> None:
    words = [shlex.split(line, comments=True) for line in MADE]
    asked = [each[2:] for each in words if each[1] == program]
    assert asked
    where = str(ROOT / "bench") if program == "bench" else f"-m {program}"
    for given in asked:
        arguments = " ".join(each.removeprefix("ARGS=") for each in given)
        if "--help" in arguments:
            continue
        # An option that there is not is all that it complains of.
        done = shell(f"python {where} {arguments} --no-such-option", ROOT, PYTHONPATH=_path())
        assert done.returncode == 2, done.stderr
        assert done.stderr.endswith("unrecognized arguments: --no-such-option\n"), done.stderr


def _path() -> str:
    return os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
