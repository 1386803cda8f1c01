"""Two sites with a RabbitMQ each, whose exchanges are joined by RabbitMQ's federation.

Each server copies from the other one what its own queues are bound to; nodes know of one server.
The servers have the files of `deploy/rabbitmq` and show each other certificates; nodes come in by
password.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from faults.cluster_load import FREE, KEPT, Load
from faults.traffic import record
from support.actor import Actor
from support.broker_files import FOLDER, configuration, definitions, placed
from support.doc_pages import ROOT
from support.namespaces import Host, Network
from support.rabbitmq_server import RabbitServer
from support.tls import Authority
from support.waiting import wait_until

SITE = Path(__file__).with_name("site.py")
PAGE = (ROOT / "deploy" / "README.md").read_text()
WEST, EAST, NODES = "west.example", "east.example", "nodes"
PLAN = {name: [f"10.7.0.{number}/24"] for number, name in enumerate((WEST, EAST, NODES), 1)}
ACROSS = {WEST: EAST, EAST: WEST}
CUT_S = 15.0
# What may wait for the other site, as the file says.
WAITING_BYTES = 1073741824
LIMIT_S = 60.0
# A node at each site, with a user of its name: its topic, and what it hears.
CHARTS = {
    WEST: ("asker", "asker.questions", "answerer.answers"),
    EAST: ("answerer", "answerer.answers", "asker.questions"),
}
NODES_OF = [node for node, *_ in CHARTS.values()]
PASSWORD = "hush"
HOLD_S = 2.0
# How many exchanges have a link.
JOINED = 7


def site_of(host: str) -> str:
    """The name of the site at a host."""
    return host.partition(".")[0]


class Line:
    """The queue in the west of what waits for the east."""

    def __init__(self, server: RabbitServer, vhost: str) -> None:
        self._list = partial(server.rabbitmqctl, "list_queues", "-p", vhost, "name")

    def has(self, what: str) -> int:
        """How much it has of something."""
        (found,) = re.findall(
            r"^federation: miros_mesh.v1.mesh -> east\t(\d+)$", self._list(what), re.MULTILINE
        )
        return int(found)


def script(word: str) -> str:
    """The commands of the page with that word, for the site in the west."""
    scripts = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (found,) = [each for each in scripts if word in each]
    return str(found)


class Sites:
    """Both servers, the certificates that they show, and the network between them."""

    def __init__(self, network: Network, folder: Path, programs: Path) -> None:
        self.network, self._folder, self._authority = network, folder, Authority(folder)
        self.servers = {name: self._server(network[name], programs) for name in ACROSS}

    def _server(self, host: Host, programs: Path) -> RabbitServer:
        shown = self._authority.vouch(host.name, host.name)
        conf = configuration("rabbitmq.conf", "tls.conf", "external.conf", tls=shown)
        # For the nodes, at the door without TLS.
        conf += "auth_mechanisms.2 = PLAIN\n"
        server = host.rabbitmq(self._folder / f"{host.name}-server", programs, conf)
        server.enable("rabbitmq_auth_mechanism_ssl", "rabbitmq_federation")
        return server

    def placed(self, text: str, host: str) -> str:
        """A file of definitions, with the certificate that a site shows to the other one."""
        shown = self._authority.vouch(f"{host}-site", name=site_of(host))
        return placed(text, shown, "site")

    @contextmanager
    def joined(
        self, across: Mapping[str, str] = ACROSS, waiting_bytes: int = WAITING_BYTES
    ) -> Iterator[str]:
        """Join a virtual host of each with that at the other one's address; gives their name."""
        (vhost,) = {server.new_vhost() for server in self.servers.values()}
        for name, server in self.servers.items():
            blanks = {"site": site_of(name), "other": site_of(ACROSS[name]), "host": across[name]}
            text = definitions("federation.json", vhost, **blanks)
            text = text.replace(str(WAITING_BYTES), str(waiting_bytes))
            server.import_definitions(self.placed(text, name))
        yield vhost
        for server in self.servers.values():
            server.delete_vhost(vhost)

    @contextmanager
    def cut_line(self) -> Iterator[None]:
        """Pull the cable of the host in the east, out of which its server and its node speak."""
        self.network.cut(EAST)
        try:
            yield
        finally:
            self.network.mend(EAST)

    def states(self, host: str) -> list[str]:
        """How the links are by which a site takes from the other one."""
        each = "proplists:get_value(status, Link) || Link <- rabbit_federation_status:status()"
        return re.findall(r"\w+", self.servers[host].eval(f"[{each}]"))


@pytest.fixture(scope="module")
def sites(
    private_networks: None, rabbitmq_programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sites]:
    """Two servers, each on a host of its own, and a host for nodes of both sites."""
    with ExitStack() as stack:
        settings = stack.enter_context(pytest.MonkeyPatch.context())
        settings.setenv("MIROS_MESH_LAN", "off")
        network = stack.enter_context(Network(PLAN))
        sites = Sites(network, tmp_path_factory.mktemp("sites"), rabbitmq_programs)
        with ThreadPoolExecutor() as starters:
            for server in sites.servers.values():
                stack.callback(server.close)
            for started in [starters.submit(each.start) for each in sites.servers.values()]:
                started.result()
        for host, (node, *_) in CHARTS.items():
            sites.servers[host].add_user(node, PASSWORD)
        yield sites


