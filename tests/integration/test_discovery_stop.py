"""A search that is under way does not delay a stop."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from miros.activeobject import ActiveFabric

from miros_mesh.address import BrokerAddress, Endpoint
from miros_mesh.config.settings import MeshConfig
from miros_mesh.discovery.discovery import Discovery
from miros_mesh.discovery.safety.mailbox import DiscoveryMailbox
from miros_mesh.discovery.sources.tcp_scanner import TcpScanner
from miros_mesh.errors import BrokerUnreachableError, LinkError
from miros_mesh.link.kombu_link import KombuLink, amqp_link
from miros_mesh.link.ports import Broker
from miros_mesh.node.search.link_probe import LinkProbe
from support.charts_at_work import KEY
from support.discovery_field import settings, switch_on
from support.post_office import SETTINGS
from support.rabbitmq_server import HOST, free_ports
from support.waiting import wait_until

LONG_S = 600.0
LIMIT_S = 20.0
SLOW = "slow.example"
DESCRIPTORS = Path("/proc/self/fd")
# Charts at a time, times the signals that each hears.
MOST_PLACES = 300


@pytest.fixture
def link() -> Iterator[KombuLink]:
    made = amqp_link(SETTINGS)
    yield made
    made.close()


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections, and where nothing is ever said."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def full() -> Iterator[int]:
    """A port that takes no more connections: a client waits for an answer to its first packet."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0), backlog=0))
        port: int = listener.getsockname()[1]
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex((HOST, port))
        yield port


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The resolver has no answer to a name while the test runs; set once it was asked."""
    asked, over = threading.Event(), threading.Event()
    resolve = socket.getaddrinfo

    def ask(host: Any, *arguments: Any, **options: Any) -> Any:
        if host != SLOW or options.get("flags") == socket.AI_NUMERICHOST:
            return resolve(host, *arguments, **options)
        asked.set()
        over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    yield asked
    over.set()


def at(host: str, port: int) -> Broker:
    address = BrokerAddress("amqp", host, port, user="peter", password="rabbit")
    return Broker(address.redacted, (address,))


def look(link: KombuLink, broker: Broker, ends: list[LinkError], timeout_s: float = LONG_S) -> None:
    try:
        link.look(broker, exchange="e", marks=("m",), timeout_s=timeout_s)
    except LinkError as error:
        ends.append(error)


def looking(link: KombuLink, broker: Broker, ends: list[LinkError]) -> threading.Thread:
    thread = threading.Thread(target=look, args=(link, broker, ends))
    thread.start()
    return thread


@pytest.mark.parametrize("where", ["silent", "full"])
def test_a_look_under_way_ends_when_the_search_stops(
    link: KombuLink, where: str, request: pytest.FixtureRequest
) -> None:
    # Given a look that waits for an answer
    ends: list[LinkError] = []
    thread = looking(link, at(HOST, request.getfixturevalue(where)), ends)
    wait_until(lambda: any(deadline._socket() for deadline in link._looks._under_way))
    # When all looks are to end
    link.stop_looking()
    # Then it does, and no other begins
    thread.join(LIMIT_S)
    assert [type(error) for error in ends] == [BrokerUnreachableError]
    with pytest.raises(BrokerUnreachableError, match="not looked at any more"):
        link.look(at(HOST, 1), exchange="e", marks=("m",), timeout_s=LONG_S)


def test_a_look_at_a_name_that_cannot_be_looked_up_ends_too(
    link: KombuLink, slow_names: threading.Event
) -> None:
    ends: list[LinkError] = []
    thread = looking(link, at(SLOW, 5672), ends)
    assert slow_names.wait(LIMIT_S)
    link.stop_looking()
    thread.join(LIMIT_S)
    assert [type(error) for error in ends] == [BrokerUnreachableError]


def test_a_slow_resolver_has_no_more_time_than_a_look(
    link: KombuLink, slow_names: threading.Event
) -> None:
    ends: list[LinkError] = []
    look(link, at(SLOW, 5672), ends, timeout_s=0.2)
    assert slow_names.is_set()
    assert [type(error) for error in ends] == [BrokerUnreachableError]


class Deaf:
    """A node that ignores what is found."""

    def found(self, endpoint: Endpoint) -> None:
        raise AssertionError(endpoint)

    lost = found


class Nowhere:
    """A name server for which every name is one address."""

    def endpoints(self, name: str, default_port: int) -> Sequence[Endpoint]:
        return [Endpoint("127.0.7.1", default_port)]


def test_discovery_stops_while_its_scouts_and_its_names_wait(
    link: KombuLink,
    silent: int,
    slow_names: threading.Event,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given searches that wait for a silent host, and for names that have no answer
    hosts = tmp_path / "hosts.json"
    hosts.write_text(json.dumps({"hosts": [f"{HOST}:{silent}", SLOW]}))
    config = MeshConfig(rabbit_user="peter", rabbit_password="rabbit", mesh_encryption_key=KEY)
    chosen = settings(
        node="n",
        sources=("manual", "dns"),
        hosts_files=(hosts,),
        dns_names=(SLOW,),
        scout_timeout_s=LONG_S,
        home=(Endpoint(SLOW, 5672),),
    )
    discovery = Discovery(chosen, probe=LinkProbe(config, link), sink=Deaf())
    discovery.start()
    wait_until(lambda: len(link._looks._under_way) == 2)
    assert slow_names.wait(LIMIT_S)
    # When it stops
    began = time.monotonic()
    with caplog.at_level(logging.ERROR):
        discovery.stop(LIMIT_S)
    # Then at once, and nothing of it runs on but the questions to the resolver
    assert time.monotonic() - began < LIMIT_S
    assert not caplog.records
    left = {t.name for t in threading.enumerate() if t.name.startswith("mesh-")}
    assert left <= {"mesh-lookup", "mesh-n-discovery-lookup"}


def test_a_hundred_searches_leave_no_thread_no_descriptor_and_no_subscription(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stopped in the middle, with all sources at work and the claim of an unknown node."""
    switch_on(monkeypatch)
    (port,) = free_ports(1)
    hosts = tmp_path / "hosts.json"
    hosts.write_text(json.dumps({"hosts": ["127.0.7.3", "localhost"]}))
    config = MeshConfig(rabbit_user="peter", rabbit_password="rabbit", mesh_encryption_key=KEY)

    def search() -> None:
        link = amqp_link(SETTINGS)
        chosen = settings(
            node="n",
            sources=("manual", "lan", "dns"),
            port=port,
            home=(Endpoint(HOST, port),),
            hosts_files=(hosts,),
            cache_path=tmp_path / "cache.json",
            dns_names=("rabbit.example",),
        )
        discovery = Discovery(
            chosen,
            probe=LinkProbe(config, link),
            sink=Deaf(),
            name_service=Nowhere(),
            scanner=TcpScanner(port, lambda: [f"127.0.7.{last}" for last in range(1, 40)]),
        )
        discovery.start()
        discovery.alien_spoke(f"127.0.7.9:{port}")
        discovery.stop()
        link.close()

    def held() -> tuple[int, int, int]:
        # The place of a chart that has gone is kept for another one.
        places = [box for each in ActiveFabric().fifo_subscriptions.values() for box in each]
        assert len(places) < MOST_PLACES
        return (
            threading.active_count(),
            len(list(DESCRIPTORS.iterdir())),
            sum(isinstance(box, DiscoveryMailbox) for box in places),
        )

    for _ in range(5):
        search()
    before = held()
    for _ in range(100):
        search()
    wait_until(
        lambda: all(now <= then for now, then in zip(held(), before, strict=True)),
        message=f"{before} before",
    )
