"""Servers of a cluster are killed, stopped one after the other and cut off, under load.

Three servers and the nodes are each on a host of a private network. The sender's connection is at
the first server, that of the receiver with a node name at the second, with its quorum queue, and
that of the receiver without one at the third, with its classic queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from faults.cluster_load import FREE, KEPT, USUAL_S, Load
from faults.test_groups import Members, warm
from faults.traffic import record
from support.actor import Actor
from support.namespaces import Network
from support.rabbitmq_cluster import Cluster

pytestmark = pytest.mark.proof
SELLER = Path(__file__).with_name("group_seller.py")
SERVERS = ("ada", "bob", "cyd")
NODES = "dan"
PLAN = {name: [f"10.7.0.{n}/24"] for n, name in enumerate((*SERVERS, NODES), 1)}
# The aim is 10 s; on a machine that does more than it can, servers need a while to agree.
BACK_LIMIT_S = 60.0
AWAY_S = 10.0
# Before the server starts again, for which others wait on a small machine.
LOOK_S = 6.0
CUT_S = 30.0


class Ground:
    """The cluster, and the network that it is on."""

    def __init__(self, network: Network, cluster: Cluster) -> None:
        self.network, self.cluster = network, cluster

    def new_vhost(self) -> str:
        """A virtual host that no test has used."""
        return self.cluster.servers[0].new_vhost()


@pytest.fixture(scope="module")
def ground(
    private_networks: None, rabbitmq_programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    """Three servers, and a host for the nodes."""
    with ExitStack() as stack:
        settings = stack.enter_context(pytest.MonkeyPatch.context())
        settings.setenv("MIROS_MESH_LAN", "off")
        network = stack.enter_context(Network(PLAN))
        hosts = [network[name] for name in SERVERS]
        cluster = Cluster(tmp_path_factory.mktemp("cluster"), rabbitmq_programs, hosts)
        stack.callback(cluster.close)
        cluster.start()
        yield Ground(network, cluster)


@pytest.fixture
def whole(ground: Ground) -> Iterator[Ground]:
    """The cluster, with all of its servers again after the test."""
    yield ground
    for name in SERVERS:
        ground.network.mend(name)
    for server in ground.cluster.servers:
        server.start()
    ground.cluster.await_whole()


@pytest.fixture
def load(whole: Ground, tmp_path: Path) -> Iterator[tuple[str, Load]]:
    """The load, in a virtual host of its own."""
    vhost = whole.new_vhost()
    with ExitStack() as stack:
        urls = [whole.cluster.urls(vhost, first) for first in range(len(SERVERS))]
        # The sender's, that with a node name, that without.
        yield vhost, Load(stack, urls, whole.network[NODES], tmp_path)


def survived(fault: str, load: Load, began: float, until: float = float("inf")) -> None:
    """Nothing was lost, doubled or out of order, and events flowed again soon enough."""
    load.end()
    print(load.links(began))
    for name in (KEPT, FREE):
        account, seconds = load.account(name), load.again(name, began, until)
        record(f"{fault}: {name}", account, seconds)
        assert account.perfect, account
        assert seconds < BACK_LIMIT_S


@pytest.mark.parametrize("of", ["sender", KEPT, FREE])
def test_server_killed_that_a_node_is_connected_to(
    of: str, whole: Ground, load: tuple[str, Load]
) -> None:
    _, flow = load
    server = whole.cluster.servers[("sender", KEPT, FREE).index(of)]
    flow.for_(2)

    began = time.monotonic()
    server.kill()
    flow.for_(AWAY_S)
    server.start()
    whole.cluster.await_whole()
    flow.for_(1)

    survived(f"server of {of} killed", flow, began, began + LOOK_S)


def test_server_killed_that_leads_a_queue(whole: Ground, load: tuple[str, Load]) -> None:
    """The sender and its receiver are connected to the other two."""
    vhost, flow = load
    leader = whole.cluster.servers[2]
    whole.cluster.lead(vhost, KEPT, leader)
    flow.for_(2)

    began = time.monotonic()
    leader.kill()
    flow.for_(AWAY_S)
    leader.start()
    whole.cluster.await_whole()

    survived("leader killed", flow, began, began + LOOK_S)


def test_servers_stopped_and_started_one_after_another(
    whole: Ground, load: tuple[str, Load]
) -> None:
    """As an upgrade does it."""
    _, flow = load

    began = time.monotonic()
    for server in whole.cluster.servers:
        server.stop()
        flow.for_(1)
        server.start()
        whole.cluster.await_whole()
        for name in (KEPT, FREE):
            flow.caught_up(name)

    took = time.monotonic() - began
    print(f"{took:.1f} s for three servers")
    flow.end()
    for name in (KEPT, FREE):
        account, worst = flow.account(name), flow.worst(name, began)
        record(f"rolling restart, worst delay: {name}", account, worst)
        assert account.perfect, account


@pytest.mark.parametrize("of", [KEPT, FREE])
def test_server_cut_off_from_the_others_and_from_the_nodes(
    of: str, whole: Ground, load: tuple[str, Load]
) -> None:
    """The one that is alone stops its work (pause_minority), and joins the others again."""
    _, flow = load
    place = 1 if of == KEPT else 2
    flow.for_(2)

    began = time.monotonic()
    whole.network.cut(SERVERS[place])
    flow.for_(CUT_S)
    mended = time.monotonic()
    whole.network.mend(SERVERS[place])
    whole.cluster.await_whole()

    survived(f"server of {of} cut off", flow, began, mended)


@pytest.mark.parametrize("kind", ["standby", "share", "partition_by"])
def test_server_killed_under_a_group(
    kind: str, whole: Ground, tmp_path: Path, group: Callable[[str, str], Members]
) -> None:
    """It is the one that the members ask first, and that leads the queue of the group."""
    vhost = whole.new_vhost()
    cluster, server = whole.cluster, whole.cluster.servers[1]
    members = group(cluster.urls(vhost, 1), kind)
    members.start()
    members.start()
    seller = Actor(SELLER, cluster.urls(vhost), tmp_path / "sold", place=whole.network[NODES])
    with seller:
        assert seller.heard() == {"said": "ready"}
        warm(members)

        killed = time.monotonic()
        server.kill()
        seconds = members.first_after(killed + USUAL_S) - killed
        warm(members, 3000)
        server.start()
        cluster.await_whole()

        seller.tell()
        sent = range(int(str(seller.heard()["said"])))
    account = members.accounted("server killed", sent, seconds)
    assert account.lost == account.duplicated == 0, account
    assert account.out_of_order == 0 or kind == "partition_by"


@pytest.fixture
def group(whole: Ground, tmp_path: Path) -> Iterator[Callable[[str, str], Members]]:
    """Members of a group of a kind at these addresses, on the nodes' host."""
    with ExitStack() as ending:

        def make(url: str, kind: str) -> Members:
            members = Members(url, kind, tmp_path, whole.network[NODES])
            ending.callback(members.close)
            return members

        yield make
