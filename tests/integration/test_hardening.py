"""Users with the permissions of `deploy/rabbitmq`: what each role may do is enough, and no more."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest
from miros import Event

from miros_mesh import MeshConfig, NetworkedActiveObject, Observer
from miros_mesh.cli.check import check
from miros_mesh.cli.keys import keys
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.errors import PermissionDeniedError, VirtualHostError
from miros_mesh.link.rabbitmq.queues import LETTERS
from miros_mesh.networks.network import exchange_of
from miros_mesh.node import network_specs
from miros_mesh.node.queues import chart_queue
from miros_mesh.wire.keyring import fingerprint
from support.broker_files import FOLDER, definitions
from support.charts_at_work import KEY, Heard, Launch, event, node_of
from support.doc_pages import ROOT
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

pytestmark = pytest.mark.proof


PAGE = (ROOT / "docs" / "hardening.md").read_text()
COMMAND = str(Path(sys.executable).with_name("miros-mesh"))
PASSWORD = "hush"
LIMIT_S = 60.0
ROLES = {
    "press": "permissions/node.json",
    "belt": "permissions/node.json",
    "gauge": "permissions/sender.json",
    "watch": "permissions/monitor.json",
    "clerk": "permissions/operator.json",
    "east": "federation.json",
}
"""The users of the test, and the file of each; `east` is the server of another site."""
HEARS = {"press": ("press", "belt"), "belt": ("belt", "press")}


def scripts() -> list[str]:
    """The commands of the page, in their order."""
    return re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Site:
    """A virtual host with the users of the page, under names of this test's own."""

    server: RabbitServer
    vhost: str

    def name(self, role: str) -> str:
        """The user, and the node, that has this name on the page."""
        # Users are of the whole server.
        return f"{role}-{self.vhost}"

    def url(self, role: str, vhost: str = "") -> str:
        return self.server.url(vhost or self.vhost, self.name(role), PASSWORD)

    def permissions(self, role: str, file: str = "", **blanks: str) -> str:
        """What the file of a role lets it do, with the names of this test."""
        name = self.name(role)
        text = definitions(
            file or ROLES[role],
            self.vhost,
            node=name,
            user=name,
            other=name,
            hears="|".join(map(self.name, HEARS.get(role, ()))),
            **{"host": socket.gethostname().replace(".", "[.]"), "site": "west", **blanks},
        )
        rights = ("permissions", "topic_permissions")
        return json.dumps({what: each for what, each in json.loads(text).items() if what in rights})

    def admit(self, role: str) -> None:
        """Make the user of a role, with just what its file says."""
        self.server.add_user(self.name(role), PASSWORD)
        self.server.import_definitions(self.permissions(role))

    def config(self, role: str, **settings: Any) -> MeshConfig:
        return MeshConfig(
            broker_url=self.url(role),
            mesh_encryption_key=KEY,
            node_name=self.name(role),
            heartbeat_interval_s=1.0,
            **settings,
        )

    def topic(self, role: str, rest: str) -> str:
        return f"{self.name(role)}.{rest}"

    def refusals(self) -> list[str]:
        """What the server has refused to the users of this test."""
        return self.server.refusals(*map(self.name, ROLES))


@contextmanager
def open_site(rabbitmq: RabbitServer, vhost: str) -> Iterator[Site]:
    site = Site(rabbitmq, vhost)
    for role in ROLES:
        site.admit(role)
    yield site
    for role in ROLES:
        rabbitmq.delete_user(site.name(role))


@pytest.fixture
def site(rabbitmq: RabbitServer, vhost: str) -> Iterator[Site]:
    """One of a test's own, where only that is refused which the test brings about."""
    with open_site(rabbitmq, vhost) as site:
        yield site


@pytest.fixture(scope="module")
def tried_site(rabbitmq: RabbitServer) -> Iterator[Site]:
    """One for many attempts, each on a connection of its own."""
    rabbitmq.start()
    with open_site(rabbitmq, rabbitmq.new_vhost()) as site:
        yield site


def environment(site: Site, role: str) -> dict[str, str]:
    """What tells a command who it is."""
    return {
        **os.environ,
        "MIROS_MESH_BROKER_URL": site.url(role),
        "MIROS_MESH_ENCRYPTION_KEY": KEY.decode(),
    }


class Told(Observer):
    """How many events came by repair."""

    def __init__(self) -> None:
        self.repaired_events = 0

    def repaired(self, *, network: str, events: int) -> None:
        self.repaired_events += events


