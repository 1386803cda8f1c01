"""What a chart cannot use is kept alone, and everything beside it is handled once and in order."""

from __future__ import annotations

import hashlib
import logging
import time
from typing import Any

import kombu
import pytest

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.link.rabbitmq.queues import LETTERS
from miros_mesh.networks.letters.home import KEPT_BYTES, Letters
from miros_mesh.statechart import signal_table
from miros_mesh.wire.envelope import Envelope, kept
from miros_mesh.wire.keyring import KeyRing
from support.charts_at_work import (
    KEY,
    OTHER_KEY,
    Ground,
    Heard,
    Launch,
    Recorder,
    alone,
    event,
    keys_of,
    node_of,
    publish,
    seal,
)
from support.kept_letters import kept_letters
from support.rabbitmq_server import HOST, RabbitServer
from support.waiting import wait_until

NIL = b"\xc0"
NO_MSGPACK = b"\xc1"
PASSWORD = "no-letters"


@pytest.fixture(params=["embedded", "rabbitmq"])
def kinds(request: pytest.FixtureRequest) -> Ground:
    """One mesh of each kind whose broker can be looked into from outside."""
    if request.param == "embedded":
        return Ground(MeshConfig)
    url = request.getfixturevalue("vhost_url")
    return Ground(lambda **given: MeshConfig(broker_url=url, mesh_encryption_key=KEY, **given))


class Aside(Recorder):
    """Keeps also what was set aside."""

    def __init__(self) -> None:
        super().__init__()
        self.aside: list[tuple[str, str]] = []

    def set_aside(self, *, chart: str, reason: str) -> None:
        self.aside.append((chart, reason))


def envelope(sequence: int, signal: str = "number", payload: bytes = NIL) -> Envelope:
    return Envelope("elsewhere", "sender", "incarnation", sequence, signal, payload, 0.0)


def frame(config: MeshConfig, *events: Envelope, network: str = "mesh") -> bytes:
    return seal(config, *events, network=network)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"payload": NO_MSGPACK}, "payload"),
        ({"signal": "PEER_DOWN"}, "reserved_signal"),
        ({"signal": "ENTRY_SIGNAL"}, "reserved_signal"),
    ],
)
def test_one_event_of_a_frame_is_kept_and_the_others_are_handled(
    kinds: Ground,
    launch: Launch,
    caplog: pytest.LogCaptureFixture,
    bad: dict[str, Any],
    reason: str,
) -> None:
    told, heard = Aside(), Heard()
    config = kinds.node("lasting", observers=(told,))
    chart = launch("receiver", config, heard)
    refused = envelope(2, **bad)

    publish(config, frame(config, envelope(1, "one"), refused, envelope(3, "three")))

    wait_until(lambda: len(heard) == 2)
    assert heard == [("one", None), ("three", None)]
    (letter,) = wait_until(lambda: kept_letters(config))
    assert letter.event is not None
    assert (kept(letter.event), letter.reason, letter.frame) == (refused, reason, b"")
    assert told.aside == [("receiver", reason)]
    assert told.drops == [("mesh", reason, 1)]
    assert f"({refused.id}) from elsewhere/sender is a dead letter of chart receiver" in caplog.text
    # Nothing comes again
    chart.stop()
    again = Heard()
    launch("receiver", config, again)
    publish(config, frame(config, envelope(4, "four")))
    wait_until(lambda: again)
    assert again == [("four", None)]
    assert kept_letters(config) == [letter]


