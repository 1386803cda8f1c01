"""A node that hears nodes of miros-rabbitmq and is heard by them, at one broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest
from miros import Event, return_status, signals, spy_on

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.errors import LinkError
from miros_mesh.observe.snoop.monitor import SnoopMonitor
from miros_mesh.wire.envelope import SnoopRecord
from support.charts_at_work import KEY, OTHER_KEY, Heard, Launch, Recorder, event, node_of
from support.old_peer import ADDRESS, MESH, SPY, TOPIC, TRACE, OldPeer, old_peer
from support.waiting import wait_until

STAMP = "2019-06-20 06:14:48.123456"
QUIET = "quiet"


@pytest.fixture
def peer(vhost_url: str) -> Iterator[OldPeer]:
    with old_peer(vhost_url) as peer:
        yield peer


def config(url: str, node: str, ancestors: str = "both", **settings: Any) -> MeshConfig:
    return MeshConfig(
        broker_url=url, mesh_encryption_key=KEY, node_name=node, ancestors=ancestors, **settings
    )


def chart(launch: Launch, settings: MeshConfig, heard: Any = None, **more: Any) -> Any:
    names = {"tx_routing_key": TOPIC, "rx_routing_key": "#.man"}
    return launch(f"of_{settings.node_name}", settings, heard, **names | more)


def test_events_cross_both_ways_and_each_once_with_several_of_both(
    vhost_url: str, launch: Launch, peer: OldPeer
) -> None:
    heard = [Heard(), Heard()]
    charts = [
        chart(launch, config(vhost_url, name), each)
        for name, each in zip(("one", "two"), heard, strict=True)
    ]

    for number in range(10):
        peer.transmit("old", number)
        charts[0].transmit(event("first", number))
        charts[1].transmit(event("second", {"n": [number]}))

    others = [("second", {"n": [n]}) for n in range(10)], [("first", n) for n in range(10)]
    for each, other in zip(heard, others, strict=True):
        wait_until(lambda: len(each) >= 20)  # noqa: B023
        # In order, too: one queue at one broker brings what one sender sends.
        assert [e for e in each if e[0] == "old"] == [("old", n) for n in range(10)]
        assert [e for e in each if e[0] != "old"] == other
    events = [e[1:] for e in peer.heard(20)]
    assert sorted(events, key=str) == sorted([*others[0], *others[1]], key=str)
    # What was heard is not sent on, or more would come by now.
    charts[0].transmit(event(QUIET))
    assert [e[1] for e in peer.heard(1)] == [QUIET]
    wait_until(lambda: heard[1][-1] == (QUIET, None))
    assert [len(each) for each in heard] == [20, 21]


def test_received_says_where_it_comes_from(vhost_url: str, launch: Launch, peer: OldPeer) -> None:
    told: list[tuple[str, Any, Any]] = []

    def handle(chart: NetworkedActiveObject, e: Event) -> None:
        told.append((e.signal_name, e.payload, chart.received))

    chart(launch, config(vhost_url, "one"), handle)
    peer.transmit("ping", [1])
    wait_until(lambda: told)
    signal, payload, received = told[0]
    assert (signal, payload) == ("ping", [1])
    assert (received.node, received.chart, received.cause) == (ADDRESS, "miros-rabbitmq", None)
    assert (received.routing_key, received.to, received.wants_reply) == (TOPIC, "", False)


def test_the_topics_of_both_are_the_same(vhost_url: str, launch: Launch, peer: OldPeer) -> None:
    heard = Heard()
    one = chart(launch, config(vhost_url, "one"), heard, rx_routing_key=["a.*", "b.#"])
    for topic in ("a.b", "a.b.c", "b", "b.c.d", "c"):
        peer.transmit("ping", topic, topic=topic)
    peer.transmit(QUIET, topic="b")
    wait_until(lambda: (QUIET, None) in heard)
    assert heard.payloads == ["a.b", "b", "b.c.d", None]

    one.transmit(event("pong"), routing_key="somewhere.else")
    assert peer.heard(1)[0][1:] == ("pong", None)


def test_what_is_for_one_chart_or_no_json_does_not_cross_and_is_counted(
    vhost_url: str, launch: Launch, peer: OldPeer
) -> None:
    recorder, heard = Recorder(), Heard()
    one = chart(launch, config(vhost_url, "one", observers=(recorder,)))
    chart(launch, config(vhost_url, "two"), heard)
    one.transmit(event("alone", 1), to="two/of_two")
    one.transmit(event("bytes", b"\x00"))
    one.transmit(event("later", 1), ttl_s=60.0)
    one.transmit(event(QUIET))

    wait_until(lambda: len(heard) == 4)
    assert [e[1] for e in peer.heard(2)] == ["later", QUIET]
    assert ("ancestor_mesh", "payload", 1) in recorder.drops


def test_hear_sends_nothing_and_off_does_neither(
    vhost_url: str, launch: Launch, peer: OldPeer
) -> None:
    hears, not_at_all, both = Heard(), Heard(), Heard()
    charts = [
        chart(launch, config(vhost_url, name, name), each)
        for name, each in (("hear", hears), ("off", not_at_all), ("both", both))
    ]
    peer.transmit("old")
    for each in charts:
        each.transmit(event(f"of_{each.name}"))
    assert [e[1] for e in peer.heard(1)] == ["of_of_both"]
    wait_until(lambda: len(hears) == 3 and len(both) == 3)
    wait_until(lambda: len(not_at_all) == 2)
    assert {e[0] for e in not_at_all} == {"of_of_hear", "of_of_both"}


def test_what_is_not_theirs_or_is_sent_twice_is_dropped_by_its_reason(
    vhost_url: str, launch: Launch, peer: OldPeer
) -> None:
    recorder, heard = Recorder(), Heard()
    chart(launch, config(vhost_url, "one", observers=(recorder,)), heard)
    body = peer.transmit("ping")
    for each in (body, b"hello", b"", body + b"\n"):
        peer.publish(each, MESH, TOPIC)
    peer.scout()
    with kombu.Connection(vhost_url) as connection:
        OldPeer(connection, OTHER_KEY).transmit("stranger")
    peer.transmit("miros_mesh.hello")
    peer.transmit(QUIET)

    wait_until(lambda: (QUIET, None) in heard)
    assert heard == [("ping", None), (QUIET, None)]
    found = [(reason, events) for network, reason, events in recorder.drops if events]
    assert found.count(("undecryptable", 1)) == 4
    assert found.count(("malformed", 1)) == 1
    assert found.count(("duplicate", 1)) == 1


def test_a_refused_event_is_a_dead_letter_like_any_other(
    vhost_url: str, launch: Launch, peer: OldPeer
) -> None:
    heard, broken = Heard(), [True]

    def handle(chart: NetworkedActiveObject, e: Event) -> None:
        if broken[0]:
            raise ZeroDivisionError("hush")
        heard(chart, e)

    settings = config(vhost_url, "one")
    chart(launch, settings, handle, on_handler_error="dead_letter")
    peer.transmit("ping", {"a": 1})
    with DeadLetters(settings) as box:
        wait_until(box.list)
        (letter,) = box.list()
        assert (letter.signal, letter.sender_node) == ("ping", ADDRESS)
        assert box.payload(letter) == {"a": 1}
        broken[0] = False
        box.retry(letter)
    wait_until(lambda: heard == [("ping", {"a": 1})])


@pytest.mark.parametrize("mode", ["standby", "share"])
def test_in_a_group_one_handles_it(
    vhost_url: str, launch: Launch, peer: OldPeer, mode: str
) -> None:
    heard = [Heard(), Heard()]
    for name, each in zip(("one", "two"), heard, strict=True):
        settings = config(vhost_url, name)
        names = {"tx_routing_key": TOPIC, "rx_routing_key": "#.man"}
        launch("member", settings, each, group="team", group_mode=mode, **names)
    for number in range(20):
        peer.transmit("ping", number)
    wait_until(lambda: sum(map(len, heard)) >= 20)
    peer.transmit(QUIET)
    wait_until(lambda: sum(map(len, heard)) == 21)
    assert sorted(n for each in heard for n in each.payloads if n is not None) == list(range(20))
    if mode == "standby":
        assert sorted(map(len, heard)) == [0, 21]


def test_a_chart_that_leaves_takes_its_queue_along(
    vhost_url: str, launch: Launch, peer: OldPeer
) -> None:
    one = chart(launch, config(vhost_url, "one"))
    (name,) = [each for each in node_of_queues(one) if each.startswith("miros_mesh.v1.old.")]
    one.stop()
    with kombu.Connection(vhost_url) as connection, pytest.raises(connection.channel_errors):
        connection.channel().queue_declare(name, passive=True)


def node_of_queues(chart: NetworkedActiveObject) -> list[str]:
    (session,) = node_of(chart).sessions
    return session.queues


def test_an_exchange_of_another_kind_is_told_and_not_worked_around(
    vhost_url: str, launch: Launch
) -> None:
    with kombu.Connection(vhost_url) as connection:
        connection.channel().exchange_declare(MESH, "topic", durable=True, auto_delete=False)
    with pytest.raises(LinkError, match=r"miros\.mesh\.exchange"):
        chart(launch, config(vhost_url, "one"))


@spy_on
def idle(chart: Any, e: Event) -> int:
    if e.signal == signals.move:
        return int(chart.trans(busy))
    chart.temp.fun = chart.top
    return int(return_status.SUPER)


@spy_on
def busy(chart: Any, e: Event) -> int:
    chart.temp.fun = idle
    return int(return_status.SUPER)


@pytest.fixture
def mover(vhost_url: str) -> Iterator[Callable[..., NetworkedActiveObject]]:
    charts = []

    def start(name: str, **more: Any) -> NetworkedActiveObject:
        made = NetworkedActiveObject(
            name, config=config(vhost_url, name), tx_routing_key=TOPIC, **more
        )
        charts.append(made)
        made.enable_snoop_trace()
        made.enable_snoop_spy()
        made.start_at(idle)
        return made

    yield start
    for each in charts:
        each.stop()


def test_snoop_lines_of_both_are_shown_together_and_each_once(
    mover: Callable[..., NetworkedActiveObject], peer: OldPeer
) -> None:
    shown: list[SnoopRecord] = []
    mover("one", on_trace_rx=shown.append, on_spy_rx=shown.append)
    two = mover("two", on_trace_rx=lambda _: None, on_spy_rx=lambda _: None)
    peer.trace(f"\n[{STAMP}] [ao] e->ring() here->there\n")
    peer.trace(f"[{STAMP}] [ao] \x1b[30;1m# hello\x1b[0m")
    peer.trace("what is this")
    peer.spy("ao ring:here")
    two.post_fifo(Event(signal=signals.move))

    def of(chart: str, kind: str) -> list[str]:
        return [each.text for each in shown if (each.chart, each.kind) == (chart, kind)]

    wait_until(lambda: of("two", "trace") == ["e->start_at() top->idle", "e->move() idle->busy"])
    wait_until(lambda: of("ao", "trace") == ["e->ring() here->there"])
    wait_until(lambda: of("ao", "scribble") == ["hello"] and of("ao", "spy") == ["ring:here"])
    wait_until(lambda: of("miros-rabbitmq", "trace") == ["what is this"])
    (ring,) = [each for each in shown if each.signal == "ring"]
    assert (ring.from_state, ring.to_state) == ("here", "there")
    # Theirs and ours, as an old terminal has them.
    lines: list[str] = []

    def enough() -> bool:
        lines.extend(peer.bodies(TRACE))
        return any("[two] e->move() idle->busy" in line for line in lines)

    wait_until(enough)
    assert sum("[two] e->move() idle->busy" in line for line in lines) == 1
    spied: list[str] = []

    def spied_enough() -> bool:
        spied.extend(peer.bodies(SPY))
        return "two move:idle" in spied

    wait_until(spied_enough)


def test_a_monitor_shows_theirs_too(vhost_url: str, peer: OldPeer) -> None:
    settings = MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY, ancestors="hear")
    with SnoopMonitor(settings) as monitor:
        watch = monitor.watch(limit_s=30.0)
        for signal in ("ring", "knock"):
            peer.trace(f"[{STAMP}] [ao] e->{signal}() here->there\n")
        first, second = next(watch), next(watch)
    assert isinstance(first, SnoopRecord)
    assert isinstance(second, SnoopRecord)
    assert (first.chart, first.signal, second.signal) == ("ao", "ring", "knock")