class Fragile(Heard):
    """Cannot handle `bad` the first time."""

    def __call__(self, chart: NetworkedActiveObject, happened: Event) -> None:
        if happened.signal_name == "bad" and ("bad", "seen") not in self:
            self.append(("bad", "seen"))
            raise ValueError("not this one")
        super().__call__(chart, happened)


class Answering(Heard):
    """Answers what it is asked."""

    def __call__(self, chart: NetworkedActiveObject, happened: Event) -> None:
        if happened.signal_name == "asked":
            chart.reply(event("answer", chart.name))
        super().__call__(chart, happened)


class Lines:
    """What a command has printed until now."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def said(self, word: str) -> bool:
        return word in self._file.read_text()


@contextmanager
def watching(site: Site, folder: Path) -> Iterator[Lines]:
    """`miros-mesh snoop`, as the monitor of the page."""
    printed = folder / "snoop.json"
    with printed.open("wb") as output:
        snoop = subprocess.Popen(
            [COMMAND, "snoop", "--json"], env=environment(site, "watch"), stdout=output
        )
    try:
        yield Lines(printed)
    finally:
        snoop.terminate()
        snoop.wait(LIMIT_S)


def numbers(heard: Heard) -> list[Any]:
    return [payload for signal, payload in heard if signal == "number"]


def kinds_of_queues(site: Site, role: str) -> set[str]:
    """The networks for which a node has a queue."""
    # `eval` prints no text of any length.
    names = site.server.rabbitmqctl("list_queues", "-p", site.vhost, "name", "--no-table-headers")
    found = (
        re.match(rf"miros_mesh\.v1\.(\w+)\.{site.name(role)}\b", each) for each in names.split()
    )
    return {each[1] for each in found if each}


def nothing_refused(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the nodes nor the broker say anything of a refusal."""
    words = re.compile(r"refuse|permission|cannot be declared|not kept|not noted")
    # Fixtures start charts, too.
    records = [*caplog.get_records("setup"), *caplog.get_records("call")]
    said = [each.getMessage() for each in records]
    assert [each for each in said if words.search(each)] == []
    assert site.refusals() == []


# What each role needs


class Plant:
    """A chart each of a node that hears and tells all, of its neighbour, and of one that sends."""

    def __init__(self, site: Site, launch: Launch) -> None:
        self.site, self._launch = site, launch
        self.told = Told()
        self._config = site.config("press", tell_charts=True, observers=(self.told,))
        self._topic = site.topic("belt", "#")
        self.press, self.heard = self.pressing()
        self.back = Answering()
        self.belt = launch(
            "motor",
            site.config("belt"),
            self.back,
            tx_routing_key=site.topic("belt", "state"),
            rx_routing_key=site.topic("press", "#"),
        )
        self.gauge = launch(
            "level",
            site.config("gauge"),
            tx_routing_key=site.topic("gauge", "value"),
            rx_routing_key=site.topic("gauge", "orders"),
        )

    def pressing(self) -> tuple[NetworkedActiveObject, Heard]:
        heard = Heard()
        keys = {
            "tx_routing_key": self.site.topic("press", "state"),
            "rx_routing_key": self._topic,
        }
        return self._launch("stamp", self._config, heard, **keys), heard

    def lose(self, number: int) -> None:
        """Delete the queue of the press, and what the belt sends at that time."""
        queue = chart_queue(self.site.name("press"), "stamp", self._topic)
        with channel_of(self.site.server.url(self.site.vhost)) as channel:
            channel.queue_unbind(queue, exchange_of("mesh"), self._topic)
            self.belt.transmit(event("number", number))
            node = node_of(self.belt)
            wait_until(lambda: not any(node.outboxes().values()), LIMIT_S)
            channel.queue_delete(queue)


@pytest.fixture
def plant(site: Site, launch: Launch) -> Plant:
    return Plant(site, launch)


