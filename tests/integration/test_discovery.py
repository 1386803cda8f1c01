"""Nodes with a broker each find one another by a hosts file, and their charts talk."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from miros import Event

from miros_mesh import MeshConfig, NetworkedActiveObject, Observer
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.dead_letters.letter import Letter
from miros_mesh.discovery.chart import DiscoveryChart
from miros_mesh.discovery.signals import EVALUATE_HOSTS_FILE, PUBLIC
from miros_mesh.discovery.sources import name_service as names
from miros_mesh.errors import PermissionDeniedError
from miros_mesh.wire.keyring import generate_key
from support import doc_pages
from support.charts_at_work import Heard, Launch
from support.name_server import name_server
from support.rabbitmq_server import PASSWORD, USER, Loopback, RabbitServer, free_ports
from support.waiting import wait_until


class Diary(Observer):
    """What discovery and the publishers told."""

    def __init__(self) -> None:
        self.verdicts: dict[str, list[str]] = {}
        self.up: list[str] = []
        self.searches: list[tuple[str, int]] = []
        self.aliens: list[str] = []
        self.lost = 0

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        if reason == "peer_lost":
            self.lost += events

    def scouted(self, *, source: str, host: str, verdict: str, seconds: float) -> None:
        self.verdicts.setdefault(host, []).append(verdict)

    def searched(self, *, source: str, found: int, seconds: float) -> None:
        self.searches.append((source, found))

    def alien(self, *, outcome: str) -> None:
        self.aliens.append(outcome)

    def peer_up(self, *, peer: str) -> None:
        self.up.append(peer)


class Neighbour(Loopback):
    """A loopback address that no interface names, and so looks like another host's."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self._port = port

    def ports(self, count: int) -> list[int]:
        return [self._port, *super().ports(count - 1)]

    def speaks_amqp(self, port: int) -> bool:
        with socket.socket() as client:
            return client.connect_ex((self.host, port)) == 0


@pytest.fixture(scope="module")
def servers(
    rabbitmq: RabbitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sequence[RabbitServer]]:
    """Two hosts' brokers; a test may stop them."""
    folder = tmp_path_factory.mktemp("hosts")
    with ExitStack() as stack:
        # Two with one port, as the brokers of different hosts have.
        (port,) = free_ports(1)
        places = [Neighbour("127.0.0.2", port), Loopback(), Neighbour("127.0.0.3", port)]
        made = [
            RabbitServer(folder / str(number), rabbitmq.programs, place=place)
            for number, place in enumerate(places)
        ]
        for server in made:
            stack.callback(server.close)
            server.start()
        yield made


class Host:
    """One host: its broker, its hosts file, its settings."""

    def __init__(self, server: RabbitServer, folder: Path, key: bytes, **settings: Any) -> None:
        self.server = server
        self.diary = Diary()
        self.file = folder / f"{server.host}-{server.port}.json"
        self.config = MeshConfig(
            rabbit_user=USER,
            rabbit_password=PASSWORD,
            rabbit_host=server.host,
            rabbit_port=server.port,
            mesh_encryption_key=key,
            discovery_hosts_file=self.file,
            observers=(self.diary,),
            **settings,
        )

    @property
    def where(self) -> str:
        return f"{self.server.host}:{self.server.port}"

    def lists(self, *hosts: str) -> None:
        self.file.write_text(json.dumps({"hosts": hosts}))

    def connected_to(self, other: Host) -> bool:
        return any(other.where in peer for peer in self.diary.up)


@pytest.fixture
def hosts(servers: Sequence[RabbitServer], tmp_path: Path) -> tuple[Host, Host]:
    for server in servers:
        server.start()
    key = generate_key()
    here, there = (Host(server, tmp_path, key) for server in servers[:2])
    return here, there


def say(chart: NetworkedActiveObject, word: str) -> None:
    chart.transmit(Event(signal=word))


