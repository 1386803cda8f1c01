"""What `deploy/systemd/` says is what a real systemd does with it, and with programs of ours."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from faults.relay import Relay
from miros_mesh import MeshConfig
from support.charts_at_work import KEY, OTHER_KEY, Heard, Launch, event
from support.doc_pages import ROOT
from support.rabbitmq_server import RabbitServer
from support.service_manager import LIMIT_S, Systemd, seeing_python
from support.waiting import wait_until

DEPLOY = ROOT / "deploy" / "systemd"
TEMPLATE = "miros-mesh@.service"
UNIT = (DEPLOY / TEMPLATE).read_text()
PROGRAMS = Path(__file__).parent / "programs"
PORTER = "miros-mesh@porter.service"
NUMBERS = 400
HASTY = "[Service]\nWatchdogSec=2\nTimeoutStopSec=4\nRestartSec=0\n"


# The files alone


def test_the_unit_gives_a_stop_the_time_that_it_may_take() -> None:
    config = MeshConfig()
    # As docs/life-cycle.md has it
    assert _seconds("TimeoutStopSec") > 2 * config.drain_timeout_s + 10


def test_the_unit_gives_a_start_the_time_after_which_it_gives_up_by_itself() -> None:
    config = MeshConfig()
    tries_s = config.connection_attempts * (config.connect_timeout_s + 1)
    assert _seconds("TimeoutStartSec") > 2 * tries_s


@pytest.mark.parametrize("drop_in", ["", *sorted(each.name for each in DEPLOY.glob("*.conf"))])
def test_systemd_finds_no_fault_in_the_unit(
    drop_in: str, tmp_path: Path, systemd_analyze: str
) -> None:
    unit = tmp_path / TEMPLATE
    # What verify misses on this machine is the program itself.
    unit.write_text(UNIT.replace("/opt/miros-mesh/bin/python", sys.executable))
    if drop_in:
        folder = tmp_path / f"{TEMPLATE}.d"
        folder.mkdir()
        text = (DEPLOY / drop_in).read_text().replace("/opt/miros-mesh/bin/python", sys.executable)
        (folder / drop_in).write_text(text)
    instance = tmp_path / PORTER
    done = _run(systemd_analyze, "verify", "--man=no", "--recursive-errors=no", str(instance))
    assert done == ""


def test_the_readme_states_how_exposed_the_unit_is(tmp_path: Path, systemd_analyze: str) -> None:
    shutil.copy(DEPLOY / TEMPLATE, tmp_path)
    said = _run(systemd_analyze, "security", "--offline=true", "--no-pager", str(tmp_path / PORTER))
    [score] = re.findall(r"Overall exposure level for \S+: ([\d.]+)", said)
    stated = re.findall(r"\*\*([\d.]+)\*\* \(systemd (\d+)\)", (DEPLOY / "README.md").read_text())
    [(number, version)] = stated
    [here] = re.findall(r"^systemd (\d+)", _run(systemd_analyze, "--version"))
    # Each version looks at more than the one before.
    assert score == number if here == version else float(score) <= float(number) + 0.5


# A service


@pytest.fixture(scope="module")
def systemd(systemd_services: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systemd]:
    with Systemd(tmp_path_factory.mktemp("systemd")) as started:
        shutil.copy(DEPLOY / TEMPLATE, started.units)
        (started.opt / "miros-mesh").symlink_to(sys.prefix)
        yield started


class Service:
    """An instance of the unit."""

    def __init__(self, systemd: Systemd, name: str, url: str) -> None:
        self.unit = f"miros-mesh@{name}.service"
        self.settings = systemd.etc / "miros-mesh" / name
        self.state = systemd.lib / "private" / "miros-mesh" / name
        self.log = systemd.folder / f"{name}.log"
        self._systemd = systemd
        self._drop_ins = systemd.units / f"{self.unit}.d"
        self.settings.mkdir(parents=True, exist_ok=True)
        self._drop_ins.mkdir(exist_ok=True)
        self.secret(self.settings / "broker_url", url)
        self.secret(self.settings.parent / "mesh_key", KEY.decode())
        self.drop_in("10-machine.conf", _machine(self.log))

    def secret(self, file: Path, text: str) -> None:
        file.touch(0o600)
        file.write_text(text)

    def drop_in(self, name: str, text: str) -> None:
        (self._drop_ins / name).write_text(text)
        self._systemd.systemctl("daemon-reload")

    def call(self, verb: str, *options: str) -> None:
        self._systemd.systemctl(verb, *options, self.unit)

    def show(self, name: str) -> str:
        return self._systemd.show(self.unit, name)[name]

    def signal(self, number: int) -> None:
        pid = self.show("MainPID")
        assert pid != "0"
        subprocess.run(self._systemd.command("kill", f"-{number}", pid), check=True)

    def diary(self) -> list[int]:
        file = self.state / "diary"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def remove(self) -> None:
        self._systemd.systemctl("stop", self.unit)
        shutil.rmtree(self._drop_ins)
        shutil.rmtree(self.settings)
        shutil.rmtree(self.state, ignore_errors=True)


@pytest.fixture
def porter(systemd: Systemd, vhost_url: str) -> Iterator[Service]:
    service = Service(systemd, "porter", vhost_url)
    yield service
    print(service.log.read_text() if service.log.exists() else "no log")
    service.remove()


def test_it_is_active_once_it_is_ready_and_says_what_it_waits_for(
    systemd: Systemd, rabbitmq: RabbitServer, vhost: str, vhost_url: str, porter: Service
) -> None:
    # Given a broker that is not there
    with Relay(rabbitmq.port) as relay:
        relay.refuse()
        url = vhost_url.replace(f":{rabbitmq.port}/", f":{relay.port}/")
        porter.secret(porter.settings / "broker_url", url)
        (porter.settings / "environment").write_text("MIROS_MESH_CONNECTION_ATTEMPTS=1000\n")
        # When it starts
        porter.call("start", "--no-block")
        # Then it says what is wrong
        wait_until(lambda: "unreachable, since" in porter.show("StatusText"), LIMIT_S)
        assert "peter:rabbit" not in porter.show("StatusText")
        assert porter.show("ActiveState") == "activating"
        # And is there with the broker
        relay.resume()
        wait_until(lambda: porter.show("ActiveState") == "active", LIMIT_S)
        wait_until(lambda: porter.show("StatusText") == "ready", LIMIT_S)
        # When the broker goes again
        relay.refuse()
        # Then the service lives, and says so
        wait_until(lambda: "unreachable, since" in porter.show("StatusText"), LIMIT_S)
        assert (porter.show("ActiveState"), porter.show("NRestarts")) == ("active", "0")
        # And ends when asked
        porter.call("stop")
        assert porter.show("Result") == "success"


def test_a_service_that_discovers_says_which_door_it_lacks_and_works_with_it(
    porter: Service,
) -> None:
    (porter.settings / "environment").write_text("MIROS_MESH_DISCOVERY=manual\n")
    porter.call("start", "--no-block")
    lacks = "RestrictAddressFamilies= has to name AF_NETLINK"
    wait_until(lambda: porter.log.exists() and lacks in porter.log.read_text(), LIMIT_S)
    porter.drop_in("20-discovery.conf", "[Service]\nRestrictAddressFamilies=AF_NETLINK\n")
    porter.call("restart")
    assert porter.show("ActiveState") == "active"


@pytest.mark.proof
def test_a_stop_under_load_loses_nothing_and_takes_no_more_than_its_time(
    porter: Service, vhost_url: str, launch: Launch
) -> None:
    # Given a service that is behind with its work
    heard = Heard()
    sender = launch("sender", MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY), heard)
    porter.call("start")
    for number in range(NUMBERS):
        sender.transmit(event("number", number))
    wait_until(lambda: len(porter.diary()) > 20, LIMIT_S)
    # When it is stopped
    began = time.monotonic()
    porter.call("stop")
    # Then it ends in good order, and in time
    assert time.monotonic() - began < _seconds("TimeoutStopSec")
    assert [porter.show(each) for each in ("Result", "ExecMainStatus")] == ["success", "0"]
    done = porter.diary()
    assert len(done) < NUMBERS
    # And all that it has noted it has told
    wait_until(lambda: heard.payloads == done, LIMIT_S)
    # And the next one goes on where it ended: nothing twice, nothing never
    porter.call("start")
    wait_until(lambda: heard.payloads == list(range(NUMBERS)), LIMIT_S)
    assert porter.diary() == heard.payloads


@pytest.mark.proof
def test_a_service_that_is_frozen_is_ended_by_the_watchdog_and_goes_on(
    porter: Service, vhost_url: str, launch: Launch
) -> None:
    heard = Heard()
    sender = launch("sender", MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY), heard)
    porter.drop_in("20-hasty.conf", HASTY)
    porter.call("start")
    # Given that it lives for longer than its watchdog waits
    lived = time.monotonic() + 3
    wait_until(lambda: time.monotonic() > lived)
    assert porter.show("NRestarts") == "0"
    # When it is frozen amid its work
    for number in range(NUMBERS):
        sender.transmit(event("number", number))
    wait_until(lambda: len(porter.diary()) > 20, LIMIT_S)
    porter.signal(signal.SIGSTOP)
    # Then systemd ends it and starts another one
    wait_until(lambda: porter.show("NRestarts") == "1", LIMIT_S)
    wait_until(lambda: porter.show("ActiveState") == "active", LIMIT_S)
    # And since it was asked to end, in good order, nothing is lost and nothing done twice
    wait_until(lambda: heard.payloads == list(range(NUMBERS)), LIMIT_S)
    assert porter.diary() == heard.payloads


@pytest.mark.proof
def test_a_service_with_a_dead_chart_is_ended_in_good_order_and_goes_on(
    porter: Service, vhost_url: str, launch: Launch
) -> None:
    heard = Heard()
    sender = launch("sender", MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY), heard)
    porter.drop_in("20-hasty.conf", HASTY)
    (porter.settings / "environment").write_text("MIROS_MESH_MAX_DELIVERIES=1\n")
    porter.call("start")
    sender.transmit(event("die"))
    for number in range(NUMBERS):
        sender.transmit(event("number", number))
    wait_until(lambda: "chart mortal of node porter is dead" in porter.show("StatusText"), LIMIT_S)
    wait_until(lambda: porter.show("NRestarts") == "1", LIMIT_S)
    wait_until(lambda: porter.show("StatusText") == "ready", LIMIT_S)
    # What killed it is set aside, and everything else was done once.
    wait_until(lambda: heard.payloads == list(range(NUMBERS)), LIMIT_S)
    assert porter.diary() == heard.payloads
    assert "ends this program in 2 s: chart mortal" in porter.log.read_text()


@pytest.mark.proof
def test_a_service_that_holds_up_all_of_its_threads_is_killed_and_goes_on(
    porter: Service, vhost_url: str, launch: Launch
) -> None:
    heard = Heard()
    sender = launch("sender", MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY), heard)
    porter.drop_in("20-hasty.conf", HASTY)
    porter.call("start")
    sender.transmit(event("hang"))
    wait_until(lambda: porter.show("NRestarts") == "1", LIMIT_S)
    wait_until(lambda: porter.show("StatusText") == "ready", LIMIT_S)
    sender.transmit(event("number", 1))
    wait_until(lambda: heard.payloads == [1], LIMIT_S)


@pytest.mark.proof
def test_a_reload_has_the_keys_of_a_file_read_at_once(
    systemd: Systemd, porter: Service, vhost_url: str, launch: Launch
) -> None:
    # Given a service that reads its keys where they are kept, by a group
    group = "mesh-keys:x:4711:"
    (systemd.etc / "group").write_text(f"{(systemd.etc / 'group').read_text()}{group}\n")
    keys = systemd.etc / "miros-mesh" / "mesh_key"
    shutil.chown(keys, "root", 4711)
    keys.chmod(0o640)
    porter.drop_in("20-keys.conf", (DEPLOY / "keys-by-reload.conf").read_text())
    (porter.settings / "environment").write_text("MIROS_MESH_HEARTBEAT_INTERVAL_S=600\n")
    porter.call("start")
    # When the file is another one, and it is told so
    keys.write_text(f"{OTHER_KEY.decode()}\n{KEY.decode()}\n")
    porter.call("reload")
    # Then it hears who has the new key alone
    heard = Heard()
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=OTHER_KEY)
    sender = launch("sender", config, heard)
    sender.transmit(event("number", 1))
    wait_until(lambda: heard.payloads == [1], LIMIT_S)
    assert porter.show("ActiveState") == "active"
    # And a file without keys changes nothing, and is told
    keys.write_text("")
    porter.call("reload")
    wait_until(lambda: "the keys of mesh stay" in porter.show("StatusText"), LIMIT_S)
    assert porter.show("ActiveState") == "active"


@pytest.mark.proof
def test_a_credential_stays_what_it_was_at_the_start(systemd: Systemd, porter: Service) -> None:
    keys = systemd.etc / "miros-mesh" / "mesh_key"
    read = "cat", f"/run/credentials/{PORTER}/mesh_key"
    porter.call("start")
    keys.write_bytes(OTHER_KEY)
    porter.call("reload")
    assert _run(*systemd.command(*read)) == KEY.decode()
    porter.call("restart")
    assert _run(*systemd.command(*read)) == OTHER_KEY.decode()


@pytest.mark.proof
def test_the_shop_runs_as_four_services(systemd: Systemd, vhost_url: str) -> None:
    with ExitStack() as stack:
        # Given its services, and the web front that has a client and no chart
        users = set()
        for name in ("shipping", "payment", "order", "web"):
            service = Service(systemd, name, vhost_url)
            stack.callback(service.remove)
            service.drop_in("05-shop.conf", (DEPLOY / "shop.conf").read_text())
            service.call("start")
            assert service.show("ActiveState") == "active"
            wait_until(lambda: service.show("StatusText") == "ready", LIMIT_S)  # noqa: B023
            users.add(service.show("UID"))
        # Each a user of its own, so that none can read the files of another
        assert len(users) == 4
        wait_until((service.state / "web.url").exists, LIMIT_S)
        address = (service.state / "web.url").read_text()
        # When an order is placed
        item = {"article": "tea", "amount": 2, "price": "3.20"}
        order = json.dumps({"customer": "ada", "items": [item]}).encode()
        request = urllib.request.Request(f"{address}/orders", order)
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            outcome = json.load(answer)
    # Then it is paid
    assert (outcome["state"], outcome["amount"], outcome["by"]) == ("paid", "6.40", "payment")


def _machine(log: Path) -> str:
    """What an instance needs on the machine of the tests, and on no other."""
    path = ":".join([str(PROGRAMS), str(ROOT / "examples"), *filter(None, sys.path)])
    lines = [
        "[Service]",
        f"Environment=PYTHONPATH={path}",
        f"StandardOutput=append:{log}",
        "StandardError=inherit",
        *seeing_python(),
    ]
    return "\n".join([*lines, ""])


def _seconds(setting: str) -> int:
    [value] = re.findall(rf"^{setting}=(\d+)$", UNIT, re.MULTILINE)
    return int(value)


def _run(*command: str) -> str:
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
