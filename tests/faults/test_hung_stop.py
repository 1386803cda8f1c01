"""A broker that hangs holds up no stop, at whatever stage of a connection it hangs.

Time-outs are long here, so that a wait for any of them fails a test on the slowest machine.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from amqp.spec import Basic, Channel, Connection, Exchange, Queue

from faults.conftest import settings
from faults.relay import DOWN, HOST, Relay
from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.address import BrokerAddress
from miros_mesh.embedded import database
from miros_mesh.embedded.schema import DATABASE_FILE
from miros_mesh.errors import BrokerUnreachableError, ConnectionLostError, LinkError, StoppedError
from miros_mesh.link.kombu_link import amqp_link
from miros_mesh.link.ports import Broker
from miros_mesh.node import node as node_module
from miros_mesh.node.node import NODES
from support.actor import Actor
from support.charts_at_work import KEY, Heard, Launch, alone, event, node_of
from support.post_office import SETTINGS, Letter, Mailbox, queue
from support.rabbitmq_server import PASSWORD, USER
from support.tls import certificates
from support.waiting import wait_until

LONG_S = 60.0
# Of some tenths of a second; whatever waits for a time-out takes longer.
LIMIT_S = LONG_S / 2
DRAIN_S = 1.0
NAME = "rabbit.example"
STARTING = Path(__file__).parent / "starting.py"
DESCRIPTORS = Path("/proc/self/fd")
SLOW = {
    "connect_timeout_s": LONG_S,
    "confirm_timeout_s": LONG_S,
    "heartbeat_interval_s": LONG_S,
    "drain_timeout_s": LONG_S,
}


class Names:
    """A resolver that knows the broker's name, until it hangs."""

    def __init__(self) -> None:
        self.asked, self.over, self.hangs = threading.Event(), threading.Event(), False
        self._resolve = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host != NAME or options.get("flags") == socket.AI_NUMERICHOST:
            return self._resolve(host, port, *arguments, **options)
        if self.hangs:
            self.asked.set()
            self.over.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._resolve(HOST, port, *arguments, **options)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.over.set()


@pytest.fixture
def url(relayed_url: str) -> str:
    """The broker by its name."""
    return relayed_url.replace(f"@{HOST}:", f"@{NAME}:")


@contextmanager
def silent(port: int = 0, *, full: bool = False) -> Iterator[int]:
    """A port where nothing is ever said; a full one does not even take a connection."""
    with ExitStack() as stack:
        listener = socket.create_server((HOST, port), backlog=0 if full else 64)
        stack.enter_context(listener)
        port = listener.getsockname()[1]
        for _ in range(4 if full else 0):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex((HOST, port))
        yield port


