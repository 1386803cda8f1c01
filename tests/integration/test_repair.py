"""Events that a broker lost: asked for, sent again, or told as gone. On a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import kombu
import pytest
from opentelemetry.sdk.trace import TracerProvider

from miros_mesh import DEFAULT_ROUTING_KEY, MeshConfig, NetworkedActiveObject, Observer
from miros_mesh.link.publisher import BrokerPublisher
from miros_mesh.networks.network import exchange_of
from miros_mesh.node.queues import chart_queue
from miros_mesh.observe.tracing import OpenTelemetryTracer
from miros_mesh.wire.envelope import RepairMessage
from support.charts_at_work import (
    KEY,
    Ground,
    Heard,
    Recorder,
    alone,
    event,
    node_of,
    publish,
    seal,
)
from support.waiting import wait_until

QUEUE = chart_queue("receiver", "receiver", DEFAULT_ROUTING_KEY)
FEW = 20
# Above the largest frame of a node of these settings, if all of it went in one.
LARGE = 40_000
SMALL_FRAMES = {"frame_bytes": 50_000, "max_event_bytes": 50_000}


class Told(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.missing = 0
        self.repaired_events = 0

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.missing += missing

    def repaired(self, *, network: str, events: int) -> None:
        self.repaired_events += events


@pytest.fixture
def ground(vhost_url: str) -> Ground:
    return Ground(lambda **s: MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY, **s))


class Pair:
    """A sender and a receiver, and a queue that loses what is sent in a bad moment."""

    def __init__(
        self, ground: Ground, ends: ExitStack, tracers: tuple[Observer, ...] = (), **settings: Any
    ) -> None:
        self.told, self.heard = Told(), Heard()
        quick = {"heartbeat_interval_s": 1.0, **settings}
        self.config = ground.node("receiver", observers=(self.told,), **quick)
        receiver = self._launch("receiver", self.config, self.heard, ends)
        self.told_node = node_of(receiver).identity.incarnation
        self.sender = self._launch(
            "sender", ground.node("sender", observers=tracers, **quick), Heard(), ends
        )

    def _launch(
        self, name: str, config: MeshConfig, heard: Heard, ends: ExitStack
    ) -> NetworkedActiveObject:
        chart = NetworkedActiveObject(name, config=config)
        chart.start_at(alone(heard, spied=False))
        ends.callback(chart.stop)
        return chart

    def send(self, *numbers: int, make: Callable[[int], Any] = lambda number: number) -> None:
        for number in numbers:
            self.sender.transmit(event("number", make(number)))

    def lose(self, *numbers: int, make: Callable[[int], Any] = lambda number: number) -> None:
        """Send what no queue gets."""
        binding = {"exchange": exchange_of("mesh"), "routing_key": DEFAULT_ROUTING_KEY}
        assert isinstance(self.config.broker_url, tuple)
        with kombu.Connection(self.config.broker_url[0]) as connection:
            channel = connection.channel()
            channel.queue_unbind(QUEUE, **binding)
            self.send(*numbers, make=make)
            self._wait_until_all_is_confirmed()
            channel.queue_bind(QUEUE, **binding)

    def _wait_until_all_is_confirmed(self) -> None:
        node = node_of(self.sender)
        assert node
        (publisher,) = node.peers._publishers.values()
        assert isinstance(publisher, BrokerPublisher)
        assert publisher._outbox.wait_empty(5)


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_what_no_queue_got_arrives_in_order_once_the_next_event_is_there(
    ground: Ground, ends: ExitStack
) -> None:
    pair = Pair(ground, ends)
    pair.send(0)
    wait_until(lambda: pair.heard.payloads == [0])

    pair.lose(*range(1, FEW))
    pair.send(FEW)

    wait_until(lambda: len(pair.heard) > FEW)
    assert pair.heard.payloads == list(range(FEW + 1))
    # The chart may handle what was repaired before the observer is told of it
    wait_until(lambda: pair.told.repaired_events)
    assert (pair.told.missing, pair.told.repaired_events) == (0, FEW - 1)


def test_events_that_were_traced_come_again_without_their_trace(
    ground: Ground, ends: ExitStack
) -> None:
    pair = Pair(ground, ends, tracers=(OpenTelemetryTracer(TracerProvider()),))
    pair.send(0)
    wait_until(lambda: pair.heard.payloads == [0])

    pair.lose(1, 2)
    pair.send(3)

    wait_until(lambda: pair.heard.payloads == [0, 1, 2, 3])
    # The chart may handle what was repaired before the observer is told of it
    wait_until(lambda: pair.told.repaired_events)
    assert (pair.told.missing, pair.told.repaired_events) == (0, 2)


def test_the_last_events_of_a_chart_that_falls_silent_arrive_too(
    ground: Ground, ends: ExitStack
) -> None:
    pair = Pair(ground, ends)
    pair.send(0)
    wait_until(lambda: pair.heard.payloads == [0])

    pair.lose(1, 2)

    wait_until(lambda: pair.heard.payloads == [0, 1, 2])
    assert pair.told.missing == 0


def test_an_answer_larger_than_a_frame_comes_in_portions(ground: Ground, ends: ExitStack) -> None:
    pair = Pair(ground, ends, **SMALL_FRAMES)
    pair.send(0)
    wait_until(lambda: pair.heard.payloads == [0])

    pair.lose(*range(1, FEW), make=lambda number: [number, b"x" * LARGE])
    pair.send(FEW)

    wait_until(lambda: len(pair.heard) > FEW)
    assert [p[0] if isinstance(p, list) else p for p in pair.heard.payloads] == [*range(FEW + 1)]


def test_what_the_sender_has_no_more_is_told_at_once_and_the_rest_goes_on(
    ground: Ground, ends: ExitStack
) -> None:
    pair = Pair(ground, ends, repair_events=5, repair_timeout_s=60.0)
    pair.send(0)
    wait_until(lambda: pair.heard.payloads == [0])

    pair.lose(*range(1, FEW))
    pair.send(FEW)

    wait_until(lambda: FEW in pair.heard.payloads)
    # Of the last five that are kept the newest is the one that told of the others.
    assert pair.heard.payloads == [0, *range(FEW - 4, FEW + 1)]
    # The chart may handle what was repaired before the observer is told of it
    wait_until(lambda: pair.told.repaired_events)
    assert (pair.told.missing, pair.told.repaired_events) == (FEW - 5, 4)


def test_a_sender_that_is_gone_is_not_waited_for_longer_than_set(
    ground: Ground, ends: ExitStack
) -> None:
    pair = Pair(ground, ends, repair_timeout_s=1.0)
    pair.send(0)
    wait_until(lambda: pair.heard.payloads == [0])
    pair.lose(1)

    began = time.monotonic()
    pair.sender.stop()

    # Its goodbye tells that something was missing before it.
    wait_until(lambda: pair.told.goodbyes == ["sender"])
    assert pair.told.missing == 1
    assert time.monotonic() - began >= 1.0


def test_a_chart_of_the_same_name_may_send_under_another_topic_later(
    ground: Ground, ends: ExitStack
) -> None:
    pair = Pair(ground, ends)
    again = NetworkedActiveObject("sender", config=pair.sender._config, tx_routing_key="other")
    stays = NetworkedActiveObject("stays", config=pair.sender._config)
    stays.start_at(alone(Heard(), spied=False))
    ends.callback(stays.stop)
    pair.send(0)
    pair.sender.stop()
    again.start_at(alone(Heard(), spied=False))
    ends.callback(again.stop)

    # It counts on where the first one ended
    for number in (1, 2):
        again.transmit(event("number", -number))
        again.transmit(event("number", number), routing_key=DEFAULT_ROUTING_KEY)

    wait_until(lambda: pair.heard.payloads == [0, 1, 2])
    assert (pair.told.missing, pair.told.repaired_events) == (0, 0)


def test_an_answer_that_is_not_the_senders_or_for_somebody_else_is_not_heard(
    ground: Ground, ends: ExitStack
) -> None:
    pair = Pair(ground, ends, repair_timeout_s=60.0)
    pair.send(0)
    wait_until(lambda: pair.heard.payloads == [0])
    node, receiver = node_of(pair.sender), pair.told_node
    assert node
    stream = (node.identity.incarnation, "sender")
    thief = RepairMessage("t", "t", "f00", 1, receiver, "gone", stream, ((1, 9),))
    stolen = RepairMessage("t", "t", stream[0], 99, "another", "gone", stream, ((1, 9),))

    pair.lose(1)
    for message in (thief, stolen):
        frame = seal(pair.config, message, network="repair", topic=receiver)
        publish(pair.config, frame, network="repair", routing_key=receiver)
    pair.send(2)

    wait_until(lambda: pair.heard.payloads == [0, 1, 2])
    assert pair.told.missing == 0


def test_a_question_that_somebody_repeats_is_answered_once(ground: Ground, ends: ExitStack) -> None:
    pair = Pair(ground, ends)
    pair.send(*range(FEW))
    wait_until(lambda: len(pair.heard) == FEW)
    node = node_of(pair.sender)
    assert node
    incarnation = node.identity.incarnation
    question = RepairMessage(
        *("thief", "thief", "f00", 1, incarnation, "ask", (incarnation, "sender"), ((1, FEW),))
    )
    asked = seal(pair.config, question, network="repair", topic=incarnation)

    for _ in range(5):
        publish(pair.config, asked, network="repair", routing_key=node.identity.incarnation)
    publish(pair.config, b"rubbish", network="repair", routing_key=node.identity.incarnation)
    pair.send(FEW)

    wait_until(lambda: len(pair.heard) > FEW)
    assert node.repair._network.sequence_of(node.name) == 1
