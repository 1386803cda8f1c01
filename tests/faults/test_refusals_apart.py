"""A broker or a file says no to a publisher: what is sent beside goes on, on one connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import kombu
import pytest
from amqp.spec import Exchange

from faults.test_refusals_out import (
    OTHER_TOPIC,
    TOPIC,
    Refused,
    Signals,
    Writer,
    patient,
    set_aside,
)
from faults.traffic import SIGNAL, Account, Handled, events_through, record
from miros_mesh.address import BrokerAddress
from miros_mesh.errors import BrokerRefusedError, PermissionDeniedError
from miros_mesh.link import known_refusals
from miros_mesh.link.kombu_link import amqp_link
from miros_mesh.link.ports import Broker
from miros_mesh.link.rabbitmq.channels import OwnedChannel
from miros_mesh.networks.letters.local import FILE
from miros_mesh.networks.network import exchange_of
from miros_mesh.signals import OUTBOX_REFUSED, PEER_DOWN
from support.charts_at_work import Heard, Launch, event
from support.post_office import EXCHANGE, Letter, Notebook, PostOffice, letter, queue
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

# A publisher's one and a subscriber's two.
CHANNELS = 3
FEW = 20
OTHER_EXCHANGE = "miros_mesh.v1.other"


@pytest.fixture
def writer(rabbitmq: RabbitServer, vhost: str) -> Iterator[Writer]:
    made = Writer(rabbitmq, vhost)
    yield made
    rabbitmq.delete_user(made.name)


@pytest.fixture
def office(writer: Writer) -> Iterator[PostOffice]:
    address = BrokerAddress.parse(writer.url)
    made = PostOffice(amqp_link, Broker(address.redacted, (address,)))
    yield made
    made.close()


def delete_exchange(url: str, exchange: str) -> None:
    with kombu.Connection(url) as connection:
        connection.channel().exchange_delete(exchange)


@pytest.mark.parametrize("deleted", [False, True], ids=["there", "deleted"])
def test_an_exchange_beside_that_may_not_be_declared_again(
    writer: Writer, vhost_url: str, launch: Launch, deleted: bool
) -> None:
    handled, refused = Handled(), Refused()
    launch("receiver", patient(writer.url), handled)
    sender = launch("sender", patient(writer.url, observers=(refused,)), Heard())

    state = "is gone and" if deleted else "is there and"
    with events_through(f"exchange of repair {state} may not be declared", sender, handled):
        writer.forbid_to_declare(exchange_of("repair"))
        if deleted:
            delete_exchange(vhost_url, exchange_of("repair"))
        wait_until(lambda: refused.lost_peers == 1)

    # The one connection that was closed to take the right.
    assert refused.lost_peers == 1
    assert (refused.refused, refused.missing) == (0, 0)


def test_what_goes_to_a_missing_exchange_holds_up_no_other(
    writer: Writer, vhost_url: str, office: PostOffice
) -> None:
    _, mailbox = office.listen(queue())
    notes = Notebook()
    publisher = office.publisher(exchanges=(EXCHANGE, OTHER_EXCHANGE), observer=notes)
    writer.forbid_to_declare(OTHER_EXCHANGE)
    wait_until(lambda: notes.downs and notes.ups == 2)
    delete_exchange(vhost_url, OTHER_EXCHANGE)

    lost = [Letter(f"{n}".encode(), f"key.{n}", exchange=OTHER_EXCHANGE) for n in range(FEW)]
    for number in range(FEW):
        publisher.put(lost[number])
        publisher.put(letter(str(number)))

    assert mailbox.expect(FEW, 60) == [str(number) for number in range(FEW)]
    wait_until(lambda: publisher.report().refused == FEW, 60)
    assert all(isinstance(each.refusals[0][1], PermissionDeniedError) for each in lost)
    assert notes.ups == 2

    # And once it may be declared, it is: no other has declared it
    writer.give_back()

    def declared() -> bool:
        publisher.put(Letter(b"again", exchange=OTHER_EXCHANGE))
        return publisher.report().unroutable > 0

    wait_until(declared, 60)
    assert notes.ups == 2


def test_the_exchange_of_the_mesh_that_is_gone_and_may_not_be_declared_again(
    writer: Writer, vhost_url: str, launch: Launch
) -> None:
    """Its events are set aside and told, and all works by itself once the right is back."""
    heard, refused, told = Heard(), Refused(), Signals()
    config = patient(writer.url, observers=(refused,))
    launch("receiver", patient(writer.url), heard)
    sender = launch("sender", config, told)
    sender.transmit(event("before", 0))
    wait_until(lambda: len(heard) == 1)
    writer.forbid_to_declare(exchange_of("mesh"))
    wait_until(lambda: refused.lost_peers == 1)
    delete_exchange(vhost_url, exchange_of("mesh"))

    for number in range(FEW):
        sender.transmit(event("meanwhile", number))
    wait_until(lambda: refused.refused == len(set_aside(config)) == FEW, 60)
    writer.give_back()

    def works_again() -> bool:
        sender.transmit(event("after", 1))
        return ("after", 1) in heard

    wait_until(works_again, 60)

    assert {each.reason for each in set_aside(config)} == {"permission"}
    assert {each.reason for each in told.of(OUTBOX_REFUSED)} == {"permission"}
    assert refused.lost_peers == len(told.of(PEER_DOWN)) == 1


def test_a_locked_file_of_dead_letters_holds_up_no_publisher(
    writer: Writer, vhost_url: str, launch: Launch, tmp_path: Path
) -> None:
    writer.forbid_topic(TOPIC)
    handled, refused = Handled(), Refused()
    launch("receiver", patient(vhost_url), handled, rx_routing_key=OTHER_TOPIC)
    config = patient(writer.url, observers=(refused,), home=tmp_path / "mine", frame_events=1)
    bad = launch("bad", config, Heard(), tx_routing_key=TOPIC)
    good = launch("good", config, Heard(), tx_routing_key=OTHER_TOPIC)
    bad.transmit(event("first", 0))
    wait_until(lambda: set_aside(config))

    # Held until everything else is done: if that waited for it, it would never be
    other = sqlite3.connect(tmp_path / "mine" / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for number in range(FEW):
        bad.transmit(event("refused", number))
        good.transmit(event(SIGNAL, number))
    wait_until(lambda: len(handled.numbers) == FEW, 60)
    wait_until(lambda: refused.refused == FEW + 1, 60)
    other.execute("ROLLBACK")
    other.close()

    wait_until(lambda: len(set_aside(config)) == FEW + 1, 60)
    assert handled.numbers == list(range(FEW))
    assert refused.dropped_for("not_kept") == 0
    record("dead letters locked by another program: others", Account(FEW, 0, 0, 0))


def test_a_user_with_no_channel_to_spare(
    rabbitmq: RabbitServer,
    writer: Writer,
    vhost_url: str,
    launch: Launch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each refusal costs a channel, and RabbitMQ counts the old one for a moment longer."""
    # So that the broker is asked each time.
    monkeypatch.setattr(known_refusals, "_BELIEVED_S", 0.0)
    writer.forbid_topic(TOPIC)
    rabbitmq.limit_user(writer.name, max_channels=CHANNELS)
    handled, refused = Handled(), Refused()
    launch("receiver", patient(vhost_url), handled, rx_routing_key=OTHER_TOPIC)
    config = patient(writer.url, observers=(refused,), frame_events=1)
    bad = launch("bad", config, Heard(), tx_routing_key=TOPIC)
    good = launch("good", config, Heard(), tx_routing_key=OTHER_TOPIC)

    for number in range(FEW):
        bad.transmit(event("refused", number))
        good.transmit(event(SIGNAL, number))
    wait_until(lambda: len(handled.numbers) == FEW, 60)
    wait_until(lambda: refused.refused == FEW, 60)

    assert handled.numbers == list(range(FEW))
    # By which it learns that it has to wait.
    assert refused.lost_peers <= 1
    record("20 refusals, max-channels: others", Account(FEW, 0, 0, 0))


