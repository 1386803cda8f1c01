"""A broker refuses what a node sends: that alone is set aside, and all the rest goes on."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import kombu
import pytest
from amqp.spec import Basic

from faults.conftest import PATIENT, Told, settings
from faults.traffic import SIGNAL, WARM, Account, Handled, Stream, accounted, events_through, record
from miros_mesh import MeshConfig, NetworkedActiveObject, OutboxRefused
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.link.rabbitmq.channels import OwnedChannel
from miros_mesh.networks.letters.letter import letter_codec
from miros_mesh.networks.letters.local import LocalLetters
from miros_mesh.networks.network import exchange_of
from miros_mesh.signals import OUTBOX_REFUSED, PEER_DOWN, PUBLIC_SIGNALS
from miros_mesh.wire.envelope import DeadLetter
from miros_mesh.wire.keyring import KeyRing
from miros_mesh.wire.serializer import MsgpackSerializer
from support.charts_at_work import KEY, Heard, Launch, event
from support.rabbitmq_server import RabbitServer, find_programs
from support.waiting import wait_until

LIMIT_BYTES = 100_000
TOO_LARGE = "x" * LIMIT_BYTES
SMALL = "x" * 1_500
FEW = 100
SLOW_S = 0.02
TOPIC = "plant.north"
OTHER_TOPIC = "plant.south"
PASSWORD = "granted"


@pytest.fixture(scope="module")
def narrow(
    rabbitmq: RabbitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RabbitServer]:
    """A server that takes only small messages."""
    programs = find_programs()
    assert programs is not None
    folder = tmp_path_factory.mktemp("narrow") / "broker"
    server = RabbitServer(folder, programs, f"max_message_size = {LIMIT_BYTES}\n")
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def narrow_url(narrow: RabbitServer) -> str:
    return narrow.url(narrow.new_vhost())


def patient(url: str, **changes: Any) -> MeshConfig:
    """Settings under which a busy machine breaks no connection."""
    return settings(url, **PATIENT, **changes)


class Refused(Told):
    """Counts what brokers refused, beside what it is told of links."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: list[tuple[str, int]] = []
        self.lost_peers = 0

    def publication_refused(self, *, peer: str, network: str, reason: str, events: int) -> None:
        assert network == "mesh"
        self.refusals.append((reason, events))

    def peer_down(self, *, peer: str, reason: str) -> None:
        self.lost_peers += reason != "stopped"

    @property
    def refused(self) -> int:
        return sum(events for _, events in self.refusals)


@dataclass
class Signals:
    """The library's own signals that a chart got."""

    got: list[tuple[str, Any]] = field(default_factory=list)

    def __call__(self, _: object, e: Any) -> None:
        if e.signal_name in PUBLIC_SIGNALS:
            self.got.append((e.signal_name, e.payload))

    def of(self, name: str) -> list[Any]:
        return [payload for signal, payload in self.got if signal == name]


def set_aside(config: MeshConfig) -> list[DeadLetter]:
    """The dead letters of this user, opened."""
    codec = letter_codec(KeyRing([KEY]), 10 * LIMIT_BYTES)
    return [codec.open(sealed)[0] for _, sealed in LocalLetters(config.home_folder).all()]


def numbers_aside(config: MeshConfig) -> list[int]:
    loads = MsgpackSerializer().loads
    return [loads(letter.event.payload) for letter in set_aside(config) if letter.event]


