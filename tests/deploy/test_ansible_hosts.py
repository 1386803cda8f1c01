"""Three hosts are set up as the README of `deploy/ansible` says, and change their key at work."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path

import pytest

from faults.traffic import Account
from miros_mesh.wire.keyring import generate_key
from support import apt_source, doc_pages, playbooks, service_manager, wheels
from support.doc_pages import ROOT
from support.machine import Machine
from support.namespaces import Network
from support.playbooks import Controller, Run
from support.waiting import wait_until

# What its first test waits for is all of the first run.
pytestmark = [pytest.mark.proof, pytest.mark.timeout(1800)]

README = ROOT / "deploy" / "ansible" / "README.md"
ALL_HOSTS = ROOT / "docs" / "all-hosts.md"
HOSTS = ("kitchen", "cellar", "attic")
PLAN = {name: [f"10.7.0.{number}/24"] for number, name in enumerate((*HOSTS, "desk"), 1)}
RINGS_PER_S = 20
LIMIT_S = 60.0
# `miros-mesh keys` waits for so long without a frame of the old key.
QUIET_S = 30
NO_OLD_KEY = (
    "EDITOR='sed -i /vault_old_key/d' ansible-vault edit inventory/group_vars/all/vault.yml"
)
OUTPUT = "/var/lib/miros-mesh/bell/output.log"
UNIT = "miros-mesh@bell.service"
# What the unit has on a machine of the tests, and on no other.
DROP_IN = "\n".join(
    [
        "[Service]",
        f"StandardOutput=append:{OUTPUT}",
        "StandardError=inherit",
        *service_manager.seeing_python(),
        "",
    ]
)
CURRENT = "/opt/miros-mesh"
BELL = "/etc/miros-mesh/bell"
SETTINGS = f"{BELL}/environment"
SECRETS = (f"{BELL}/broker_url", "/etc/miros-mesh/mesh_key")


class House:
    """Three machines with a bell each, and a desk from which they are set up."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.network = stack.enter_context(Network(PLAN))
        shared = (folder, *playbooks.SHARED, apt_source.DEBS)
        self.machines = {
            name: stack.enter_context(
                Machine(self.network[name], folder / name, shared, systemd=True)
            )
            for name in HOSTS
        }
        apt_source.offer(self.machines["kitchen"])
        self.desk = Controller(folder, self.network["desk"].command())
        self.settings: dict[str, object] = {}
        """Those of the inventory, over those of the example."""
        self._keys = folder / "ssh"
        self._keys.mkdir()
        for machine in self.machines.values():
            self._open(machine, stack)
            machine.write(f"/etc/systemd/system/{UNIT}.d/20-machine.conf", DROP_IN)

    def _open(self, machine: Machine, stack: ExitStack) -> None:
        """Let the desk in by ssh."""
        own = self._keys / "desk"
        if not own.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", own], check=True)
        machine.write("/root/.ssh/authorized_keys", own.with_suffix(".pub").read_text())
        host_key = f"/run/{machine.name}.key"
        said = machine.run("dropbearkey", "-t", "ed25519", "-f", host_key)
        (public,) = re.findall(r"^(ssh-ed25519 \S+)", said, re.MULTILINE)
        with (self._keys / "known").open("a") as known:
            known.write(f"{machine.name} {public}\n")
        # The user of the bell has to get at Python, which may be root's.
        machine.run("chmod", "a+x", *map(str, playbooks.PYTHON.parents))
        server = ("dropbear", "-F", "-E", "-s", "-r", host_key)
        stack.enter_context(machine.serving("env", "-i", f"PATH={playbooks.PATH}", *server))

    @property
    def connection(self) -> dict[str, object]:
        """What Ansible needs to know of the way in."""
        return {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self._keys / "desk"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self._keys / 'known'}",
            # These machines have no sftp.
            "ansible_ssh_transfer_method": "piped",
        }

    def output(self, name: str) -> list[list[str]]:
        """What the bell of a host has said."""
        return [line.split() for line in self.machines[name].run("cat", OUTPUT).splitlines()]

    def rang(self, name: str) -> list[int]:
        return [int(words[1]) for words in self.output(name) if words[0] == "rang"]

    def heard(self, name: str, other: str) -> list[int]:
        """Which rings of another it has heard."""
        lines = self.output(name)
        return [int(words[2]) for words in lines if words[:2] == ["heard", other]]

    def account(self, name: str, other: str) -> Account:
        """What became of the rings of another, from the first that it has heard."""
        last = self.rang(other)[-1]
        wait_until(
            lambda: last in self.heard(name, other), LIMIT_S, message=f"{name} of {other}: {last}"
        )
        heard = self.heard(name, other)
        return Account.of(range(heard[0], last + 1), [each for each in heard if each <= last])

    def read(self, name: str, path: str) -> str:
        return self.machines[name].run("cat", path)

    def processes(self) -> dict[str, str]:
        """The number of each bell's process."""
        return {name: self.show(name, "MainPID") for name in HOSTS}

    def show(self, name: str, setting: str) -> str:
        """What systemd says of a host's bell."""
        said = self.machines[name].run("systemctl", "show", f"--property={setting}", UNIT)
        return said.strip().removeprefix(f"{setting}=")

    def wait_ringing(self) -> None:
        """Wait until each hears the others, from now on."""
        for name, other in permutations(HOSTS, 2):
            so_far = len(self.heard(name, other))
            wait_until(
                lambda: len(self.heard(name, other)) > so_far,  # noqa: B023
                LIMIT_S,
                message=f"{name} hears {other}",
            )