def test_a_reason_that_lasts_and_is_not_known_costs_few_channels(
    writer: Writer, vhost_url: str, office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_refusals, "_BELIEVED_S", 60.0)
    opened = []
    replacement = OwnedChannel.replacement

    def counted(channel: OwnedChannel) -> OwnedChannel:
        opened.append(channel)
        return replacement(channel)

    with kombu.Connection(vhost_url) as connection:
        # To which none may publish; py-amqp's own call cannot make one.
        passive, durable, auto_delete, internal = False, True, False, True
        connection.channel().send_method(
            Exchange.Declare,
            "BssbbbbbF",
            (0, OTHER_EXCHANGE, "topic", passive, durable, auto_delete, internal, False, {}),
            wait=Exchange.DeclareOk,
        )
    publisher = office.publisher(exchanges=(EXCHANGE, OTHER_EXCHANGE))
    monkeypatch.setattr(OwnedChannel, "replacement", counted)

    letters = [Letter(b"x", exchange=OTHER_EXCHANGE) for _ in range(FEW)]
    for each in letters:
        publisher.put(each)
    wait_until(lambda: publisher.report().refused == FEW, 60)

    assert {type(each.refusals[0][1]) for each in letters} == {BrokerRefusedError}
    # The first may have been one of several on their way, and was sent again alone.
    assert len(opened) <= 4
