"""Two sites with a RabbitMQ each, whose exchanges are joined by RabbitMQ's federation.

Each server copies from the other one what its own queues are bound to; nodes know of one server.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from faults.cluster_load import FREE, KEPT, Load
from faults.traffic import record
from support.actor import Actor
from support.namespaces import Network
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

pytestmark = pytest.mark.proof
SITE = Path(__file__).with_name("site.py")
LEFT, RIGHT, NODES = "left", "right", "nodes"
PLAN = {name: [f"10.7.0.{number}/24"] for number, name in enumerate((LEFT, RIGHT, NODES), 1)}
JOINED = r"^miros_mesh\.v1\.(mesh|direct|repair|roll|pulse|snoop_trace|snoop_spy)$"
CUT_S = 15.0
# From the binding of a queue until the other server copies what it is bound to.
JOIN_LIMIT_S = 60.0


class Sites:
    """Both servers, and the network between them."""

    def __init__(self, network: Network, servers: dict[str, RabbitServer]) -> None:
        self.network, self.servers = network, servers

    def join(self) -> dict[str, str]:
        """Join a virtual host of each; returns their URLs."""
        vhosts = {name: server.new_vhost() for name, server in self.servers.items()}
        urls = {name: self.servers[name].url(vhost) for name, vhost in vhosts.items()}
        for name, other in ((LEFT, RIGHT), (RIGHT, LEFT)):
            # One hop: what came from there does not go back.
            uri = f"{urls[other]}?heartbeat=5"
            upstream = {"uri": uri, "max-hops": 1, "reconnect-delay": 1}
            do, vhost = self.servers[name].rabbitmqctl, vhosts[name]
            do("set_parameter", "-p", vhost, "federation-upstream", other, json.dumps(upstream))
            policy = '{"federation-upstream-set":"all"}'
            do("set_policy", "-p", vhost, "--apply-to", "exchanges", "sites", JOINED, policy)
        return urls


@pytest.fixture(scope="module")
def sites(
    private_networks: None, rabbitmq_programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sites]:
    """Two servers, each on a host of its own, and a host for the nodes of both sites."""
    folder = tmp_path_factory.mktemp("sites")
    with ExitStack() as stack:
        settings = stack.enter_context(pytest.MonkeyPatch.context())
        settings.setenv("MIROS_MESH_LAN", "off")
        network = stack.enter_context(Network(PLAN))
        servers = {}
        for name in (LEFT, RIGHT):
            server = network[name].rabbitmq(folder / name, rabbitmq_programs)
            server.enable("rabbitmq_federation")
            stack.callback(server.close)
            server.start()
            servers[name] = server
        yield Sites(network, servers)


@pytest.fixture
def start(sites: Sites) -> Iterator[Callable[..., Actor]]:
    """Start a chart at a site."""
    with ExitStack() as ending:

        def starting(*arguments: str) -> Actor:
            actor = ending.enter_context(Actor(SITE, *arguments, place=sites.network[NODES]))
            until(actor, "ready")
            return actor

        yield starting


def until(actor: Actor, begins: str) -> str:
    """What a chart says next that begins so."""
    while not (said := str(actor.heard()["said"])).startswith(begins):
        pass
    return said


def test_charts_of_two_sites_meet(sites: Sites, start: Callable[..., Actor]) -> None:
    urls = sites.join()
    west = start(urls[LEFT], "west", "questions", "answers")
    east = start(urls[RIGHT], "east", "answers", "questions")

    # Each hears of the other one (the network `roll`)
    assert until(west, "CHART_UP") == "CHART_UP east/east"
    assert until(east, "CHART_UP") == "CHART_UP west/west"
    # What is asked under a topic, and by an address, is answered (`mesh`, `direct`)
    for line in ("ask", "ask east/east"):
        west.tell(line)
        assert until(west, "site_answer") == "site_answer east"
    # Who watches there sees it (`snoop_trace`)
    east.tell("scribble from-the-east")
    assert "from-the-east" in until(west, "trace ") or "from-the-east" in until(west, "trace ")
    # What no chart of either site hears is told
    west.tell("tell elsewhere")
    assert until(west, "NO_LISTENER") == "NO_LISTENER elsewhere"
    west.tell("ask nowhere/nobody")
    assert until(west, "REQUEST_").startswith("REQUEST_UNROUTABLE")


@pytest.fixture
def load(sites: Sites, tmp_path: Path) -> Iterator[Load]:
    """A sender at the left, its receivers at the right."""
    urls = sites.join()
    with ExitStack() as stack:
        each = urls[LEFT], urls[RIGHT], urls[RIGHT]
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
    """Both servers lose each other, and the nodes at the right their server."""
    began = time.monotonic()
    sites.network.cut(RIGHT)
    load.for_(CUT_S)
    sites.network.mend(RIGHT)
    survived("cable cut", load, began)


@pytest.mark.parametrize("name", [LEFT, RIGHT])
def test_server_of_a_site_killed(name: str, sites: Sites, load: Load) -> None:
    server = sites.servers[name]
    began = time.monotonic()
    server.kill()
    server.start()
    load.for_(1)
    survived(f"server at the {name} killed", load, began)


def test_what_a_queue_at_the_other_site_has_lost_is_asked_for(sites: Sites, load: Load) -> None:
    """By the network `repair`, across the sites and back."""
    began = time.monotonic()
    server = sites.servers[RIGHT]
    names = "{resource, _, _, N} <- [amqqueue:get_name(Q)]"
    receivers = (
        f'[Q || Q <- rabbit_amqqueue:list(), {names}, re:run(N, <<"[.]receiver[.]">>) =/= nomatch]'
    )
    server.eval(f'[rabbit_amqqueue:delete(Q, false, false, <<"test">>) || Q <- {receivers}]')
    wait_until(lambda: load.handled(KEPT) and load.handled(FREE))
    load.for_(3)
    survived("queues deleted", load, began)
