"""Nodes of miros-rabbitmq that are broken or hostile, and brokers that lose what is theirs."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
from cryptography.fernet import Fernet
from miros import signals

from miros_mesh import MeshConfig
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.observe.snoop.monitor import SnoopMonitor
from miros_mesh.wire.envelope import SnoopRecord
from miros_mesh.wire.keyring import generate_key
from support.charts_at_work import KEY, OTHER_KEY, Heard, Launch, Recorder, event, node_of
from support.old_peer import ADDRESS, MESH, SPY, TOPIC, TRACE, OldPeer, old_peer
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

STAMP = "2019-06-20 06:14:48.123456"
QUIET = "quiet"
MANY = 300


@pytest.fixture
def peer(vhost_url: str) -> Iterator[OldPeer]:
    with old_peer(vhost_url) as peer:
        yield peer


def config(url: str, node: str = "one", ancestors: str = "both", **settings: Any) -> MeshConfig:
    return MeshConfig(
        broker_url=url, mesh_encryption_key=KEY, node_name=node, ancestors=ancestors, **settings
    )


def chart(launch: Launch, settings: MeshConfig, heard: Any = None, **more: Any) -> Any:
    names = {"tx_routing_key": TOPIC, "rx_routing_key": "#.man"}
    return launch(f"of_{settings.node_name}", settings, heard, **names | more)


def sealed(value: object) -> bytes:
    return Fernet(KEY).encrypt(pickle.dumps(value, 3))


def test_both_go_on_after_their_broker_has_restarted_and_forgotten_the_exchanges(
    vhost_url: str, launch: Launch, rabbitmq: RabbitServer
) -> None:
    heard, other = Heard(), Heard()
    one = chart(launch, config(vhost_url), heard)
    two = chart(launch, config(vhost_url, "two"), other)
    with old_peer(vhost_url) as before:
        before.transmit("old", 0)
        wait_until(lambda: ("old", 0) in heard and ("old", 0) in other)

    rabbitmq.stop()
    for number in range(10):
        one.transmit(event("meanwhile", number))
    rabbitmq.start()

    # None of what new nodes send each other is lost by it, and the old ones are heard again.
    wait_until(
        lambda: [e for e in other if e[0] == "meanwhile"] == [("meanwhile", n) for n in range(10)]
    )
    with old_peer(vhost_url) as after:
        wait_until(lambda: after.transmit("old", 1) and ("old", 1) in heard and ("old", 1) in other)
        two.transmit(event("new"))
        wait_until(lambda: any(e[1] == "new" for e in after.heard(1)))


def test_an_exchange_that_is_deleted_under_a_node_costs_new_nodes_nothing(
    vhost_url: str, launch: Launch
) -> None:
    other = Heard()
    one = chart(launch, config(vhost_url))
    chart(launch, config(vhost_url, "two"), other)
    one.transmit(event("number", 0))
    wait_until(lambda: len(other) == 1)
    with kombu.Connection(vhost_url) as connection:
        for exchange in (MESH, TRACE, SPY):
            connection.channel().exchange_delete(exchange)
    for number in range(1, MANY):
        one.transmit(event("number", number))
    wait_until(lambda: len(other) >= MANY)
    assert other.payloads == list(range(MANY))
    # The exchange is there again for those who come.
    with old_peer(vhost_url) as peer:
        wait_until(lambda: peer.transmit("old") and ("old", None) in other)
        one.transmit(event(QUIET))
        wait_until(lambda: any(e[1] == QUIET for e in peer.heard(1)))


HOSTILE: dict[str, bytes] = {
    "no token": b"hello",
    "another key": Fernet(generate_key()).encrypt(pickle.dumps((ADDRESS, "{}"))),
    "code": sealed(print),
    "no JSON": sealed((ADDRESS, "\x1b[2J\r\n")),
    "deep": sealed((ADDRESS, '{"signal_name": "A", "payload": ' + "[" * 300_000)),
    "no sender": sealed(("\x1b]0;here\x07", '{"signal_name": "A", "payload": 1}')),
    "of the library": sealed((ADDRESS, '{"signal_name": "miros_mesh.hello", "payload": 1}')),
    "large": sealed((ADDRESS, json.dumps({"signal_name": "A", "payload": "x" * 2_000_000}))),
}


def test_a_flood_of_what_cannot_be_read_is_counted_and_said_in_some_lines(
    vhost_url: str, launch: Launch, peer: OldPeer, caplog: pytest.LogCaptureFixture
) -> None:
    recorder, heard = Recorder(), Heard()
    chart(launch, config(vhost_url, observers=(recorder,)), heard)
    with caplog.at_level(logging.DEBUG):
        for _ in range(20):
            for body in HOSTILE.values():
                peer.publish(body, MESH, TOPIC)
        peer.transmit(QUIET)
        wait_until(lambda: (QUIET, None) in heard)
    assert heard == [(QUIET, None)]
    refused = [reason for network, reason, _ in recorder.drops if network == "ancestor_mesh"]
    assert len(refused) == 20 * len(HOSTILE)
    lines = [each.getMessage() for each in caplog.records if "ancestor_mesh" in each.getMessage()]
    assert 0 < len(lines) <= len(set(refused))
    assert all(line.isprintable() for line in lines)


def test_signals_of_miros_are_set_aside_and_move_no_chart(
    vhost_url: str, launch: Launch, peer: OldPeer
) -> None:
    own = sorted(name for name in signals if signals.is_inner_signal(name))
    heard, settings = Heard(), config(vhost_url)
    chart(launch, settings, heard)
    for each in own:
        peer.publish(
            sealed((ADDRESS, json.dumps({"signal_name": each, "payload": 1}))), MESH, TOPIC
        )
    peer.transmit(QUIET)
    wait_until(lambda: (QUIET, None) in heard)
    with DeadLetters(settings) as box:
        wait_until(lambda: len(box.list()) == len(own))
        assert sorted(each.signal for each in box.list()) == own
    assert heard == [(QUIET, None)]


def test_that_old_nodes_are_in_another_virtual_host_is_said(
    vhost_url: str, launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    chart(launch, config(vhost_url))
    assert "nodes of miros-rabbitmq are in the virtual host /, and this one" in caplog.text


def test_what_moves_a_terminal_reaches_none(
    vhost_url: str,
    launch: Launch,
    peer: OldPeer,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard = Heard()
    one = chart(launch, config(vhost_url), heard)
    one.enable_snoop_trace_no_color()
    one.enable_snoop_spy_no_color()
    printed: list[str] = []

    def shown(text: str) -> int:
        printed.extend(capfd.readouterr().out.splitlines(keepends=True))
        return "".join(printed).count(text)

    def begun() -> bool:
        # Until the queues of both streams are there, what is sent to them goes nowhere.
        peer.trace("trace is heard")
        peer.spy("ao spy is heard")
        return shown("trace is heard") > 0 and shown("spy is heard") > 0

    wait_until(begun)
    evil = "\x1b[2J\x1b]0;here\x07\r\n\u202e\x9b31m"
    peer.transmit(f"a{evil}")
    peer.trace(f"[{STAMP}] [a{evil}o] e->x{evil}() b->c")
    peer.trace(f"[{STAMP}] [ao] e->x() b{evil}->c{evil}")
    peer.trace(f"[{STAMP}] [ao] # {evil}")
    peer.spy(f"ao {evil}")
    peer.spy(evil)
    peer.trace("the end")
    peer.spy("ao the end")
    wait_until(lambda: len(heard) == 1)
    wait_until(lambda: shown("the end") == 2)
    assert all(line.removesuffix("\n").isprintable() for line in printed), printed
    assert all(each.getMessage().isprintable() for each in caplog.records)


def test_a_monitor_counts_the_lines_that_it_cannot_read(vhost_url: str, peer: OldPeer) -> None:
    settings = config(vhost_url, "watch", "hear")
    with SnoopMonitor(settings) as monitor:
        watch = monitor.watch(limit_s=30.0)
        with kombu.Connection(vhost_url) as connection:
            OldPeer(connection, OTHER_KEY).trace("not for you")
        peer.publish(sealed((ADDRESS, "{}")), SPY, "snoop.spy")
        peer.publish(sealed("x" * 2_000_000), TRACE, "snoop.trace")
        # Of another network than is watched.
        peer.publish(b"hello", MESH, TOPIC)
        wait_until(lambda: sum(monitor.refused.values()) == 3)
        peer.trace(f"[{STAMP}] [ao] e->ring() here->there\n")
        item = next(watch)
        assert monitor.refused == {"undecryptable": 1, "malformed": 2}
    assert isinstance(item, SnoopRecord)
    assert item.signal == "ring"


@pytest.mark.parametrize("name", ["a b", "] e->x() y->z", "é\u4e2d", "#", "*", "x" * 80])
def test_a_chart_of_any_name_is_heard_and_shown_on_both_sides(
    vhost_url: str, launch: Launch, peer: OldPeer, name: str
) -> None:
    heard, shown = Heard(), list[SnoopRecord]()
    one = launch(
        name,
        config(vhost_url),
        heard,
        tx_routing_key=TOPIC,
        rx_routing_key="#.man",
        on_trace_rx=shown.append,
    )
    one.enable_snoop_trace()
    peer.trace(f"[{STAMP}] [{name}] e->ring() here->there\n")
    peer.transmit("old")
    wait_until(lambda: heard == [("old", None)])
    one.transmit(event("new"))
    assert peer.heard(1)[0][1] == "new"
    one.snoop_scribble("here")
    lines: list[str] = []

    def shown_there() -> bool:
        lines.extend(peer.bodies(TRACE))
        return any(line.endswith(f"] [{name}] # here") for line in lines)

    wait_until(shown_there)
    wait_until(lambda: [each for each in shown if each.node == "miros-rabbitmq"])


def test_a_key_that_is_used_from_now_on_opens_nothing_there_and_the_first_one_still_here(
    vhost_url: str, launch: Launch, peer: OldPeer
) -> None:
    heard, recorder = Heard(), Recorder()
    one = chart(launch, config(vhost_url, observers=(recorder,)), heard)
    ring = node_of(one).keys["mesh"]
    new = generate_key()
    ring.add(new)
    peer.transmit("old", 1)
    wait_until(lambda: heard == [("old", 1)])
    ring.use(new)
    peer.transmit("old", 2)
    wait_until(lambda: heard.payloads == [1, 2])
    ring.remove(KEY)
    peer.transmit("old", 3)
    wait_until(lambda: ("ancestor_mesh", "undecryptable", 1) in recorder.drops)
    assert heard.payloads == [1, 2]
