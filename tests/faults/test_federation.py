"""Two sites with a RabbitMQ each, whose exchanges are joined by RabbitMQ's federation.

Each server copies from the other one what its own queues are bound to; nodes know of one server.
The servers have the files of `deploy/rabbitmq` and show each other certificates; nodes come in by
password.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
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
LIMIT_S = 60.0
# A node at each site: its name, its topic, and what it hears.
ASKER = ("asker", "asker.questions", "answerer.answers")
ANSWERER = ("answerer", "answerer.answers", "asker.questions")


def site_of(host: str) -> str:
    """The name of the site at a host."""
    return host.partition(".")[0]


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
    def joined(self, across: Mapping[str, str] = ACROSS) -> Iterator[dict[str, str]]:
        """Join a virtual host of each with that at the other one's address; gives their URLs."""
        (vhost,) = {server.new_vhost() for server in self.servers.values()}
        for name, server in self.servers.items():
            blanks = {"site": site_of(name), "other": site_of(ACROSS[name]), "host": across[name]}
            text = definitions("federation.json", vhost, **blanks)
            server.import_definitions(self.placed(text, name))
        yield {name: server.url(vhost) for name, server in self.servers.items()}
        for server in self.servers.values():
            server.delete_vhost(vhost)

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
                starters.submit(server.start)
        yield sites


@pytest.fixture
def urls(sites: Sites) -> Iterator[dict[str, str]]:
    """The URLs of a virtual host of each, which are joined."""
    with sites.joined() as urls:
        yield urls


@pytest.fixture
def start(sites: Sites) -> Iterator[Callable[..., Actor]]:
    """Start a chart on the host of a site's server."""
    with ExitStack() as ending:

        def starting(host: str, *arguments: str) -> Actor:
            actor = ending.enter_context(Actor(SITE, *arguments, place=sites.network[host]))
            until(actor, "ready")
            return actor

        yield starting


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


@pytest.fixture
def page_urls(sites: Sites, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The URLs of a node's user at each site, with servers to which was said what the page says."""
    urls = {}
    for host, (user, *_), hears in ((WEST, ASKER, "answerer"), (EAST, ANSWERER, "asker")):
        folder, server = tmp_path / host, sites.servers[host]
        shutil.copytree(FOLDER, folder)
        file = folder / "federation.json"
        file.write_text(sites.placed(file.read_text(), host))
        commands = script("federation.json")
        if host == EAST:
            # As the page says of the other site.
            (east,) = re.findall(r"`(site=east .*)`", PAGE)
            commands = re.sub("^site=west .*$", east, commands, flags=re.MULTILINE)
        server.run(commands, folder)
        server.add_user(user, "hush")
        rights = definitions("permissions/node.json", node=user, hears=f"{user}|{hears}")
        server.import_definitions(rights)
        urls[host] = server.url("mesh", user, "hush")
    yield urls
    for server in sites.servers.values():
        server.delete_vhost("mesh")


def test_charts_of_two_sites_meet(
    sites: Sites, page_urls: dict[str, str], start: Callable[..., Actor]
) -> None:
    west = start(WEST, page_urls[WEST], *ASKER)
    east = start(EAST, page_urls[EAST], *ANSWERER)

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

    for host, server in sites.servers.items():
        # No node was refused anything, and the page's command tells of links that all run
        assert server.refusals("asker", "answerer") == []
        said = server.run(script("federation_status"), FOLDER)
        assert said.count("running") == len(sites.states(host)) >= 7
        # The servers come in by certificate, as the other site's user
        listed = server.rabbitmqctl("list_connections", "user", "auth_mechanism", "ssl")
        other = site_of(ACROSS[host])
        assert f"{other}\tEXTERNAL\ttrue" in listed.splitlines()
        # And what waits for the other site has a policy
        listed = server.rabbitmqctl("list_queues", "-p", "mesh", "name", "policy")
        line = re.compile(rf"^federation: \S+\.(\w+) -> {other}\t(\S+)$", re.MULTILINE)
        policies = dict(line.findall(listed))
        assert policies["mesh"] == "miros-mesh-sites-events"
        assert policies["snoop_trace"] == "miros-mesh-sites-watch"


def test_events_of_both_sites_cross_once_when_the_line_is_cut_and_mended(
    sites: Sites, urls: dict[str, str], start: Callable[..., Actor]
) -> None:
    # Given a node on the host of each server, so that the line between these is all that is cut
    west = start(WEST, urls[WEST], *ASKER)
    east = start(EAST, urls[EAST], *ANSWERER)
    both = west, east
    for actor in both:
        until(actor, "CHART_UP")

    def send(first: int, end: int) -> None:
        for actor in both:
            actor.tell(f"count {first} {end}")

    # When both send before, while and after it is cut
    send(0, 100)
    sites.network.cut(EAST)
    began = time.monotonic()
    send(100, 200)
    wait_until(lambda: time.monotonic() - began > CUT_S, LIMIT_S)
    send(200, 300)
    sites.network.mend(EAST)
    send(300, 400)

    # Then all is told in order, and nothing twice, also not behind the last one
    for actor in both:
        assert [*told(actor, "site_told 399"), 399] == list(range(400))
    for asks in both:
        asks.tell("ask")
        assert told(asks, "site_answer") == []


def test_a_server_that_shows_another_name_is_not_joined(
    sites: Sites, start: Callable[..., Actor]
) -> None:
    # Given the address of the other server, which its certificate does not name
    address = str(sites.network[EAST].host)
    with sites.joined({WEST: address, EAST: WEST}) as urls:
        start(WEST, urls[WEST], *ASKER)
        start(EAST, urls[EAST], *ANSWERER)
        wait_until(lambda: "running" in sites.states(EAST), LIMIT_S)
        wait_until(lambda: {"error"} == set(sites.states(WEST)), LIMIT_S)


@pytest.fixture
def load(sites: Sites, urls: dict[str, str], tmp_path: Path) -> Iterator[Load]:
    """A sender in the west, its receivers in the east."""
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


def test_cable_between_the_sites_cut(sites: Sites, load: Load) -> None:
    """Both servers lose each other, and the nodes in the east their server."""
    began = time.monotonic()
    sites.network.cut(EAST)
    load.for_(CUT_S)
    sites.network.mend(EAST)
    survived("cable cut", load, began)


@pytest.mark.parametrize("name", [WEST, EAST])
def test_server_of_a_site_killed(name: str, sites: Sites, load: Load) -> None:
    server = sites.servers[name]
    began = time.monotonic()
    server.kill()
    server.start()
    load.for_(1)
    survived(f"server in the {site_of(name)} killed", load, began)


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