@pytest.fixture
def vhost(sites: Sites) -> Iterator[str]:
    """A virtual host of this name at each site, which are joined."""
    with sites.joined() as vhost:
        yield vhost


Start = Callable[[str, str], Actor]


@contextmanager
def charts(sites: Sites) -> Iterator[Start]:
    """Start the chart of a site in a virtual host, beside its server, with the rights of a node."""
    with ExitStack() as ending:

        def starting(host: str, vhost: str) -> Actor:
            node, topic, hears = CHARTS[host]
            server = sites.servers[host]
            who = {"node": node, "hears": f"{node}|{hears.partition('.')[0]}"}
            server.import_definitions(definitions("permissions/node.json", vhost, **who))
            told = server.url(vhost, node, PASSWORD), node, topic, hears
            return ending.enter_context(Actor(SITE, *told, place=sites.network[host]))

        yield starting


@pytest.fixture
def start(sites: Sites) -> Iterator[Start]:
    """Start charts that end with the test."""
    with charts(sites) as starting:
        yield starting


def met(sites: Sites, vhost: str, start: Start) -> tuple[Actor, Actor]:
    """The charts of both sites, which hear each other."""
    west, east = start(WEST, vhost), start(EAST, vhost)
    until(west, "CHART_UP")
    until(east, "CHART_UP")
    # That was on one exchange.
    joined = ["running"] * JOINED
    wait_until(lambda: all(sites.states(host) == joined for host in ACROSS), LIMIT_S)
    return west, east


def until(actor: Actor, begins: str) -> str:
    """What a chart says next that begins so."""
    while not (said := str(actor.heard()["said"])).startswith(begins):
        pass
    return said


def told(actor: Actor, begins: str) -> list[int]:
    """The numbers that a chart is told until it says something that begins so."""
    numbers = []
    while not (said := str(actor.heard()["said"])).startswith(begins):
        word, _, number = said.partition(" ")
        if word == "site_told":
            numbers.append(int(number))
    return numbers


def test_charts_of_two_sites_meet(sites: Sites, vhost: str, start: Start) -> None:
    west = start(WEST, vhost)
    # A site makes no exchange at the other one: it comes as soon as a node has run there.
    wait_until(lambda: sites.servers[EAST].refusals("west"), LIMIT_S)
    east = start(EAST, vhost)

    # Each hears of the other one (the network `roll`)
    assert until(west, "CHART_UP") == "CHART_UP answerer/answerer"
    assert until(east, "CHART_UP") == "CHART_UP asker/asker"
    # What is asked under a topic, and by an address, is answered (`mesh`, `direct`)
    for line in ("ask", "ask answerer/answerer"):
        west.tell(line)
        assert until(west, "site_answer") == "site_answer answerer"
    # Who watches there sees it (`snoop_trace`)
    east.tell("scribble from-the-east")
    assert "from-the-east" in until(west, "trace ") or "from-the-east" in until(west, "trace ")
    # What no chart of either site hears is told
    west.tell("tell asker.elsewhere")
    assert until(west, "NO_LISTENER") == "NO_LISTENER asker.elsewhere"
    west.tell("ask nowhere/nobody")
    assert until(west, "REQUEST_").startswith("REQUEST_UNROUTABLE")
    # And no node was refused anything
    assert [each for server in sites.servers.values() for each in server.refusals(*NODES_OF)] == []


@pytest.mark.proof
def test_the_commands_of_the_page_join_two_sites(sites: Sites, tmp_path: Path) -> None:
    for host, server in sites.servers.items():
        shutil.copytree(FOLDER, folder := tmp_path / host)
        file = folder / "federation.json"
        file.write_text(sites.placed(file.read_text(), host))
        commands = script("federation.json")
        if host == EAST:
            # As the page says of the other site.
            (east,) = re.findall(r"`(site=east .*)`", PAGE)
            commands = re.sub("^site=west .*$", east, commands, flags=re.MULTILINE)
        server.run(commands, folder)
    with charts(sites) as start:
        west, _ = met(sites, "mesh", start)
        west.tell("ask")
        assert until(west, "site_answer") == "site_answer answerer"

        for host, server in sites.servers.items():
            other = site_of(ACROSS[host])
            # The page's command says of each link that it runs
            assert server.run(script("federation_status"), FOLDER).count("running") == JOINED
            # The other server comes in by certificate
            listed = server.rabbitmqctl("list_connections", "user", "auth_mechanism", "ssl")
            assert listed.splitlines().count(f"{other}\tEXTERNAL\ttrue") >= JOINED
            # And what waits for it has a policy
            listed = server.rabbitmqctl("list_queues", "-p", "mesh", "name", "policy")
            line = re.compile(rf"^federation: \S+\.(\w+) -> {other}\t(\S+)$", re.MULTILINE)
            policies = dict(line.findall(listed))
            assert policies["mesh"] == "miros-mesh-sites-events"
            assert policies["snoop_trace"] == "miros-mesh-sites-watch"
    for server in sites.servers.values():
        server.delete_vhost("mesh")