def test_one_event_that_is_too_large_for_the_broker(
    narrow_url: str, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    handled, refused, told = Handled(), Refused(), Signals()
    launch("receiver", patient(narrow_url), handled)
    config = patient(narrow_url, observers=(refused,))
    sender = launch("sender", config, told)
    with Stream(sender) as stream:
        wait_until(lambda: len(handled.numbers) >= WARM)
        sender.transmit(event("TOO_LARGE", TOO_LARGE))
        wait_until(lambda: refused.refused == 1)
        first_after = stream.next
        wait_until(lambda: handled.since(first_after))
        sent = stream.end()

    account = accounted("one event above max_message_size", sent, handled)
    assert account.perfect, account
    assert refused.lost_peers == 0
    assert refused.missing == 0
    # The storing waits for nothing, and nothing for it.
    wait_until(lambda: set_aside(config))
    [letter] = set_aside(config)
    assert letter.event is not None
    assert (letter.event.signal, letter.reason) == ("TOO_LARGE", "message_size")
    assert "configured max size 100000" in letter.detail
    assert letter.size_bytes > LIMIT_BYTES
    [signal] = told.of(OUTBOX_REFUSED)
    assert signal == OutboxRefused(
        address=signal.address,
        reason="message_size",
        signal="TOO_LARGE",
        event_id=letter.event.id,
        routing_key="miros.mesh",
        size_bytes=letter.size_bytes,
    )
    assert told.of(PEER_DOWN) == []
    report = sender.stop()
    assert (report.refused, report.left_over, report.dropped) == (1, 0, 0)
    assert report.confirmed == len(sent)
    assert "max_event_bytes" in caplog.text
    assert "max_message_size" in caplog.text


def test_a_packed_frame_of_small_events_that_is_too_large_for_the_broker(
    narrow_url: str, launch: Launch
) -> None:
    heard, refused = Heard(), Refused()
    launch("receiver", patient(narrow_url), heard)
    sender = launch("sender", patient(narrow_url, observers=(refused,)), Heard())
    for number in range(10 * FEW):
        sender.transmit(event(f"{SIGNAL} {number}", SMALL))
    names = [f"{SIGNAL} {number}" for number in range(10 * FEW)]
    wait_until(lambda: len(heard) >= len(names), 60)

    assert [signal for signal, _ in heard] == names
    record("packed frames above max_message_size", Account(len(names), 0, 0, 0))
    assert refused.refusals == []
    assert refused.lost_peers == 0
    report = sender.stop()
    assert (report.confirmed, report.refused) == (len(names), 0)


def test_several_events_that_are_too_large_amid_a_burst(narrow_url: str, launch: Launch) -> None:
    """Many frames are on their way when the broker refuses one, and does not say which."""
    heard, refused = Heard(), Refused()
    launch("receiver", patient(narrow_url), heard)
    config = patient(narrow_url, observers=(refused,), frame_events=1)
    sender = launch("sender", config, Heard())
    for number in range(5 * FEW):
        sender.transmit(event(SIGNAL, TOO_LARGE if number % FEW == FEW // 2 else number))
    small = [number for number in range(5 * FEW) if number % FEW != FEW // 2]
    wait_until(lambda: len(heard) >= len(small), 60)

    assert heard.payloads == small
    record("five events above max_message_size amid a burst", Account(len(small), 0, 0, 0))
    wait_until(lambda: refused.refused == len(set_aside(config)) == 5)
    assert refused.lost_peers == 0
    assert sender.stop().refused == 5


def test_an_exchange_that_is_deleted_costs_no_connection_and_no_event(
    vhost_url: str, launch: Launch
) -> None:
    handled, refused = Handled(), Refused()
    launch("receiver", patient(vhost_url), handled)
    sender = launch("sender", patient(vhost_url, observers=(refused,)), Heard())
    with (
        kombu.Connection(vhost_url) as connection,
        events_through("exchange deleted: no connection lost", sender, handled),
    ):
        connection.channel().exchange_delete(exchange_of("mesh"))
    assert (refused.lost_peers, refused.refused) == (0, 0)


def test_a_refusal_that_closes_the_connection(
    vhost_url: str, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = OwnedChannel.send_method

    def send_hastily(
        channel: Any, method: Any, kinds: Any = None, values: Any = (), body: Any = None, **how: Any
    ) -> Any:
        if method == Basic.Publish and len(body.body) > LIMIT_BYTES:
            # What is to be immediate RabbitMQ refuses by closing the connection (540).
            values = (*values[:-1], True)
        return send(channel, method, kinds, values, body, **how)

    monkeypatch.setattr(OwnedChannel, "send_method", send_hastily)
    heard, refused = Heard(), Refused()
    launch("receiver", patient(vhost_url), heard)
    config = patient(vhost_url, observers=(refused,), frame_events=1)
    sender = launch("sender", config, Heard())
    for number in range(2 * FEW):
        sender.transmit(event(SIGNAL, TOO_LARGE if number == FEW else number))
    small = [number for number in range(2 * FEW) if number != FEW]
    wait_until(lambda: len(heard) >= len(small), 60)

    assert heard.payloads == small
    record("an event that closes the connection", Account(len(small), 0, 0, 0))
    assert refused.refusals == [("refused", 1)]
    assert 1 <= refused.lost_peers <= 2
    wait_until(lambda: set_aside(config))
    [letter] = set_aside(config)
    assert "NOT_IMPLEMENTED" in letter.detail


class Writer:
    """A user of its own, whose rights to write can be taken and given back."""

    def __init__(self, server: RabbitServer, vhost: str) -> None:
        self._server = server
        self._vhost = vhost
        self.name = f"writer-{secrets.token_hex(4)}"
        server.add_user(self.name, PASSWORD)
        self.url = server.url(vhost, self.name, PASSWORD)
        self.give_back()

    def forbid_topic(self, topic: str) -> None:
        """Let it write under every topic of the mesh but one."""
        others = f"^(?!{topic}$)"
        mesh = exchange_of("mesh")
        self._server.set_topic_permissions(self.name, self._vhost, mesh, others)
        self._notice()

    def forbid_exchange(self) -> None:
        """Let it write to every exchange but that of the mesh."""
        others = f"^(?!{exchange_of('mesh')}$)"
        self._server.set_permissions(self.name, self._vhost, write=others)
        self._notice()

    def forbid_to_declare(self, exchange: str) -> None:
        """Let it declare all but one exchange."""
        self._server.set_permissions(self.name, self._vhost, configure=f"^(?!{exchange}$)")
        self._notice()

    def give_back(self) -> None:
        self._server.set_permissions(self.name, self._vhost)
        self._server.clear_topic_permissions(self.name, self._vhost)

    def _notice(self) -> None:
        # RabbitMQ goes by what it has looked up for a channel, as long as the channel lives.
        self._server.close_user_connections(self.name)


@pytest.fixture
def writer(rabbitmq: RabbitServer, vhost: str) -> Iterator[Writer]:
    made = Writer(rabbitmq, vhost)
    yield made
    rabbitmq.delete_user(made.name)


@dataclass
class Plant:
    """Two senders and their receivers; the first sender's right to write is taken."""

    config: MeshConfig
    refused: Refused
    told: Signals
    north: Handled
    south: Handled
    sender: NetworkedActiveObject
    other: NetworkedActiveObject

    def until_given_back(self, writer: Writer, right: str) -> tuple[range, float]:
        """Send from before the right is taken until it is back and an event has arrived.

        Returns what was sent, and how long that took.
        """
        with Stream(self.sender, every_s=SLOW_S) as stream:
            wait_until(lambda: len(self.north.numbers) >= WARM, 60)
            writer.forbid_topic(TOPIC) if right == "topic" else writer.forbid_exchange()
            # For more than a second, so that the broker is asked again.
            wait_until(lambda: self.refused.refused > FEW, 60)
        # The dead letters have room for a thousand, and the command takes its time.
        writer.give_back()
        with Stream(self.sender, first=stream.next) as later:
            mended = time.monotonic()
            # The first ones may still be set aside without asking.
            again = wait_until(lambda: self.north.since(later.sent.start), 20)
        return range(later.next), again - mended


@pytest.fixture
def plant(right: str, writer: Writer, vhost_url: str, launch: Launch) -> Plant:
    north, south, refused, told = Handled(), Handled(), Refused(), Signals()
    launch("north receiver", patient(vhost_url), north, rx_routing_key=TOPIC)
    launch("south receiver", patient(vhost_url), south, rx_routing_key=OTHER_TOPIC)
    config = patient(writer.url, observers=(refused,))
    # One exchange has all topics, so there the other sender is another user's.
    others = config if right == "topic" else patient(vhost_url)
    sender = launch("north", config, told, tx_routing_key=TOPIC)
    other = launch("south", others, Heard(), tx_routing_key=OTHER_TOPIC)
    return Plant(config, refused, told, north, south, sender, other)


def costs_no_connection_and_is_told(plant: Plant) -> None:
    # The one connection that was closed to take the right.
    assert plant.refused.lost_peers == len(plant.told.of(PEER_DOWN)) == 1
    wait_until(
        lambda: sum(e.events for e in plant.told.of(OUTBOX_REFUSED)) == plant.refused.refused
    )
    assert {(e.reason, e.signal, e.routing_key) for e in plant.told.of(OUTBOX_REFUSED)} == {
        ("permission", SIGNAL, TOPIC)
    }


@pytest.mark.parametrize("right", ["topic", "exchange"])
def test_right_to_write_is_revoked_and_given_back(right: str, writer: Writer, plant: Plant) -> None:
    """What was sent meanwhile is set aside, in order; what comes from others goes on."""
    with Stream(plant.other) as beside:
        sent, seconds = plant.until_given_back(writer, right)
        sent_beside = beside.end()

    fault = f"right to write to {right} revoked"
    account = accounted(f"{fault}: others", sent_beside, plant.south)
    assert account.perfect, account
    # On a slow machine its stop would leave the last of it over
    wait_until(lambda: not plant.sender.health().outbox_events, 60)
    if right == "topic":
        costs_no_connection_and_is_told(plant)
    report = plant.sender.stop()
    handled = plant.north.numbers
    wait_until(lambda: set(sent) <= {*handled, *numbers_aside(plant.config)}, 60)
    wait_until(lambda: len(set_aside(plant.config)) == plant.refused.refused)
    aside = numbers_aside(plant.config)
    # What was on its way when the connection was closed may have been stored, and is then refused
    # when it is sent again.
    account = Account.of(sent, sorted(handled + [n for n in aside if n not in handled]))
    record(fault, account, seconds)
    assert account.perfect, account
    assert (handled, aside) == (sorted(handled), sorted(aside))
    assert {letter.reason for letter in set_aside(plant.config)} == {"permission"}
    assert plant.refused.refused == report.refused == len(aside)
    assert report.confirmed + report.refused == report.sent

    # Put back, all are there, and each once.
    with DeadLetters(plant.config) as letters:
        outcomes = list(letters.retry_all(place="local"))
    assert [outcome.error for outcome in outcomes] == [None] * len(aside)
    wait_until(lambda: set(sent) <= set(plant.north.numbers), 60)
    account = Account.of(sent, sorted(plant.north.numbers))
    record(f"{fault}, put back", account)
    assert account.perfect, account