def test_two_hosts_that_list_each_other_find_each_other_and_their_charts_talk(
    hosts: tuple[Host, Host], launch: Launch
) -> None:
    # Given two hosts, a broker each, that list each other and a host that is dead
    here, there = hosts
    dead = f"127.0.0.1:{free_ports(1)[0]}"
    here.lists(there.where, dead)
    there.lists(here.where, dead)
    heard_here, heard_there = Heard(), Heard()

    # When a chart starts on each
    alice = launch("alice", here.config, heard_here)
    bob = launch("bob", there.config, heard_there)
    wait_until(lambda: here.connected_to(there) and there.connected_to(here), 20)

    # Then they talk, and the dead host did no harm
    say(alice, "from_alice")
    say(bob, "from_bob")
    wait_until(lambda: "from_alice" in said_to(heard_there) and "from_bob" in said_to(heard_here))
    assert set(here.diary.verdicts[dead]) == {"nothing"}
    assert "manual" in {source for source, _ in here.diary.searches}


def test_what_the_broker_of_one_host_refused_goes_back_to_that_host_alone(
    hosts: tuple[Host, Host], launch: Launch
) -> None:
    # Given two hosts with a chart that listens on each, and a user who may not write to one of them
    here, there = hosts
    here.lists(there.where)
    there.lists()
    there.server.set_topic_permissions(USER, "/", "miros_mesh.v1.mesh", "^nothing$")
    heard_here, heard_there = Heard(), Heard()
    launch("carol", here.config, heard_here)
    launch("bob", there.config, heard_there)
    alice = launch("alice", here.config)
    wait_until(lambda: here.connected_to(there), 20)
    say(alice, "refused")
    wait_until(lambda: "refused" in said_to(heard_here))

    # When it is permitted, and put back
    with DeadLetters(here.config) as letters:
        wait_until(letters.list)
        (letter,) = letters.list()
        assert there.where in letter.peer
        there.server.clear_topic_permissions(USER, "/")
        wait_until(lambda: put_back(letters, letter))
        assert letters.list() == ()

    # Then it is handled there, and not again here
    wait_until(lambda: said_to(heard_there) == ["refused"])
    say(alice, "after")
    wait_until(lambda: "after" in said_to(heard_here))
    assert said_to(heard_here) == ["refused", "after"]


def put_back(letters: DeadLetters, letter: Letter) -> bool:
    try:
        letters.retry(letter)
    except PermissionDeniedError:
        return False
    return True


def test_no_public_signal_of_a_program_keeps_a_node_from_finding_a_broker(
    hosts: tuple[Host, Host], launch: Launch
) -> None:
    # Given two hosts that do not know each other yet
    here, there = hosts
    here.lists()
    there.lists()
    launch("bob", there.config)
    alice = launch("alice", here.config)
    wait_until(lambda: here.diary.searches)
    # When a program publishes what it likes under the words of discovery
    for signal in PUBLIC:
        for payload in (None, 7, ["a"], {"dict": 1}, Event(signal="x"), object()):
            alice.publish(Event(signal=signal, payload=payload))
    # Then the other one is found as soon as it is listed
    here.lists(there.where)
    alice.publish(Event(signal=EVALUATE_HOSTS_FILE))
    wait_until(lambda: here.connected_to(there), 60)
    assert alice.health().dead_charts == ()


def test_a_chart_that_starts_after_a_broker_was_found_is_told_that_it_is_up(
    hosts: tuple[Host, Host], launch: Launch
) -> None:
    # Given a node that is connected to another host's broker
    here, there = hosts
    here.lists(there.where)
    launch("bob", there.config)
    early: list[Event] = []
    late: list[Event] = []
    launch("early", here.config, lambda _, event: early.append(event))
    wait_until(lambda: here.connected_to(there), 20)
    # When a second chart starts on it
    launch("late", here.config, lambda _, event: late.append(event))
    # Then both are told once of the other host's broker, and not of home
    for told in (early, late):
        wait_until(lambda: told)  # noqa: B023
        [event] = told
        assert event.signal_name == "PEER_UP"
        assert there.where in event.payload.address


def test_a_host_that_comes_up_later_is_found(hosts: tuple[Host, Host], launch: Launch) -> None:
    here, there = hosts
    there.server.stop()
    here.lists(there.where)
    heard = Heard()
    alice = launch("alice", here.config)
    wait_until(lambda: here.diary.verdicts.get(there.where), 20)

    there.server.start()
    launch("bob", there.config, heard)

    wait_until(lambda: here.connected_to(there), 30)
    say(alice, "at_last")
    wait_until(lambda: "at_last" in said_to(heard))


