"""What was lost with the queue of a named node that was away for too long is told."""

from __future__ import annotations

import logging

import kombu
import pytest

from miros_mesh import DEFAULT_ROUTING_KEY, MeshConfig, NetworkedActiveObject
from miros_mesh.embedded.transport import dial as embedded
from miros_mesh.node.queues import chart_queue
from support.charts_at_work import KEY, Ground, Heard, Launch, Recorder, event, node_of
from support.waiting import wait_until

QUEUE = chart_queue("receiver", "receiver", DEFAULT_ROUTING_KEY)
# No beat of the sender takes a number, so that what is missing are events alone.
SILENT_S = 60.0
SOON_S = 1.0


class Told(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[tuple[str, int]] = []
        self.repaired_events = 0

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.gaps.append((sender, missing))

    def repaired(self, *, network: str, events: int) -> None:
        self.repaired_events += events


class Receiver:
    """A process of the node name, while it lives."""

    def __init__(self, ground: Ground, launch: Launch, expires_s: float = SOON_S) -> None:
        self.heard, self.told = Heard(), Told()
        self.config = ground.node(
            "receiver",
            observers=(self.told,),
            heartbeat_interval_s=SOON_S,
            queue_expires_s=expires_s,
        )
        self.chart = launch("receiver", self.config, self.heard)

    def expect(self, *payloads: object) -> None:
        wait_until(lambda: len(self.heard) >= len(payloads))
        assert self.heard.payloads == list(payloads)

    def wait_until_it_has_looked(self) -> None:
        """Wait until it has compared what it heard with the marks."""
        written = node_of(self.chart)._marks
        written._write_at = 0.0
        wait_until(lambda: written._write_at)


@pytest.fixture(params=["embedded", "rabbitmq"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """A mesh on a broker that removes queues."""
    if request.param == "embedded":
        return Ground(MeshConfig)
    url = request.getfixturevalue("vhost_url")
    return Ground(lambda **s: MeshConfig(broker_url=url, mesh_encryption_key=KEY, **s))


@pytest.fixture
def sender(ground: Ground, launch: Launch) -> NetworkedActiveObject:
    return launch("sender", ground.node("sender", heartbeat_interval_s=SILENT_S), Heard())


def send(sender: NetworkedActiveObject, *payloads: object) -> None:
    for payload in payloads:
        sender.transmit(event("number", payload))


def wait_until_gone(config: MeshConfig) -> None:
    """Wait until the broker has removed the queue of the receiver."""
    url = config.broker_url[0] if isinstance(config.broker_url, tuple) else None

    def gone() -> bool:
        with kombu.Connection(url) if url else embedded(config.home_folder) as connection:
            try:
                connection.channel().queue_declare(QUEUE, passive=True)
            except connection.channel_errors:
                return True
        return False

    wait_until(gone, message="the queue expires")


def test_what_was_lost_with_an_expired_queue_is_told_at_the_senders_next_word(
    ground: Ground,
    launch: Launch,
    sender: NetworkedActiveObject,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = Receiver(ground, launch)
    send(sender, 1, 2, 3)
    before.expect(1, 2, 3)
    before.chart.stop()
    send(sender, 4, 5)
    wait_until_gone(before.config)
    send(sender, 6)
    wait_until(lambda: not node_of(sender).report().left_over)

    after = Receiver(ground, launch)
    with caplog.at_level(logging.WARNING):
        send(sender, 7)
        wait_until(lambda: after.told.gaps)

    after.wait_until_it_has_looked()
    after.expect(7)
    assert after.told.gaps == [("sender", 3)]
    assert after.told.drops == [("mesh", "queue_expired", 3)]
    assert after.told.repaired_events == 0
    (line,) = [each.getMessage() for each in caplog.records if "queue_expires_s" in each.msg]
    assert "chart receiver has lost up to 3 events of sender" in line


def test_nothing_is_told_of_a_queue_that_was_kept(
    ground: Ground, launch: Launch, sender: NetworkedActiveObject
) -> None:
    before = Receiver(ground, launch, expires_s=SILENT_S)
    send(sender, 1)
    before.expect(1)
    before.chart.stop()
    send(sender, 2)

    after = Receiver(ground, launch, expires_s=SILENT_S)
    send(sender, 3)
    after.expect(2, 3)

    after.wait_until_it_has_looked()
    assert (after.told.gaps, after.told.drops) == ([], [])


def test_marks_outlive_processes_that_heard_nothing(
    ground: Ground, launch: Launch, sender: NetworkedActiveObject
) -> None:
    first = Receiver(ground, launch)
    send(sender, 1)
    first.expect(1)
    first.chart.stop()
    for _ in range(2):
        Receiver(ground, launch).chart.stop()
    wait_until_gone(first.config)
    send(sender, 2)
    wait_until(lambda: not node_of(sender).report().left_over)

    last = Receiver(ground, launch)
    send(sender, 3)

    wait_until(lambda: last.told.gaps)
    assert last.told.gaps == [("sender", 1)]