def connections() -> int:
    """How many sockets of this process are open."""
    count = 0
    for each in DESCRIPTORS.iterdir():
        try:
            count += str(each.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


@contextmanager
def measured(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    print(f"{what}: {took:.3f} s")
    assert took < LIMIT_S


# A node at work, whose broker begins to hang


def at_look_up(relay: Relay, names: Names, stack: ExitStack) -> None:
    names.hangs = True
    relay.cut()
    assert names.asked.wait(LIMIT_S)


def at_connect(relay: Relay, names: Names, stack: ExitStack) -> None:
    relay.refuse()
    stack.enter_context(silent(relay.port, full=True))
    # Until both wait for an answer to their first packet.
    wait_until(lambda: waiting_at(relay.port) >= 2, LIMIT_S)


def waiting_at(port: int) -> int:
    """How many connections to a port of this machine wait for an answer to their first packet."""
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, state = line.split()[:4]
        count += remote.endswith(f":{port:04X}") and state == "02"
    # Those that fill the backlog wait, too.
    return max(count - 2, 0)


def at_greeting(relay: Relay, names: Names, stack: ExitStack) -> None:
    relay.black_hole()
    before = relay.count
    relay.cut()
    wait_until(lambda: relay.count >= before + 2, LIMIT_S)


def at_method(method: tuple[int, int]) -> Callable[[Relay, Names, ExitStack], None]:
    def hang(relay: Relay, names: Names, stack: ExitStack) -> None:
        relay.frozen_at = method
        relay.cut()
        wait_until(lambda: relay.frozen >= 2, LIMIT_S)

    return hang


def at_work(relay: Relay, names: Names, stack: ExitStack) -> None:
    relay.black_hole()


def at_answers(relay: Relay, names: Names, stack: ExitStack) -> None:
    relay.black_hole(DOWN)


STAGES = {
    "look-up": at_look_up,
    "connect": at_connect,
    "greeting": at_greeting,
    "start": at_method(Connection.Start),
    "tune": at_method(Connection.Tune),
    "open": at_method(Connection.OpenOk),
    "channel": at_method(Channel.OpenOk),
    "declare": at_method(Exchange.DeclareOk),
    "work": at_work,
    "answers": at_answers,
}
HANGS = pytest.mark.parametrize("stage", STAGES)


def started(launch: Launch, url: str, **changes: Any) -> NetworkedActiveObject:
    chart = launch("sender", settings(url, **{**SLOW, **changes}), Heard())
    chart.transmit(event("confirmed"))
    wait_until(lambda: node_of(chart).report().all_confirmed, LIMIT_S)
    return chart


@HANGS
def test_stop_with_nothing_to_send(
    stage: str, names: Names, relay: Relay, url: str, launch: Launch
) -> None:
    # Given a node that has sent all, when its broker begins to hang
    before = connections()
    chart = started(launch, url)
    with ExitStack() as stack:
        STAGES[stage](relay, names, stack)
        # Then it stops at once
        with measured(f"nothing to send, {stage}"):
            report = chart.stop()
        assert report.all_confirmed
        assert mesh_threads() <= {"mesh-lookup"}
    # And leaves no connection
    relay.close()
    wait_until(lambda: connections() <= before, LIMIT_S)


def mesh_threads() -> set[str]:
    return {each.name for each in threading.enumerate() if each.name.startswith("mesh-")}


@pytest.mark.proof
@HANGS
def test_stop_with_events_to_send(
    stage: str, names: Names, relay: Relay, url: str, launch: Launch
) -> None:
    chart = started(launch, url, drain_timeout_s=DRAIN_S)
    with ExitStack() as stack:
        STAGES[stage](relay, names, stack)
        for number in range(3):
            chart.transmit(event("late", number))
        began = time.monotonic()
        with measured(f"three events to send, {stage}"):
            report = chart.stop()
        # What is to be sent has its time
        assert time.monotonic() - began >= DRAIN_S
        assert (report.sent, report.confirmed, report.left_over) == (4, 1, 3)
        assert mesh_threads() <= {"mesh-lookup"}


@pytest.mark.parametrize("late", [0, 3])
def test_stop_with_snoop_and_discovery_and_five_brokers_that_hang(
    late: int, names: Names, relay: Relay, url: str, launch: Launch, tmp_path: Path
) -> None:
    # Given a node that shows what it does, searches for brokers, and publishes to five more
    with ExitStack() as stack:
        mute = [stack.enter_context(silent(full=number > 2)) for number in range(5)]
        hosts = tmp_path / "hosts.json"
        hosts.write_text(json.dumps({"hosts": [f"127.0.0.1:{port}" for port in mute]}))
        chart = NetworkedActiveObject(
            "sender",
            config=settings(
                url,
                **{**SLOW, "drain_timeout_s": DRAIN_S if late else LONG_S},
                discovery=("manual",),
                # What waits for brokers to come would count as for one more.
                first_search_wait="skip",
                discovery_hosts_file=hosts,
            ),
        )
        chart.enable_snoop_trace_no_color()
        chart.enable_snoop_spy_no_color()
        chart.start_at(alone(Heard()))
        stack.callback(chart.stop)
        node = node_of(chart)
        for port in mute:
            address = BrokerAddress("amqp", HOST, port, user=USER, password=PASSWORD)
            node.peers.add(Broker(address.redacted, (address,)), patient=True)
        # When its home broker hangs as well, each on a connection that works
        at_work(relay, names, stack)
        for number in range(late):
            chart.transmit(event("late", number))
        chart.post_fifo(event("shown"))
        with measured(f"six brokers, {late} events"):
            report = chart.stop()
        assert report.left_over == 6 * late
        assert not mesh_threads()


def test_stop_with_five_connections_that_freeze(
    names: Names, relay: Relay, url: str, launch: Launch
) -> None:
    # Given a node that publishes to six brokers, and has sent all
    chart = started(launch, url)
    node = node_of(chart)
    for number in range(5):
        # The pool of an address has four places.
        address = replace(BrokerAddress.parse(url), host=("localhost", HOST)[number % 2])
        node.peers.add(Broker(f"peer {number}", (address,))).wait_ready(LIMIT_S)
    # When all of them freeze
    at_work(relay, names, ExitStack())
    with measured("six frozen connections"):
        report = chart.stop()
    assert report.all_confirmed
    assert not mesh_threads()


# A worker whose broker has never answered


@pytest.fixture
def mute_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port that speaks TLS, and nothing in it."""
    files = certificates(tmp_path, HOST)
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0)))

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                    stack.enter_context(context.wrap_socket(client, server_side=True))
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def silent_port() -> Iterator[int]:
    with silent() as port:
        yield port


@pytest.fixture
def full_port() -> Iterator[int]:
    with silent(full=True) as port:
        yield port


PLACES = pytest.mark.parametrize(
    ("scheme", "port"),
    [
        ("amqp", "silent_port"),
        ("amqp", "full_port"),
        ("amqps", "silent_port"),
        ("amqps", "full_port"),
        ("amqps", "mute_tls"),
    ],
)
AT_ONCE = replace(SETTINGS, connect_timeout_s=LONG_S, confirm_timeout_s=LONG_S)


def broker_at(scheme: Literal["amqp", "amqps"], *ports: int) -> Broker:
    addresses = tuple(BrokerAddress(scheme, HOST, port, user="u", password="p") for port in ports)
    return Broker("hung", addresses)


def connecting(worker: Any) -> bool:
    """Whether it has a socket by which it waits."""
    return worker._cutter._socket() is not None


@PLACES
def test_a_first_connection_ends_with_its_publisher(
    scheme: Literal["amqp", "amqps"], port: str, request: pytest.FixtureRequest
) -> None:
    # Given a publisher that waits for the first of two addresses
    link = amqp_link(AT_ONCE)
    number = request.getfixturevalue(port)
    publisher = link.publisher(broker_at(scheme, number, number), patient=True)
    publisher.put(Letter(b"goodbye", events=0))
    publisher.start()
    wait_until(lambda: connecting(publisher), LIMIT_S)
    # When it stops, then it tries neither again
    with measured(f"publisher, {scheme}, {port}"):
        publisher.stop(LONG_S)
    assert not publisher.alive
    with pytest.raises(BrokerUnreachableError, match="stopped"):
        publisher.wait_ready(0)
    link.close()


@PLACES
def test_a_first_connection_ends_with_its_subscriber_and_with_who_waits_for_it(
    scheme: Literal["amqp", "amqps"], port: str, request: pytest.FixtureRequest
) -> None:
    link = amqp_link(AT_ONCE)
    subscriber = link.subscriber(broker_at(scheme, request.getfixturevalue(port)))
    subscriber.start()
    wait_until(lambda: connecting(subscriber), LIMIT_S)
    ends: list[LinkError] = []

    def add() -> None:
        try:
            subscriber.add(queue(), Mailbox(), LONG_S)
        except LinkError as error:
            ends.append(error)

    adding = threading.Thread(target=add)
    adding.start()
    wait_until(lambda: bool(subscriber._awaited), LIMIT_S)
    with measured(f"subscriber, {scheme}, {port}"):
        subscriber.stop(LONG_S)
        adding.join(LIMIT_S)
    assert not subscriber.alive
    assert [type(each) for each in ends] == [ConnectionLostError]
    link.close()


# A chart that is stopped while it starts


def starting(chart: NetworkedActiveObject, ends: list[BaseException]) -> threading.Thread:
    def start() -> None:
        try:
            chart.start_at(alone(Heard()))
        except Exception as error:  # noqa: BLE001 - for the test to look at
            ends.append(error)

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    return thread


METHODS = {
    "start": Connection.Start,
    "tune": Connection.Tune,
    "open": Connection.OpenOk,
    "channel": Channel.OpenOk,
    "declare": Exchange.DeclareOk,
    "bind": Queue.BindOk,
    "consume": Basic.ConsumeOk,
    "read": Basic.Deliver,
}


@pytest.mark.parametrize("node_name", [None, "lasting"])
@pytest.mark.parametrize("stage", ["look-up", "greeting", *METHODS])
def test_a_chart_that_is_stopped_while_it_starts(
    stage: str, node_name: str | None, names: Names, relay: Relay, url: str
) -> None:
    if stage == "read" and node_name is None:
        pytest.skip("reads nothing")
    # Given a chart that another thread starts, and a broker that hangs
    before = connections()
    config = settings(url, **SLOW, node_name=node_name)
    chart, ends = NetworkedActiveObject("late", config=config), list[BaseException]()
    names.hangs = stage == "look-up"
    relay.frozen_at = METHODS.get(stage)
    if stage == "greeting":
        relay.black_hole()
    thread = starting(chart, ends)
    wait_until(lambda: names.asked.is_set() or relay.frozen or (relay.holes and relay.count >= 2))
    # When it is stopped, then both calls end at once
    with measured(f"start at {stage}, {node_name}"):
        chart.stop()
        thread.join(LIMIT_S)
    assert [type(each) for each in ends] == [StoppedError]
    wait_until(lambda: mesh_threads() <= {"mesh-lookup"}, LIMIT_S)
    relay.close()
    wait_until(lambda: connections() <= before, LIMIT_S)


def test_a_queue_that_cannot_be_consumed_is_named(
    relay: Relay, relayed_url: str, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    # As of a quorum queue without a leader
    config = MeshConfig(
        broker_url=relayed_url, mesh_encryption_key=KEY, node_name="lasting", connect_timeout_s=3.0
    )
    launch("deaf", config, Heard())
    relay.frozen_at = Basic.ConsumeOk
    relay.cut()

    def named() -> list[str]:
        return [line for line in caplog.messages if "was to be consumed" in line]

    (line, *_) = wait_until(named, LIMIT_S)
    assert re.match(r"no answer in \d s when miros_mesh\.v1\.\w+\.lasting\S* was to be", line)


def test_a_chart_that_waits_for_the_start_of_another_and_is_stopped_starts_no_node(
    relay: Relay, relayed_url: str
) -> None:
    # Given two charts of one node, of which one starts it
    relay.black_hole()
    config = settings(relayed_url, **SLOW)
    charts = [NetworkedActiveObject(name, config=config) for name in ("first", "second")]
    ends: list[BaseException] = []
    threads = [starting(chart, ends) for chart in charts]
    wait_until(lambda: relay.count >= 2, LIMIT_S)
    # When both are stopped, then no connection is begun after that
    with measured("two that start"):
        for chart in (*charts, *charts):
            chart.stop()
        for thread in threads:
            thread.join(LIMIT_S)
    assert [type(each) for each in ends] == [StoppedError] * 2
    wait_until(lambda: not mesh_threads(), LIMIT_S)


def test_a_chart_that_is_stopped_while_its_start_waits_for_the_first_search(
    relayed_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a chart whose start waits for a search, which looks at a host that says nothing
    monkeypatch.setattr(node_module, "FIRST_SEARCH_S", LONG_S)
    with socket.create_server((HOST, 0)) as listener:
        hosts = tmp_path / "hosts.json"
        hosts.write_text(json.dumps({"hosts": [f"{HOST}:{listener.getsockname()[1]}"]}))
        config = settings(
            relayed_url,
            **SLOW,
            discovery=("manual",),
            discovery_hosts_file=hosts,
            first_search_wait="block",
        )
        chart, ends = NetworkedActiveObject("late", config=config), list[BaseException]()
        thread = starting(chart, ends)
        listener.settimeout(LIMIT_S)
        with listener.accept()[0]:
            # And another one of the same node, which waits for it
            other = NetworkedActiveObject("later", config=config)
            other_thread = starting(other, ends)
            wait_until(lambda: len(NODES._places[config].endings) == 2)
            # When it is stopped, then both calls end at once
            with measured("start in the first search"):
                chart.stop()
                thread.join(LIMIT_S)
    # Then the other one starts a node of its own, whose search soon ends
    other_thread.join(LIMIT_S)
    other.transmit(event("confirmed"))
    wait_until(lambda: node_of(other).report().all_confirmed, LIMIT_S)
    assert node_of(other).health().consuming
    other.stop()
    assert [type(each) for each in ends] == [StoppedError]
    wait_until(lambda: not mesh_threads(), LIMIT_S)


@pytest.mark.parametrize("where", ["main", "daemon"])
def test_sigterm_while_a_chart_starts(
    where: str, relay: Relay, relayed_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.black_hole()
    for name, value in SLOW.items():
        monkeypatch.setenv(f"MIROS_MESH_{name.upper()}", str(value))
    monkeypatch.setenv("MIROS_MESH_BROKER_URL", relayed_url)
    monkeypatch.setenv("MESH_ENCRYPTION_KEY", KEY.decode())
    with Actor(STARTING, where) as program:
        assert program.heard() == {"said": "starting"}
        wait_until(lambda: relay.count >= 2, LIMIT_S)
        with measured(f"SIGTERM, {where}"):
            program.signal(signal.SIGTERM)
            assert program.wait(LIMIT_S) == 0


# A broker without a server


def test_stop_while_another_program_holds_the_embedded_broker(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PATIENCE_S", LONG_S)
    # Given a chart over the embedded broker, whose file another connection locks
    config = MeshConfig(drain_timeout_s=LONG_S)
    chart = launch("sender", config, Heard())
    chart.transmit(event("confirmed"))
    wait_until(lambda: node_of(chart).report().all_confirmed, LIMIT_S)
    with closing(sqlite3.connect(config.home_folder / DATABASE_FILE, isolation_level=None)) as held:
        held.execute("BEGIN IMMEDIATE")
        with measured("an embedded broker that is locked"):
            report = chart.stop()
        assert report.all_confirmed
        assert not mesh_threads()