def test_a_host_that_is_dead_for_too_long_is_given_up_and_found_again(
    hosts: tuple[Host, Host], launch: Launch, tmp_path: Path
) -> None:
    # Given a host that is connected to another one
    _, there = hosts
    key = there.config.keys_for("mesh")
    assert key
    here = Host(hosts[0].server, tmp_path, key[0], peer_forget_after_s=1.0)
    here.lists(there.where)
    bob = launch("bob", there.config)
    alice = launch("alice", here.config)
    wait_until(lambda: here.connected_to(there), 20)

    # When that dies with events for it on their way
    bob.stop()
    there.server.kill()
    wait_until(lambda: "down" in alice.health().peers.values(), 20)
    say(alice, "not_heard")

    # Then it is given up, and what waited for it is told
    wait_until(lambda: len(alice.health().peers) == 1, 20)
    wait_until(lambda: here.diary.lost >= 1)
    assert alice.health().outbox_events == 0

    # And when it is there again, it is a peer again
    there.server.start()
    wait_until(lambda: list(alice.health().peers.values()) == ["up", "up"], 90)


def test_a_mesh_of_another_key_is_not_joined(
    hosts: tuple[Host, Host], launch: Launch, tmp_path: Path
) -> None:
    here, there = hosts
    foreign = Host(there.server, tmp_path, generate_key())
    here.lists(there.where)
    launch("foreign", foreign.config)
    alice = launch("alice", here.config)

    wait_until(lambda: here.diary.verdicts.get(there.where), 20)

    assert here.diary.verdicts[there.where] == ["other_key"]
    assert len(alice.health().peers) == 1


def test_two_nodes_of_one_process_do_not_hear_each_others_discovery(
    hosts: tuple[Host, Host], launch: Launch
) -> None:
    # Given two nodes in this process, of which one lists the other's broker
    here, there = hosts
    here.lists(there.where)
    there.lists()
    launch("bob", there.config)
    alice = launch("alice", here.config)

    # When that one has found it
    wait_until(lambda: here.connected_to(there), 20)
    wait_until(lambda: len(there.diary.searches) >= 2, 20)

    # Then the other one has looked at nothing by its own files
    assert len(alice.health().peers) == 2
    assert here.where not in there.diary.verdicts
    assert not [found for source, found in there.diary.searches if found]


def test_a_chart_starts_and_stops_while_its_node_still_searches(
    hosts: tuple[Host, Host], launch: Launch
) -> None:
    here, _ = hosts
    here.lists(*(f"127.0.0.1:{port}" for port in free_ports(30)))
    chart = launch("alice", here.config)
    chart.stop()
    assert not [t.name for t in threading.enumerate() if "discovery" in t.name]


def test_a_host_that_no_file_lists_answers_the_one_that_speaks_to_it(
    servers: Sequence[RabbitServer], tmp_path: Path, launch: Launch
) -> None:
    # Given a host that lists another one, which lists none
    for server in servers:
        server.start()
    key = generate_key()
    here, neighbour = (Host(server, tmp_path, key) for server in (servers[0], servers[2]))
    here.lists(neighbour.where)
    neighbour.lists()
    heard = Heard()

    # When a chart starts on each
    launch("bob", neighbour.config)
    bob = launch("bobs_brother", neighbour.config)
    launch("alice", here.config, heard)

    # Then the other one has heard where the first one lives, looked, and speaks to it
    wait_until(lambda: neighbour.connected_to(here), 20)
    assert neighbour.diary.verdicts == {here.where: ["ours"]}
    assert neighbour.diary.aliens == ["adopted"]
    say(bob, "hello_alice")
    wait_until(lambda: "hello_alice" in said_to(heard))


@pytest.mark.parametrize(("policy", "verdicts"), [("probe", [["ours"]]), ("ignore", [])])
def test_an_unknown_node_is_not_joined_where_the_settings_say_so(
    servers: Sequence[RabbitServer],
    tmp_path: Path,
    launch: Launch,
    policy: str,
    verdicts: list[list[str]],
) -> None:
    for server in servers:
        server.start()
    key = generate_key()
    here = Host(servers[0], tmp_path, key)
    neighbour = Host(servers[2], tmp_path, key, alien_policy=policy)
    here.lists(neighbour.where)
    heard = Heard()
    bob = launch("bob", neighbour.config, heard)
    alice = launch("alice", here.config)
    wait_until(lambda: here.connected_to(neighbour), 20)

    say(alice, "it_hears_all_the_same")

    wait_until(lambda: said_to(heard) == ["it_hears_all_the_same"])
    wait_until(lambda: len(neighbour.diary.verdicts) == len(verdicts))
    assert list(neighbour.diary.verdicts.values()) == verdicts
    assert len(bob.health().peers) == 1


