"""A broker that hangs holds up no stop, at whatever stage of a connection it hangs.

Time-outs are long here, so that a wait for any of them fails a test on the slowest machine.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from amqp.spec import Channel, Connection, Exchange

from faults.conftest import settings
from faults.relay import DOWN, HOST, Relay
from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.address import BrokerAddress
from miros_mesh.errors import BrokerUnreachableError, ConnectionLostError, LinkError, StoppedError
from miros_mesh.link.kombu_link import amqp_link
from miros_mesh.link.ports import Broker
from support.charts_at_work import Heard, Launch, alone, event, node_of
from support.post_office import EXCHANGE, SETTINGS, Letter, Mailbox, letter, queue
from support.rabbitmq_server import PASSWORD, USER
from support.tls import certificates
from support.waiting import wait_until

LONG_S = 60.0
# Of some tenths of a second; whatever waits for a time-out takes longer.
LIMIT_S = LONG_S / 2
DRAIN_S = 1.0
NAME = "rabbit.example"
DESCRIPTORS = Path("/proc/self/fd")
SLOW = {
    "connect_timeout_s": LONG_S,
    "confirm_timeout_s": LONG_S,
    "heartbeat_interval_s": LONG_S,
    "drain_timeout_s": LONG_S,
}

Harm = Callable[[], None]


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
        address = replace(BrokerAddress.parse(url), host=f"127.0.0.{number + 1}")
        peer = Broker(f"peer {number}", (replace(address, host=HOST),))
        node.peers.add(peer).wait_ready(LIMIT_S)
    # When all of them freeze
    at_work(relay, names, ExitStack())
    with measured("six frozen connections"):
        report = chart.stop()
    assert report.all_confirmed
    assert not mesh_threads()


# A worker whose broker has never answered


@pytest.fixture
def mute_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port that speaks TLS, and behind it nothing."""
    import ssl

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