@pytest.mark.proof
def test_events_of_both_sites_cross_once_when_the_line_is_cut_and_mended(
    sites: Sites, vhost: str, start: Start
) -> None:
    # Given a node beside each server, so that the line between these is all that is cut
    both = met(sites, vhost, start)

    def send(first: int, end: int) -> None:
        for actor in both:
            actor.tell(f"count {first} {end}")

    # When both send before, while and after it is cut
    send(0, 100)
    with sites.cut_line():
        send(100, 200)
        wait_until(lambda: all("running" not in sites.states(host) for host in ACROSS), LIMIT_S)
        send(200, 300)
    send(300, 400)

    # Then all is told in order, and nothing twice, also not behind the last one
    for actor in both:
        assert [*told(actor, "site_told 399"), 399] == list(range(400))
    for asks in both:
        asks.tell("ask")
        assert told(asks, "site_answer") == []


@pytest.mark.proof
def test_what_may_wait_for_the_other_site_has_a_limit_and_the_rest_waits_at_its_sender(
    sites: Sites,
) -> None:
    # Given a limit below that of the file and above that of a frame
    with sites.joined(waiting_bytes=20_000) as vhost, charts(sites) as start:
        west, east = met(sites, vhost, start)
        line = Line(sites.servers[WEST], vhost)
        with sites.cut_line():
            # What was on its way when the line was cut is not counted.
            wait_until(lambda: line.has("consumers") == 0, LIMIT_S)
            # When there is more, then no more than that waits at the server
            west.tell("count 0 2000")
            wait_until(lambda: line.has("message_bytes") > 10_000, LIMIT_S)
            threading.Event().wait(HOLD_S)
            assert line.has("message_bytes") <= 20_000
        # And all arrives once and in order
        assert [*told(east, "site_told 1999"), 1999] == list(range(2000))


@pytest.mark.proof
def test_a_server_that_shows_another_name_is_not_joined(sites: Sites) -> None:
    # Given the address of the other server, which its certificate does not name
    address = str(sites.network[EAST].host)
    with sites.joined({WEST: address, EAST: WEST}) as vhost, charts(sites) as start:
        start(WEST, vhost)
        start(EAST, vhost)
        wait_until(lambda: "running" in sites.states(EAST), LIMIT_S)
        wait_until(lambda: {"error"} == set(sites.states(WEST)), LIMIT_S)


@pytest.fixture
def load(sites: Sites, vhost: str, tmp_path: Path) -> Iterator[Load]:
    """A sender in the west, its receivers in the east."""
    urls = {name: server.url(vhost) for name, server in sites.servers.items()}
    with ExitStack() as stack:
        each = urls[WEST], urls[EAST], urls[EAST]
        yield Load(stack, each, sites.network[NODES], tmp_path, patient=True)


def survived(fault: str, load: Load, began: float) -> None:
    """Nothing is lost, doubled or out of order."""
    load.end()
    print(load.links(began))
    for name in (KEPT, FREE):
        account = load.account(name, load.joined)
        record(f"sites, {fault}: {name}", account, load.again(name, began))
        assert account.perfect, account


@pytest.mark.proof
def test_cable_between_the_sites_cut(sites: Sites, load: Load) -> None:
    """Both servers lose each other, and the nodes in the east their server."""
    began = time.monotonic()
    with sites.cut_line():
        load.for_(CUT_S)
    survived("cable cut", load, began)


@pytest.mark.proof
@pytest.mark.parametrize("name", [WEST, EAST])
def test_server_of_a_site_killed(name: str, sites: Sites, load: Load) -> None:
    server = sites.servers[name]
    began = time.monotonic()
    server.kill()
    server.start()
    load.for_(1)
    survived(f"server in the {site_of(name)} killed", load, began)


@pytest.mark.proof
def test_what_a_queue_at_the_other_site_has_lost_is_asked_for(sites: Sites, load: Load) -> None:
    """By the network `repair`, across the sites and back."""
    began = time.monotonic()
    server = sites.servers[EAST]
    names = "{resource, _, _, N} <- [amqqueue:get_name(Q)]"
    receivers = (
        f'[Q || Q <- rabbit_amqqueue:list(), {names}, re:run(N, <<"[.]receiver[.]">>) =/= nomatch]'
    )
    server.eval(f'[rabbit_amqqueue:delete(Q, false, false, <<"test">>) || Q <- {receivers}]')
    wait_until(lambda: load.handled(KEPT) and load.handled(FREE))
    load.for_(3)
    survived("queues deleted", load, began)