@pytest.fixture(scope="module")
def house(
    ansible: None,
    ssh: None,
    systemd_services: None,
    rabbitmq_package: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path_factory.mktemp("house"), stack)


@pytest.fixture(scope="module")
def first(house: House, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The house is set up with the commands of the page: what these have said."""
    desk, wheel = house.desk, wheels.of_version(tmp_path_factory.mktemp("wheel") / "0", "0.1.0")
    made = desk.shell("cd ../..\n" + doc_pages.block(README, "sh", "cp -r example"))
    assert made.code == 0, made.said
    authority = desk.inventory / "tls"
    authority.mkdir()
    script = doc_pages.block(ALL_HOSTS, "sh", "req -x509")
    for name in HOSTS:
        script += doc_pages.block(ALL_HOSTS, "sh", "host=red").replace(
            "host=red address=192.168.1.75", f"host={name} address={house.network[name].host}"
        )
    made = desk.shell(f"cd inventory/tls\n{script}")
    assert made.code == 0, made.said
    made = desk.shell(doc_pages.block(README, "sh", "ansible-vault encrypt"))
    assert made.code == 0, made.said
    house.settings = {
        **house.connection,
        **playbooks.OFFLINE,
        "mesh_wheel": str(wheel),
        "mesh_settings": {
            "MIROS_MESH_HEARTBEAT_INTERVAL_S": "1",
            "BELL_ROOMS": " ".join(HOSTS),
            "BELL_EVERY_S": str(1 / RINGS_PER_S),
        },
    }
    desk.prepare(house.settings)
    run = desk.play("site.yml", "-vv", "--diff")
    assert run.code == 0, run.said
    return run


def test_the_second_run_changes_nothing(house: House, first: Run) -> None:
    second = house.desk.play("site.yml")
    assert second.code == 0, second.said
    assert second.changed == dict.fromkeys(HOSTS, 0)


def test_a_single_host_may_be_brought_up_to_date(house: House, first: Run) -> None:
    run = house.desk.play("site.yml", "--limit", "kitchen")
    assert run.code == 0, run.said
    assert run.changed == {"kitchen": 0}


def test_no_secret_is_told_and_each_is_for_one_user_alone(house: House, first: Run) -> None:
    for name, machine in house.machines.items():
        for path in SECRETS:
            assert machine.run("stat", "--format=%a %U", path).strip() == "600 mesh"
        url, key = (house.read(name, path).strip() for path in SECRETS)
        (password,) = re.findall(rf"//{name}:(\w+)@kitchen/mesh", url)
        assert password not in first.said
        assert key not in first.said
    assert "PRIVATE KEY" not in first.said


def test_systemd_knows_when_a_bell_is_ready_and_runs_it_hardened(house: House, first: Run) -> None:
    for name, machine in house.machines.items():
        said = {each: house.show(name, each) for each in ("StatusText", "User", "DynamicUser")}
        assert said == {"StatusText": "ready", "User": "mesh", "DynamicUser": "no"}
        assert house.show(name, "ProtectSystem") == "strict"
        # No copy of a secret was made, which would stay what it was at the start.
        credentials = machine.run("find", "/run/credentials", "-mindepth", "1")
        assert credentials == ""
        assert machine.run("systemctl", "is-enabled", UNIT) == "enabled\n"
        assert house.show(name, "NRestarts") == "0"


def test_the_broker_came_by_apt_and_has_tls_as_its_only_door(house: House, first: Run) -> None:
    kitchen = house.machines["kitchen"]
    assert "install ok installed" in kitchen.run("dpkg-query", "--status", apt_source.PACKAGE)
    assert kitchen.run("systemctl", "is-active", "rabbitmq-server") == "active\n"
    listening = kitchen.run(
        "rabbitmqctl", "--silent", "eval", "rabbit_networking:active_listeners()."
    )
    assert set(re.findall(r"\b567\d\b", listening)) == {"5671"}


def test_a_node_has_no_more_rights_than_it_needs(house: House, first: Run) -> None:
    listed = house.machines["kitchen"].run("rabbitmqctl", "--silent", "list_users")
    assert {line.split()[0] for line in listed.splitlines()} == set(HOSTS)
    # What a bell is refused is in the log of the broker.
    log = house.machines["kitchen"].run("sh", "-c", "cat /var/log/rabbitmq/*.log")
    assert "refused for user" not in log
    assert "access_refused" not in log


def test_the_check_of_each_node_is_good(house: House, first: Run) -> None:
    said = house.desk.shell(doc_pages.block(README, "sh", "check.yml"))
    assert said.code == 0, said.said
    assert said.changed == dict.fromkeys(HOSTS, 0)
    assert said.said.count("sealed and confirmed, and came back in") >= len(HOSTS)


def rotate(house: House) -> Run:
    """Put a new key into the vault in place of the one there, and run the playbook."""
    done = house.desk.shell(NO_OLD_KEY)
    assert done.code == 0, done.said
    new = generate_key().decode()
    change = f"s/^vault_key: \\(.*\\)/vault_old_key: \\1\\nvault_key: {new}/"
    editor = shlex.quote(f"sed -i {shlex.quote(change)}")
    script = doc_pages.block(README, "sh", "ansible-vault edit")
    return house.desk.shell(f"export EDITOR={editor}\n{script}")


def test_a_rotation_under_load_loses_nothing(house: House, first: Run) -> None:
    # Given bells at work
    old = house.read("attic", SECRETS[1])
    began = len(house.rang("attic"))
    # When the key is changed
    rotated = rotate(house)
    assert rotated.code == 0, rotated.said
    # Then each host took three steps, and has the new key alone
    assert rotated.changed == dict.fromkeys(HOSTS, 3)
    keys = {house.read(name, SECRETS[1]) for name in HOSTS}
    assert len(keys) == 1
    assert old not in keys
    # And nothing was lost meanwhile, nor came twice
    assert len(house.rang("attic")) > began + QUIET_S * RINGS_PER_S
    for name, other in permutations(HOSTS, 2):
        account = house.account(name, other)
        assert account.perfect, (name, other, account)
    # And a second run finds nothing to change
    again = house.desk.play("rotate.yml")
    assert again.code == 0, again.said
    assert again.changed == dict.fromkeys(HOSTS, 0)


def test_a_rotation_goes_no_further_than_the_slowest_host(house: House, first: Run) -> None:
    # Given a host that is away
    before = {name: house.read(name, SECRETS[1]) for name in HOSTS}
    house.network.cut("attic")
    # When the key is to be changed, then no host changes it
    broken = rotate(house)
    assert broken.code != 0
    assert broken.stopped == {"attic"}
    assert {name: house.read(name, SECRETS[1]) for name in HOSTS} == before
    # And on some hosts only it is not changed at all
    house.network.mend("attic")
    assert "without --limit" in house.desk.play("rotate.yml", "--limit", "cellar").said
    assert {name: house.read(name, SECRETS[1]) for name in HOSTS} == before
    # And once the host is back it is, also where one has taken the first step already
    vault = house.desk.shell("ansible-vault view inventory/group_vars/all/vault.yml").said
    (new,) = re.findall("^vault_key: (.*)$", vault, re.MULTILINE)
    house.machines["cellar"].write(SECRETS[1], f"{before['cellar']}{new}\n")
    whole = house.desk.play("rotate.yml")
    assert whole.code == 0, whole.said
    assert whole.changed == {"kitchen": 3, "cellar": 2, "attic": 3}


def test_an_upgrade_restarts_each_node_once_and_goes_back(
    house: House, first: Run, tmp_path: Path
) -> None:
    # Given the next release
    before, wheel = house.processes(), wheels.of_version(tmp_path / "next", "0.1.1")
    # When it is rolled out, and back
    up = house.desk.play("site.yml", "-e mesh_version=0.1.1", f"-e mesh_wheel={wheel}")
    assert up.code == 0, up.said
    there = house.processes()
    said = {house.read(name, f"{CURRENT}/installed") for name in HOSTS}
    back = house.desk.play("site.yml")
    assert back.code == 0, back.said
    # Then each node was started again by both, with that release and with the one before
    assert said == {"0.1.1\n"}
    assert {house.read(name, f"{CURRENT}/installed") for name in HOSTS} == {"0.1.0\n"}
    assert all(there[name] != before[name] for name in HOSTS)
    assert all(house.processes()[name] != there[name] for name in HOSTS)
    # And nothing had to be installed to go back: the link, the note, the end and the start
    assert back.changed == dict.fromkeys(HOSTS, 4)
    house.wait_ringing()


def test_what_is_wrong_is_seen_on_one_host_and_left_alone_on_all_others(
    house: House, first: Run
) -> None:
    before = house.processes()
    settings = {name: house.read(name, SETTINGS) for name in HOSTS}
    # When a setting is no good
    wrong = house.desk.play("site.yml", """-e '{"mesh_settings": {"MIROS_MESH_NO_SUCH": "1"}}'""")
    # Then the first host says so, and the others know nothing of it
    assert wrong.code != 0
    assert wrong.stopped == {"kitchen"}
    assert "MIROS_MESH_NO_SUCH" in house.read("kitchen", SETTINGS)
    assert {name: house.read(name, SETTINGS) for name in HOSTS[1:]} == {
        name: settings[name] for name in HOSTS[1:]
    }
    # And no program was ended, nor is by what puts it right
    right = house.desk.play("site.yml")
    assert right.code == 0, right.said
    assert right.changed == {"kitchen": 1, "cellar": 0, "attic": 0}
    assert house.processes() == before
    # When settings are good for the library, and the program cannot do without one
    for _ in range(2):
        wrong = house.desk.play("site.yml", """-e '{"mesh_settings": {}}'""")
        # Then the first host says so, also while systemd tries again
        assert wrong.code != 0
        assert wrong.stopped == {"kitchen"}
    assert "KeyError: 'BELL_ROOMS'" in house.read("kitchen", OUTPUT)
    now = house.processes()
    assert all(now[name] == before[name] for name in HOSTS[1:])


def test_each_host_may_have_a_broker(house: House, first: Run) -> None:
    # Given a certificate for each
    hosts = doc_pages.block(README, "yaml", "mesh_brokers:")
    nodes = hosts.split("mesh_nodes:")[1]
    (house.desk.inventory / "hosts.yml").write_text(f"mesh_brokers:{nodes}mesh_nodes:{nodes}")
    # When each is to have one
    house.desk.prepare(house.settings | {"mesh_broker_on_each_host": True})
    each = house.desk.play("site.yml")
    # Then it has, which knows all nodes, and each bell hears those of the others
    assert each.code == 0, each.said
    for machine in house.machines.values():
        listed = machine.run("rabbitmqctl", "--silent", "list_users")
        assert {line.split()[0] for line in listed.splitlines()} == set(HOSTS)
    house.wait_ringing()
    # And a node is at its own broker, and speaks to all of them
    for machine in house.machines.values():
        said = machine.run("rabbitmqctl", "--silent", "list_connections", "user")
        assert set(said.split()) == set(HOSTS)
        assert machine.run("ls", BELL).split() == ["environment", "password"]
    # And a second run changes nothing
    again = house.desk.play("site.yml")
    assert again.code == 0, again.said
    assert again.changed == dict.fromkeys(HOSTS, 0)