def test_an_event_with_a_new_signal_too_many_is_kept(
    kinds: Ground, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = kinds.node("lasting")
    launch("receiver", config)
    monkeypatch.setattr(signal_table, "MOST_NAMES", 0)

    publish(config, frame(config, envelope(1, "a signal that nobody has")))

    (letter,) = wait_until(lambda: kept_letters(config))
    assert letter.reason == "signal_table_full"


@pytest.mark.parametrize("reason", ["undecryptable", "malformed", "version", "wrong_network"])
def test_a_frame_that_cannot_be_opened_is_kept_as_it_came(
    kinds: Ground, launch: Launch, reason: str
) -> None:
    config, heard = kinds.node("lasting"), Heard()
    launch("receiver", config, heard)
    good = frame(config, envelope(1))
    bad = {
        "undecryptable": KeyRing([OTHER_KEY]).seal(b"hello", good[0]),
        "malformed": KeyRing(keys_of(config)).seal(NO_MSGPACK, good[0]),
        "version": b"\x77" + good[1:],
        "wrong_network": frame(config, envelope(1), network="snoop_spy"),
    }[reason]

    for body in (bad, good):
        publish(config, body)

    (letter,) = wait_until(lambda: kept_letters(config))
    assert (letter.reason, letter.event, letter.frame) == (reason, None, bad)
    assert (letter.size_bytes, letter.digest) == (len(bad), hashlib.sha256(bad).hexdigest())
    wait_until(lambda: heard)


def test_what_is_above_eight_mebibytes_is_a_note_and_pushes_out_nothing(
    kinds: Ground, launch: Launch
) -> None:
    config = kinds.node("lasting", max_event_bytes=1_000_000, frame_bytes=1_000_000)
    launch("receiver", config, Heard())
    for number in range(1, 31):
        publish(config, frame(config, envelope(number, payload=NO_MSGPACK)))
    wait_until(lambda: len(kept_letters(config)) == 30, 20)

    large = bytes(KEPT_BYTES + 1)
    publish(config, large)

    letters = wait_until(lambda: len(found := kept_letters(config)) == 31 and found, 20)
    assert (letters[-1].reason, letters[-1].size_bytes) == ("oversize", len(large))
    assert letters[-1].frame == b""
    assert letters[-1].digest == hashlib.sha256(large).hexdigest()
    assert [letter.reason for letter in letters[:-1]] == ["payload"] * 30


def test_a_flood_of_strangers_holds_up_no_event(kinds: Ground, launch: Launch) -> None:
    config, heard = kinds.node("lasting"), Heard()
    launch("receiver", config, heard)

    for number in range(120):
        publish(config, f"rubbish {number}".encode())
    publish(config, frame(config, envelope(1)))

    wait_until(lambda: heard, 20)
    wait_until(lambda: len(kept_letters(config)) == 120, 20)


def test_a_chart_works_where_no_letter_is_kept(
    vhost_url: str, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a queue of that name with other arguments
    with kombu.Connection(vhost_url) as connection:
        kombu.Queue(LETTERS, durable=True)(connection.channel()).queue_declare()
    config = MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY, node_name="lasting")
    heard = Heard()
    chart = launch("receiver", config, heard)
    assert "dead letters are not kept" in caplog.text

    # When it gets what it cannot use, then that is gone, and the rest is handled
    publish(config, frame(config, envelope(1, payload=NO_MSGPACK), envelope(2, "two")))
    wait_until(lambda: heard == [("two", None)])
    chart.stop()
    again = Heard()
    launch("receiver", config, again)
    publish(config, frame(config, envelope(3, "three")))
    wait_until(lambda: again)
    assert again == [("three", None)]


def test_a_letter_that_the_broker_refuses_is_logged_and_holds_up_nothing(
    vhost: str, rabbitmq: RabbitServer, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a user who may write everywhere but to the dead letters
    user = f"letterless-{vhost}"
    rabbitmq.add_user(user, PASSWORD)
    rabbitmq.set_permissions(user, vhost, write=r"^miros_mesh\.v1\.(?!letters)")
    url = f"amqp://{user}:{PASSWORD}@{HOST}:{rabbitmq.port}/{vhost}"
    config = MeshConfig(broker_url=url, mesh_encryption_key=KEY, node_name="lasting")
    heard, echoed = Heard(), Heard()
    chart = launch("receiver", config, heard)
    launch("listener", config.overridden(node_name="listening"), echoed)

    # When it gets what it cannot use, and sends
    bad = frame(config, envelope(1, payload=NO_MSGPACK), envelope(2, "two"))
    publish(config, bad)
    wait_until(lambda: heard == [("two", None)])
    wait_until(lambda: "dead letter of chart receiver (payload) is gone" in caplog.text)
    chart.transmit(event("three"))

    # Then all goes on, and nothing comes again
    wait_until(lambda: ("three", None) in echoed)
    chart.stop()
    again = Heard()
    launch("receiver", config, again)
    publish(config, frame(config, envelope(3, "four")))
    wait_until(lambda: again)
    assert again == [("four", None)]
    rabbitmq.delete_user(user)


def test_a_stop_waits_for_no_letter_of_another_chart(
    kinds: Ground, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a chart with a letter that the broker does not confirm
    unsent = list[tuple[Any, Any]]()
    config = kinds.node("lasting", drain_timeout_s=60)
    with monkeypatch.context() as patch:
        patch.setattr(Letters, "_put", lambda *given: unsent.append(given))
        launch("receiver", config, Heard())
        charts = [launch(name, config, Heard(), rx_routing_key=name) for name in ("a", "b")]
        publish(config, frame(config, envelope(1, payload=NO_MSGPACK)))
        wait_until(lambda: unsent)

        # When others of its node stop, then they do not wait for it
        begun = time.monotonic()
        for chart in charts:
            chart.stop()
        assert time.monotonic() - begun < 50
    for letters, letter in unsent:
        letters._put(letter)


def test_a_node_whose_notes_of_deaths_are_refused_starts_without_them(
    vhost: str, rabbitmq: RabbitServer, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a user who may write everywhere but to the deaths
    user = f"noteless-{vhost}"
    rabbitmq.add_user(user, PASSWORD)
    rabbitmq.set_permissions(user, vhost, write=r"^miros_mesh\.v1\.(?!deaths$)")
    url = f"amqp://{user}:{PASSWORD}@{HOST}:{rabbitmq.port}/{vhost}"
    config = MeshConfig(
        broker_url=url, mesh_encryption_key=KEY, node_name="lasting", connect_timeout_s=120
    )
    heard, begun = Heard(), time.monotonic()

    # When it starts, then it does not wait for a note that cannot come, and says so
    launch("receiver", config, heard)
    assert time.monotonic() - begun < 100
    assert "the broker refuses notes of deaths (miros_mesh.v1.deaths)" in caplog.text
    publish(config, frame(config, envelope(1, "one")))
    wait_until(lambda: heard == [("one", None)])
    rabbitmq.delete_user(user)


def test_other_networks_keep_nothing(kinds: Ground, launch: Launch) -> None:
    told = Aside()
    config = kinds.node("watching", observers=(told,))
    chart = NetworkedActiveObject("receiver", config=config)
    chart.enable_snoop_trace()
    launch("another", config, Heard())
    chart.start_at(alone(Heard()))
    try:
        publish(config, b"\x01 rubbish", network="snoop_trace", routing_key="snoop.trace")
        publish(config, b"\x01 rubbish", network="deaths", routing_key="watching")
        wait_until(lambda: {drop[0] for drop in told.drops} >= {"snoop_trace", "deaths"})
        assert told.aside == []
        assert kept_letters(config) == []
    finally:
        chart.stop()


def test_a_retry_under_a_new_incarnation_is_a_stream_of_one_event(
    kinds: Ground, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    """As an operator puts a letter back: to the chart's queue alone."""
    caplog.set_level(logging.WARNING)
    config, heard = kinds.node("lasting"), Heard()
    chart = launch("receiver", config, heard)
    for number in range(1, 4):
        publish(config, frame(config, envelope(number, f"s{number}")))
    wait_until(lambda: len(heard) == 3)

    back = Envelope("elsewhere", "sender", "retry-1a2b", 1, "again", NIL, 0.0)
    publish(config, frame(config, back))

    wait_until(lambda: ("again", None) in heard)
    assert not node_of(chart)._sessions["receiver"].inbox.holes()


def test_letters_are_for_the_home_broker_alone(launch: Launch) -> None:
    config = MeshConfig(node_name="lasting")
    chart = launch("receiver", config)
    node = node_of(chart)

    assert all(p.broker == node.home for p in node._home_networks[0]._publishers)
    chart.transmit(event("hello"))