@pytest.mark.parametrize("role", ["press", "gauge"])
def test_a_node_passes_the_check(
    site: Site, role: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings = {**environment(site, role), "MIROS_MESH_NODE_NAME": site.name(role)}
    assert check(settings, broker_url=None) == 0
    assert "FAIL" not in capfd.readouterr().out
    nothing_refused(site, caplog)


def test_who_is_no_node_fails_the_check_and_is_told_why(
    site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    assert check(environment(site, "watch"), broker_url=None) == 1
    (failure,) = re.findall("^FAIL  (.*)", capfd.readouterr().out, re.MULTILINE)
    assert failure.endswith("(check sends an event, so it needs the rights of a node)")


def test_nodes_that_send_hear_repair_and_come_back_need_no_more(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    # When they send
    belt, heard = plant.belt, plant.heard
    plant.gauge.transmit(event("filled"))
    belt.transmit(event("number", 1))
    plant.press.transmit(event("pressed"))
    wait_until(lambda: ("number", 1) in heard and ("pressed", None) in plant.back, LIMIT_S)
    # And a queue is lost, with what was sent to it
    plant.lose(2)
    belt.transmit(event("number", 3))
    wait_until(lambda: numbers(heard) == [1, 2, 3], LIMIT_S)
    assert plant.told.repaired_events >= 1
    # And the node is away, and comes back under its name
    plant.press.stop()
    belt.transmit(event("number", 4))
    press, again = plant.pressing()
    wait_until(lambda: numbers(again) == [4], LIMIT_S)

    # Then it has the queues that the page counts, and those alone
    press.enable_snoop_trace()
    press.enable_snoop_spy()
    section = PAGE.partition("## 4. Limits")[2].partition("## 5.")[0]
    listed = set(re.findall(r"`(\w+)\.NODE`", section))
    wait_until(lambda: kinds_of_queues(plant.site, "press") == listed, LIMIT_S)
    # And nothing was refused
    assert node_of(press).health().unready == ()
    nothing_refused(plant.site, caplog)


def test_nodes_ask_and_answer_with_no_more(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    # By the address of a chart, and by a topic that another one hears
    for to in ({"to": f"{plant.site.name('belt')}/motor"}, {}):
        plant.press.request(event("asked"), 30.0, **to)
        wait_until(lambda: ("answer", "motor") in plant.heard, LIMIT_S)
        plant.heard.clear()
    nothing_refused(plant.site, caplog)


def test_an_operator_puts_back_and_a_monitor_watches_with_no_more(
    site: Site, launch: Launch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    # Given a chart that sets an event aside
    heard = Fragile()
    keys = {"tx_routing_key": site.topic("press", "state")}
    press = launch("stamp", site.config("press"), heard, on_handler_error="dead_letter", **keys)
    twin = launch("die", site.config("press"), **keys)
    press.enable_snoop_trace()
    with (
        watching(site, tmp_path) as lines,
        DeadLetters(MeshConfig(broker_url=site.url("clerk"), mesh_encryption_key=KEY)) as box,
    ):
        twin.transmit(event("bad", "again"))
        wait_until(box.list, LIMIT_S)

        # When the operator puts it back to the chart, and another one to a topic
        (letter,) = box.list()
        assert (letter.place, letter.reason) == ("broker", "handler")
        box.retry(letter)
        wait_until(lambda: ("bad", "again") in heard, LIMIT_S)
        heard.clear()
        twin.transmit(event("bad", "topic"))
        wait_until(box.list, LIMIT_S)
        (letter,) = box.list()
        box.retry(letter, topic=site.topic("press", "state"))
        wait_until(lambda: ("bad", "topic") in heard, LIMIT_S)

        # Then all that was seen by the monitor
        def seen() -> bool:
            press.snoop_scribble("seen")
            return lines.said("seen")

        wait_until(seen, LIMIT_S)
    assert site.refusals() == []
    assert "cannot be declared" not in caplog.text
    assert "not kept" not in caplog.text


def test_a_monitor_is_told_of_keys_with_no_more(
    site: Site,
    launch: Launch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    launch("stamp", site.config("press"), tx_routing_key=site.topic("press", "state"))
    settings = {**environment(site, "watch"), "MIROS_MESH_HEARTBEAT_INTERVAL_S": "1"}
    code = keys(settings, broker_url=None, seconds=3.0, as_json=False)
    said = capfd.readouterr()
    assert (code, said.err) == (0, "")
    assert f"{site.name('press')}: uses {fingerprint(KEY)}" in said.out
    nothing_refused(site, caplog)


# What each role must not do

Attempt = Callable[[amqp.Channel, Site], object]


def declare(exchange: str) -> Attempt:
    return lambda channel, _: channel.exchange_declare(exchange, "topic", durable=True)


def publish(network: str, topic: str) -> Attempt:
    exchange = exchange_of(network) if network else ""

    def attempt(channel: amqp.Channel, site: Site) -> None:
        key = named(topic, site)
        channel.basic_publish_confirm(amqp.Message(b"x"), exchange=exchange, routing_key=key)

    return attempt


def bind(network: str, topic: str, *, queue: str) -> Attempt:
    def attempt(channel: amqp.Channel, site: Site) -> None:
        channel.queue_bind(named(queue, site), exchange_of(network), named(topic, site))

    return attempt


def read(queue: str) -> Attempt:
    return lambda channel, site: channel.basic_get(named(queue, site))


def delete(queue: str) -> Attempt:
    return lambda channel, site: channel.queue_delete(named(queue, site))


def make(queue: str) -> Attempt:
    return lambda channel, site: channel.queue_declare(named(queue, site), durable=True)


def named(text: str, site: Site) -> str:
    return re.sub(r"PRESS|BELT|GAUGE|EAST", lambda found: site.name(found[0].lower()), text)


# Queues of the library's names, which `queues` makes.
EAST_LINE = "federation: miros_mesh.v1.mesh -> EAST"
PRESS_CHART = "miros_mesh.v1.mesh.PRESS.stamp.00000000"
PRESS_NOTES = "miros_mesh.v1.deaths.PRESS"
BELT_CHART = "miros_mesh.v1.mesh.BELT.motor.00000000"
GAUGE_CHART = "miros_mesh.v1.mesh.GAUGE.level.00000000"
QUEUES = (EAST_LINE, PRESS_CHART, PRESS_NOTES, BELT_CHART, GAUGE_CHART, LETTERS)
# Beside what is forbidden: a refusal comes of a pattern, and not of a user who may do nothing.
ALLOWED: dict[str, tuple[str, Attempt]] = {
    "a node sends under its topics": ("press", publish("mesh", "PRESS.state")),
    "a node hears its neighbour": ("press", bind("mesh", "BELT.#", queue=PRESS_CHART)),
    "a node reads its queue": ("press", read(PRESS_CHART)),
    "a node answers a repair": ("press", publish("repair", "0123456789ab")),
    "a node writes its notes": ("press", publish("deaths", "PRESS")),
    "a node watches": ("press", bind("snoop_trace", "#", queue=PRESS_CHART)),
    "a node that only sends hears its own": ("gauge", bind("mesh", "GAUGE.#", queue=GAUGE_CHART)),
    "an operator reads letters": ("clerk", read(LETTERS)),
    "an operator sends to a topic": ("clerk", publish("mesh", "PRESS.state")),
    "a site holds what waits for it": ("east", make("federation: miros_mesh.v1.direct -> EAST")),
    "a site reads what waits for it": ("east", read(EAST_LINE)),
    "a site hears the mesh": ("east", bind("mesh", "#", queue=EAST_LINE)),
}
FORBIDDEN: dict[str, tuple[str, Attempt]] = {
    "a node declares an exchange of another name": ("press", declare("strange")),
    "a node publishes past the exchanges": ("press", publish("", PRESS_CHART)),
    "a node makes a queue of another name": ("press", make("strange")),
    "a node sends under another's topics": ("press", publish("mesh", "BELT.state")),
    "a node sends under a name that goes on": ("press", publish("mesh", "PRESSES.state")),
    "a node sends under the default topic": ("press", publish("mesh", "miros.mesh")),
    "a node hears all": ("press", bind("mesh", "#", queue=PRESS_CHART)),
    "a node hears a third": ("press", bind("mesh", "GAUGE.#", queue=PRESS_CHART)),
    "a node hears all repairs": ("press", bind("repair", "#", queue=PRESS_CHART)),
    "a node reads another's queue": ("belt", read(PRESS_CHART)),
    "a node deletes another's queue": ("belt", delete(PRESS_CHART)),
    "a node binds another's queue": ("belt", bind("mesh", "BELT.#", queue=PRESS_CHART)),
    "a node takes another's name": ("belt", make("miros_mesh.v1.name.PRESS")),
    "a node replaces another's queue": ("belt", make(f"{PRESS_CHART}.2")),
    "a node reads another's notes": ("belt", read(PRESS_NOTES)),
    "a node writes another's notes": ("belt", publish("deaths", "PRESS")),
    "a node writes another's marks": ("belt", publish("marks", "PRESS")),
    "a node gets another's notes": ("belt", bind("marks", "PRESS", queue=BELT_CHART)),
    "a node declares what an operator uses": ("press", declare("miros_mesh.v1.retry")),
    "a node that only sends hears another": ("gauge", bind("mesh", "PRESS.#", queue=GAUGE_CHART)),
    "a node that only sends watches": ("gauge", bind("snoop_spy", "#", queue=GAUGE_CHART)),
    "a monitor sends an event": ("watch", publish("mesh", "PRESS.state")),
    "a monitor says what a node has": ("watch", publish("roll", "roll")),
    "a monitor makes a record": ("watch", publish("snoop_trace", "snoop.trace")),
    "a monitor asks for events": ("watch", publish("repair", "0123456789ab")),
    "a monitor reads a chart's queue": ("watch", read(PRESS_CHART)),
    "a monitor reads letters": ("watch", read(LETTERS)),
    "a monitor makes a chart's queue": ("watch", make("miros_mesh.v1.mesh.x")),
    "an operator reads a chart's queue": ("clerk", read(PRESS_CHART)),
    "an operator deletes a chart's queue": ("clerk", delete(PRESS_CHART)),
    "an operator hears the mesh": ("clerk", bind("mesh", "#", queue=PRESS_CHART)),
    "an operator deletes letters": ("clerk", delete(LETTERS)),
    "an operator plays a node": ("clerk", publish("pulse", "pulse")),
    "a site sends": ("east", publish("mesh", "PRESS.state")),
    "a site declares an exchange of the mesh": ("east", declare("miros_mesh.v1.retry")),
    "a site reads a chart's queue": ("east", read(PRESS_CHART)),
    "a site deletes a chart's queue": ("east", delete(PRESS_CHART)),
    "a site holds what waits for another": ("east", make(f"{EAST_LINE}ER")),
    "a site hears of letters": ("east", bind("letters", "#", queue=EAST_LINE)),
    "a site gets notes": ("east", bind("deaths", "PRESS", queue=EAST_LINE)),
    "a node reads what waits for a site": ("press", read(EAST_LINE)),
}


@pytest.mark.parametrize("by", [None, lambda event: event.payload], ids=["share", "partition_by"])
def test_a_member_of_a_group_needs_what_its_file_adds(
    by: Any, site: Site, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    rights = site.permissions("press", "permissions/member.json", group="payments")
    site.server.import_definitions(rights)
    heard, topic = Heard(), f"{site.name('press')}.orders"
    launch(
        "till",
        site.config("press"),
        heard,
        tx_routing_key=f"{site.name('press')}.paid",
        rx_routing_key=topic,
        group="payments",
        group_mode="share",
        partition_by=by,
    )

    launch(
        "shop",
        site.config("press"),
        Heard(),
        tx_routing_key=topic,
        rx_routing_key=f"{site.name('press')}.none",
    ).transmit(event("number", 1))

    wait_until(lambda: heard == [("number", 1)], LIMIT_S)
    nothing_refused(site, caplog)


@contextmanager
def channel_of(url: str) -> Iterator[amqp.Channel]:
    with kombu.Connection(url) as connection, connection.channel() as channel:
        yield channel


def attempted(url: str, attempt: Attempt, site: Site) -> bool:
    """Whether the broker lets a user do it, where all exchanges and the queues are there."""
    with channel_of(site.server.url(site.vhost)) as channel:
        for name in network_specs.EXCHANGES:
            channel.exchange_declare(name, "topic", durable=True, auto_delete=False)
        for queue in QUEUES:
            channel.queue_declare(named(queue, site), durable=True, auto_delete=False)
    with kombu.Connection(url) as connection:
        try:
            attempt(connection.channel(), site)
        except amqp.AccessRefused:
            return False
    return True


@pytest.mark.parametrize("what", ALLOWED)
def test_a_role_can_do_what_is_its_own(tried_site: Site, what: str) -> None:
    role, attempt = ALLOWED[what]
    assert attempted(tried_site.url(role), attempt, tried_site)


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_role_cannot_do_what_is_not_its_own(tried_site: Site, what: str) -> None:
    role, attempt = FORBIDDEN[what]
    assert not attempted(tried_site.url(role), attempt, tried_site)
    # And it is possible to those who may.
    assert attempted(tried_site.server.url(tried_site.vhost), attempt, tried_site)


def test_the_library_says_what_the_patterns_refuse(site: Site, launch: Launch) -> None:
    # In another virtual host
    elsewhere = MeshConfig(
        broker_url=site.url("press", site.server.new_vhost()), mesh_encryption_key=KEY
    )
    with pytest.raises(VirtualHostError):
        launch("stamp", elsewhere)
    # A chart that would hear what it must not
    config = site.config("press")
    with pytest.raises(PermissionDeniedError):
        launch("ear", config, tx_routing_key=site.topic("press", "ear"), rx_routing_key="#")
    # And an event under the topic of another is a dead letter
    mouth = launch(
        "mouth",
        config,
        tx_routing_key=site.topic("belt", "state"),
        rx_routing_key=site.topic("press", "mouth"),
    )
    mouth.transmit(event("false"))
    with DeadLetters(config) as box:
        wait_until(box.list, LIMIT_S)
        (letter,) = box.list()
    assert (letter.place, letter.reason, letter.signal) == ("local", "permission", "false")
    # As the broker says in its log, where the tests above look for it.
    wait_until(lambda: any("access to topic" in line for line in site.refusals()), LIMIT_S)


# The page


# What the commands of the page leave at a broker: files in their order, with what is filled in.
FILLED = (
    ("node", {"node": "press", "hears": "press|belt"}),
    ("node", {"node": "belt", "hears": "belt|press"}),
    ("member", {"node": "press", "group": "payments"}),
    ("sender", {"node": "gauge"}),
    ("monitor", {"user": "watch", "host": "desk"}),
    ("operator", {"user": "clerk"}),
)


@pytest.fixture
def page_server(rabbitmq: RabbitServer, tmp_path: Path) -> Iterator[RabbitServer]:
    """A server to which all was said that the page says, in a folder with the files."""
    rabbitmq.start()
    # As a new server has it, and none of the tests.
    rabbitmq.add_user("guest", "guest")
    folder = tmp_path / "rabbitmq"
    shutil.copytree(FOLDER, folder)
    for script in scripts():
        if "rabbitmqctl" in script:
            rabbitmq.run(script, folder)
    yield rabbitmq
    for user in ("press", "belt", "gauge", "watch", "clerk"):
        rabbitmq.delete_user(user)
    rabbitmq.delete_vhost("mesh")


def test_the_commands_of_the_page_admit_its_users(
    page_server: RabbitServer, tmp_path: Path, launch: Launch
) -> None:
    # Each has what its files say, where the later one counts
    said = [json.loads(definitions(f"permissions/{file}.json", **what)) for file, what in FILLED]
    for kind, named in (("permissions", ["user"]), ("topic_permissions", ["user", "exchange"])):
        wanted = {}
        for each in itertools.chain(*(file.get(kind, ()) for file in said)):
            vhost = each.pop("vhost")
            wanted[tuple(each[key] for key in named)] = each
            assert vhost == "mesh"
        listed = page_server.rabbitmqctl(f"list_{kind}", "-p", "mesh", "--formatter", "json")
        assert {tuple(each[key] for key in named): each for each in json.loads(listed)} == wanted

    # Who has no password cannot log in with none, and guest not at all
    for user, password in (("belt", ""), ("guest", "guest")):
        url = page_server.url("mesh", user, password)
        with pytest.raises(amqp.AccessRefused), kombu.Connection(url) as connection:
            connection.connect()
    # And the limits are enough for a node, and for its next process
    password = (tmp_path / "rabbitmq" / "press.password").read_text().strip()
    config = MeshConfig(
        broker_url=page_server.url("mesh", "press", password),
        mesh_encryption_key=KEY,
        node_name="press",
    )
    for _ in range(2):
        launch("stamp", config, tx_routing_key="press.state").stop()


def test_a_certificate_of_the_page_is_one_of_a_client(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    hosts = (ROOT / "docs" / "all-hosts.md").read_text()
    (authority,) = re.findall(r"^```sh\n([^`]*req -x509[^`]*)^```$", hosts, re.MULTILINE)
    (client,) = [each for each in scripts() if "clientAuth" in each]
    done = subprocess.run(
        ["sh", "-eu", "-c", authority + client],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert "press.pem: OK" in done.stdout
    assert (tmp_path / "press.key").stat().st_mode & 0o077 == 0


def test_each_command_of_the_page_can_be_parsed() -> None:
    for script in scripts():
        subprocess.run(["sh", "-n", "-c", script], timeout=LIMIT_S, check=True)
