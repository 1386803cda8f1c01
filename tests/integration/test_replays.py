"""Frames that somebody records and publishes again who may use the broker, and has no key."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import kombu
import pytest

from miros_mesh import DEFAULT_ROUTING_KEY, MeshConfig, NetworkedActiveObject
from miros_mesh.embedded.transport import dial as embedded
from miros_mesh.networks.network import exchange_of
from miros_mesh.node.queues import chart_queue
from support.charts_at_work import KEY, Ground, Heard, Launch, Recorder, event, node_of, publish
from support.kept_letters import kept_letters
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

FEW = (1, 2, 3, 4, 5)
HOUR_S = 3600.0
QUEUE = "recorded.by.a.thief"


@pytest.fixture(params=["embedded", "rabbitmq"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """A mesh on a broker of each kind, to which others can publish."""
    if request.param == "embedded":
        return Ground(MeshConfig)
    return on(request.getfixturevalue("vhost_url"))


def on(url: str) -> Ground:
    return Ground(lambda **s: MeshConfig(broker_url=url, mesh_encryption_key=KEY, **s))


@dataclass
class Thief:
    """Who may use the broker: hears all frames of a network, and publishes what was heard."""

    connection: kombu.Connection
    network: str = "mesh"

    def __post_init__(self) -> None:
        self.queue = f"{QUEUE}.{self.network}"
        self.channel = self.connection.channel()
        self.channel.queue_declare(self.queue, durable=True)
        self.channel.queue_bind(self.queue, exchange_of(self.network), "#")
        self.stolen: list[bytes] = []

    def steal(self, frames: int) -> list[bytes]:
        """Wait until so many frames were recorded in all."""

        def enough() -> bool:
            while message := self.channel.basic_get(self.queue, no_ack=True):
                self.stolen.append(bytes(message.body))
            return len(self.stolen) >= frames

        wait_until(enough)
        return self.stolen


@pytest.fixture
def thief(ground: Ground, launch: Launch) -> Iterator[Thief]:
    config = ground.node("first")
    # The exchange is there with the first node.
    launch("first", config, rx_routing_key="nothing.at.all").stop()
    yield from stealing(config)


def stealing(config: MeshConfig) -> Iterator[Thief]:
    url = config.broker_url[0] if isinstance(config.broker_url, tuple) else None
    with kombu.Connection(url) if url else embedded(config.home_folder) as connection:
        yield Thief(connection)


@pytest.fixture
def sender(ground: Ground, launch: Launch, thief: Thief) -> NetworkedActiveObject:
    config = ground.node("sender", heartbeat_interval_s=60.0)
    # It hears nothing of its own: tests set its clock, and not that of its ears.
    return launch("sender", config, Heard(), rx_routing_key="nothing.at.all")


def send(sender: NetworkedActiveObject, *payloads: object) -> None:
    """Send each in a frame of its own."""
    for payload in payloads:
        sender.transmit(event("number", payload))
        wait_until(lambda: not node_of(sender).report().left_over)


def replay(config: MeshConfig, thief: Thief, **where: str) -> None:
    for body in list(thief.stolen):
        publish(config, body, **where)


def numbers(heard: Heard) -> list[object]:
    return [payload for signal, payload in heard if signal == "number"]


def test_at_once(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    heard, config = Heard(), ground.make()
    launch("receiver", config, heard)
    send(sender, *FEW)
    thief.steal(len(FEW))
    replay(config, thief)
    send(sender, "last")
    wait_until(lambda: "last" in numbers(heard))
    assert numbers(heard) == [*FEW, "last"]


def test_after_a_restart_of_the_receiver(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    before, after, told = Heard(), Heard(), Recorder()
    first = launch("receiver", ground.make(), before)
    send(sender, *FEW)
    thief.steal(len(FEW))
    wait_until(lambda: numbers(before) == [*FEW])
    first.stop()

    config = ground.make(observers=(told,))
    launch("receiver", config, after)
    replay(config, thief)
    send(sender, "last")

    wait_until(lambda: "last" in numbers(after))
    assert numbers(after) == ["last"]
    wait_until(lambda: told.drops.count(("mesh", "old", 1)) == len(FEW))


def test_after_a_restart_of_the_receiver_whose_sender_is_gone(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    send(sender, *FEW)
    thief.steal(len(FEW))
    sender.stop()
    heard, config = Heard(), ground.make()
    launch("receiver", config, heard)
    replay(config, thief)
    wait_until(lambda: len(kept_letters(config)) == len(FEW))
    assert {letter.reason for letter in kept_letters(config)} == {"old"}
    assert numbers(heard) == []


def test_after_a_restart_of_the_sender(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    heard, config = Heard(), ground.make()
    launch("receiver", config, heard)
    send(sender, *FEW)
    thief.steal(len(FEW))
    sender.stop()
    again = launch("sender", ground.node("sender"), Heard())
    replay(config, thief)
    send(again, "last")
    wait_until(lambda: "last" in numbers(heard))
    assert numbers(heard) == [*FEW, "last"]


def test_before_the_first_event_is_heard(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    send(sender, *FEW)
    thief.steal(len(FEW))
    heard, config = Heard(), ground.make()
    launch("receiver", config, heard)
    publish(config, thief.stolen[2])
    send(sender, "last")
    wait_until(lambda: "last" in numbers(heard))
    assert numbers(heard) == ["last"]


def test_out_of_place(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    """A chart that has heard the sender gets a frame from before it listened."""
    send(sender, *FEW)
    thief.steal(len(FEW))
    heard, config = Heard(), ground.make()
    launch("receiver", config, heard)
    send(sender, 6)
    wait_until(lambda: numbers(heard) == [6])
    replay(config, thief)
    send(sender, "last")
    wait_until(lambda: "last" in numbers(heard))
    assert numbers(heard) == [6, "last"]


def test_on_another_topic(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    heard, config = Heard(), ground.make()
    launch("other", config, heard, rx_routing_key="never.meant")
    send(sender, *FEW)
    thief.steal(len(FEW))
    replay(config, thief, routing_key="never.meant")
    wait_until(lambda: len(kept_letters(config)) == len(FEW))
    (letter, *_) = kept_letters(config)
    assert letter.reason == "wrong_topic"
    assert f"for the topic '{DEFAULT_ROUTING_KEY}' came under another one" in letter.detail
    assert numbers(heard) == []


def test_a_queue_that_somebody_binds_to_another_topic(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    """Nothing is changed or repeated: what is for one chart comes to another one."""
    told, other, meant = Recorder(), Heard(), Heard()
    config = ground.node("other", observers=(told,))
    launch("other", config, other, rx_routing_key="never.meant")
    launch("meant", ground.make(), meant)
    queue = chart_queue("other", "other", "never.meant")
    thief.channel.queue_bind(queue, exchange_of("mesh"), DEFAULT_ROUTING_KEY)
    send(sender, *FEW)
    wait_until(lambda: told.drops.count(("mesh", "wrong_topic", 1)) == len(FEW))
    wait_until(lambda: numbers(meant) == [*FEW])
    assert numbers(other) == []


def test_the_marks_of_an_earlier_process_that_somebody_sends_again(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    """They say less than those of now: what was handled since is no new event all the same."""
    before, after, told = Heard(), Heard(), Recorder()
    first = launch("receiver", ground.node("receiver"), before)
    marks = Thief(thief.connection, "marks")
    send(sender, 1)
    wait_until(lambda: numbers(before) == [1])
    say_marks(first)
    early = [*marks.steal(1)]
    send(sender, 2, 3)
    wait_until(lambda: numbers(before) == [1, 2, 3])
    thief.steal(3)
    sender.stop()
    first.stop()

    config = ground.node("receiver", observers=(told,))
    second = launch("receiver", config, after)
    say_marks(second)
    for note in early:
        publish(config, note, network="marks", routing_key="receiver")
    # It comes after those.
    say_marks(second)
    replay(config, thief)

    wait_until(lambda: told.drops.count(("mesh", "duplicate", 1)) >= 3)
    assert numbers(after) == []


def say_marks(chart: NetworkedActiveObject) -> None:
    """Have the node of a chart write its marks, and return when they have come back to it."""
    marks, own = node_of(chart)._marks, node_of(chart).identity.incarnation
    last = marks._network.sequence_of("receiver")
    marks.write(anew=True)

    def come() -> bool:
        newest = marks._newest
        return newest is not None and newest.incarnation == own and newest.sequence > last

    wait_until(come)


def test_the_marks_of_another_node_to_which_somebody_binds_the_queue(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    """What the other one has handled is no copy here."""
    away, there, back = Heard(), Heard(), Heard()
    launch("chart", ground.node("away"), away).stop()
    thief.channel.queue_bind(f"{exchange_of('marks')}.away", exchange_of("marks"), "there")
    other = launch("chart", ground.node("there"), there)
    send(sender, *FEW)
    wait_until(lambda: numbers(there) == [*FEW])
    other.stop()

    launch("chart", ground.node("away"), back)

    wait_until(lambda: numbers(back) == [*FEW])


def test_in_another_network(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    told = Recorder()
    config = ground.make(observers=(told,))
    watcher = launch("watcher", config, Heard(), on_trace_rx=lambda _: None)
    watcher.enable_snoop_trace()
    send(sender, *FEW)
    thief.steal(len(FEW))
    replay(config, thief, network="snoop_trace", routing_key=DEFAULT_ROUTING_KEY)
    wait_until(lambda: told.drops.count(("snoop_trace", "wrong_network", 1)) == len(FEW))


def test_under_another_label(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    heard, config = Heard(), ground.make(mesh_label="another")
    launch("receiver", config, heard)
    send(sender, *FEW)
    thief.steal(len(FEW))
    wait_until(lambda: len(kept_letters(config)) == len(FEW))
    (letter, *_) = kept_letters(config)
    assert letter.reason == "wrong_mesh"
    assert "this one is 'another'" in letter.detail
    assert numbers(heard) == []


def test_in_another_virtual_host(rabbitmq: RabbitServer, launch: Launch) -> None:
    here, there = on(rabbitmq.url(rabbitmq.new_vhost())), on(rabbitmq.url(rabbitmq.new_vhost()))
    heard = Heard()
    sender = launch("sender", here.node("sender"), Heard())
    launch("receiver", there.node("receiver"), heard)
    for thief in stealing(here.make()):
        send(sender, *FEW)
        thief.steal(len(FEW))
    replay(there.make(), thief)
    wait_until(lambda: len(kept_letters(there.make())) == len(FEW))
    assert {letter.reason for letter in kept_letters(there.make())} == {"wrong_mesh"}
    assert numbers(heard) == []


def test_to_the_next_process_of_a_node_name(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    """What waited for it is new, and what the one before has handled is not."""
    before, after = Heard(), Heard()
    first = launch("receiver", ground.node("receiver"), before)
    send(sender, *FEW)
    thief.steal(len(FEW))
    wait_until(lambda: numbers(before) == [*FEW])
    first.stop()
    send(sender, "waits")

    config = ground.node("receiver")
    launch("receiver", config, after)
    replay(config, thief)
    send(sender, "last")

    wait_until(lambda: "last" in numbers(after))
    assert numbers(after) == ["waits", "last"]


def test_a_sender_whose_clock_is_a_little_behind_is_heard_from_the_first_event_on(
    ground: Ground, launch: Launch, thief: Thief, sender: NetworkedActiveObject
) -> None:
    set_clock(sender, -10.0)
    heard = Heard()
    launch("receiver", ground.make(), heard)
    for number in range(300):
        sender.transmit(event("number", number))
    wait_until(lambda: len(numbers(heard)) == 300)
    assert numbers(heard) == [*range(300)]


@pytest.mark.parametrize(
    ("error_s", "reason", "words"),
    [(HOUR_S, "clock", "s from now by our clock"), (-HOUR_S, "old", "clock of its host is wrong")],
)
def test_a_clock_that_is_an_hour_off_is_a_clear_alarm_and_loses_nothing(
    ground: Ground,
    launch: Launch,
    thief: Thief,
    sender: NetworkedActiveObject,
    caplog: pytest.LogCaptureFixture,
    error_s: float,
    reason: str,
    words: str,
) -> None:
    told, heard = Recorder(), Heard()
    config = ground.make(observers=(told,))
    launch("receiver", config, heard)
    set_clock(sender, error_s)
    with caplog.at_level(logging.WARNING):
        send(sender, *FEW)
        wait_until(lambda: told.drops.count(("mesh", reason, 1)) == len(FEW))
    assert any("node 'sender'" in line and words in line for line in caplog.messages)
    wait_until(lambda: len(kept_letters(config)) == len(FEW))
    assert {letter.reason for letter in kept_letters(config)} == {reason}
    # Once its clock is right it is heard.
    set_clock(sender, 0.0)
    send(sender, "last")
    wait_until(lambda: "last" in numbers(heard))


def set_clock(chart: NetworkedActiveObject, error_s: float) -> None:
    """Let the host of a chart, as its frames tell, have a clock that is wrong by so much."""
    codec: Any = node_of(chart).mesh.network._codec
    codec._wall = lambda: time.time() + error_s