def test_names_and_services_are_found_with_their_addresses_and_ports(
    servers: Sequence[RabbitServer],
    tmp_path: Path,
    launch: Launch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given three hosts, of which the first knows one by name and one as a service with its port
    for server in servers:
        server.start()
    key, service = generate_key(), "_amqp._tcp.rabbit.example."
    by_name = f"localhost:{servers[1].port}"
    looks = {"discovery": ("dns",), "discovery_dns_names": (by_name, service)}
    here = Host(servers[0], tmp_path, key, **looks)
    named, served = (Host(server, tmp_path, key, discovery=()) for server in servers[1:])
    heard_named, heard_served = Heard(), Heard()
    launch("bob", named.config, heard_named)
    launch("carol", served.config, heard_served)

    # When a chart starts there, with a name server that knows the service
    with name_server(**{service: [f"0 0 {servers[2].port} {servers[2].host}."]}) as resolver:
        monkeypatch.setattr(names, "_system_resolver", lambda: resolver)
        alice = launch("alice", here.config)

        # Then both are found at their ports, and hear it
        wait_until(lambda: here.connected_to(named) and here.connected_to(served), 30)
    say(alice, "looked_up")
    wait_until(lambda: said_to(heard_named) == said_to(heard_served) == ["looked_up"])
    assert set(here.diary.verdicts) >= {named.where, served.where}
    assert here.diary.searches[0][0] == "dns"


def test_a_broker_that_refuses_is_asked_once_by_all_nodes_of_a_process(
    hosts: tuple[Host, Host], launch: Launch
) -> None:
    # Given a host whose broker does not know the user of the other one
    here, there = hosts
    user, secret = "intruder", "S3cret-of-an-intruder"
    here.server.add_user(user, secret)
    here.server.set_permissions(user, "/")
    here.lists(there.where)
    config = here.config.overridden(rabbit_user=user, rabbit_password=secret)

    # When a node starts there again and again
    for _ in range(3):
        here.diary.verdicts.clear()
        chart = launch("alice", config)
        wait_until(lambda: here.diary.verdicts.get(there.where), 20)
        assert set(here.diary.verdicts[there.where]) == {"credentials"}
        chart.stop()

    # Then the other broker has refused it once
    def refused() -> int:
        """The broker writes it down a moment later."""
        logs = (there.server._folder / "log").glob("*.log")
        return "".join(log.read_text() for log in logs).count(f"refused: user '{user}'")

    wait_until(refused)
    assert refused() == 1
    here.server.delete_user(user)


def told(source: dict[str, Any], alice: NetworkedActiveObject, host: str) -> None:
    source["tell"](alice, [host])


def asked_for(source: dict[str, Any], _: NetworkedActiveObject, host: str) -> DiscoveryChart:
    chart: DiscoveryChart = source["RegistryChart"](lambda: [host])
    return chart


@pytest.mark.parametrize(("example", "begin"), [(-2, told), (-1, asked_for)], ids=["told", "asked"])
def test_a_source_of_ones_own_is_as_the_page_says(
    example: int,
    begin: Callable[..., DiscoveryChart | None],
    hosts: tuple[Host, Host],
    launch: Launch,
) -> None:
    # Given a node that lists no host, and what the page says of a source of one's own
    here, there = hosts
    here.lists()
    examples = doc_pages.fragments(doc_pages.ROOT / "docs/discovery.md")
    source: dict[str, Any] = {"__name__": "registry"}
    exec(examples[example], source)
    heard = Heard()
    launch("bob", there.config, heard)
    alice = launch("alice", here.config)

    # When it tells where another broker is
    chart = begin(source, alice, there.where)

    # Then the node joins it
    try:
        wait_until(lambda: here.connected_to(there), 20)
        say(alice, "told")
        wait_until(lambda: "told" in said_to(heard))
    finally:
        if chart:
            chart.stop()


def said_to(heard: Heard) -> list[str]:
    return [signal for signal, _ in heard]
