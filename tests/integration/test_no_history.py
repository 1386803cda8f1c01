"""There is no history: an old event that comes again brings nothing else with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from miros_mesh import MeshConfig
from miros_mesh.wire.envelope import Envelope
from miros_mesh.wire.serializer import MsgpackSerializer
from support.charts_at_work import (
    KEY,
    Ground,
    Heard,
    Launch,
    Recorder,
    event,
    node_of,
    publish,
    seal,
)
from support.waiting import wait_until

MANY = 2_000
HOUR_S = 3_600.0
Restart = Callable[..., "Listening"]


class Told(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.missing = 0
        self.repaired_events = 0

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.missing += missing

    def repaired(self, *, network: str, events: int) -> None:
        self.repaired_events += events


class Listening:
    """A chart that has just begun to listen."""

    def __init__(self, ground: Ground, launch: Launch, name: str | None) -> None:
        self.heard, self.told = Heard(), Told()
        config = ground.make(node_name=name, observers=(self.told,))
        self.chart = launch("receiver", config, self.heard)

    def expect(self, *payloads: Any) -> None:
        """Wait for these, which are all that comes, and nothing was asked for or missed."""
        wait_until(lambda: len(self.heard) >= len(payloads))
        assert self.heard.payloads == list(payloads)
        assert (self.told.repaired_events, self.told.missing) == (0, 0)


class Sender:
    """A chart that has sent many events before any chart listened."""

    def __init__(self, ground: Ground, launch: Launch) -> None:
        self.config = ground.node("sender")
        self.chart = launch("sender", self.config, Heard())
        self.send(*range(1, MANY + 1))
        # None is on its way when the next chart begins to listen.
        wait_until(lambda: not node_of(self.chart).report().left_over)
        self.old = {each.sequence: each for each in self._kept()}

    def send(self, *payloads: Any) -> None:
        for payload in payloads:
            self.chart.transmit(event("number", payload))

    def put_back(self, *numbers: int) -> None:
        """Publish old events once more, each as it was in its frame, an hour ago."""
        for number in numbers:
            old = self.old[number]
            publish(self.config, sealed(self.config, replace(old, sent_at=old.sent_at - HOUR_S)))

    def _kept(self) -> list[Envelope]:
        node = node_of(self.chart)
        kept = node.repair._history.find("sender", [(1, MANY)])
        return node.mesh.network.decoded([each.encoded for each in kept])


def sealed(config: MeshConfig, envelope: Envelope) -> bytes:
    return seal(config, envelope)


@pytest.fixture(params=["embedded", "rabbitmq"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """A mesh on a broker of each kind, where anybody may publish what they have kept."""
    if request.param == "embedded":
        return Ground(MeshConfig)
    url = request.getfixturevalue("vhost_url")
    return Ground(lambda **s: MeshConfig(broker_url=url, mesh_encryption_key=KEY, **s))


@pytest.fixture
def sender(ground: Ground, launch: Launch) -> Sender:
    return Sender(ground, launch)


@pytest.mark.parametrize(("name", "old"), [("receiver", []), (None, [5])])
def test_an_old_event_put_back_after_a_restart_brings_itself_alone(
    ground: Ground, launch: Launch, sender: Sender, name: str | None, old: list[int]
) -> None:
    """A chart of a lasting node does not take it: it was handled before, as the marks say."""
    before = Listening(ground, launch, name)
    sender.send("heard before the restart")
    before.expect("heard before the restart")
    before.chart.stop()

    after = Listening(ground, launch, name)
    sender.put_back(5)
    after.expect(*old)
    sender.send("live", "and more")

    after.expect(*old, "live", "and more")


def test_two_old_frames_put_back_bring_themselves_alone(
    ground: Ground, launch: Launch, sender: Sender
) -> None:
    after = Listening(ground, launch, "receiver")
    sender.put_back(5, 9)
    sender.send("live", "and more")

    after.expect(5, 9, "live", "and more")


def test_old_frames_of_a_node_that_was_started_anew_wait_for_nobody(
    ground: Ground, launch: Launch, sender: Sender
) -> None:
    sender.chart.stop()
    after = Listening(ground, launch, "receiver")
    anew = launch("sender", ground.node("sender"), Heard())
    anew.transmit(event("number", "live"))
    after.expect("live")

    sender.put_back(5, 9, 2)

    after.expect("live", 5, 2, 9)


def test_each_chart_of_a_node_has_its_own_age(
    ground: Ground, launch: Launch, sender: Sender
) -> None:
    elder = Listening(ground, launch, "receiver")
    sender.send("before the younger one")
    elder.expect("before the younger one")
    younger = Heard()
    launch("younger", elder.chart._config, younger)

    sender.put_back(5)
    wait_until(lambda: younger)
    sender.send("live")

    elder.expect("before the younger one", 5, "live")
    wait_until(lambda: len(younger) >= 2)
    assert younger.payloads == [5, "live"]
    assert (elder.told.repaired_events, elder.told.missing) == (0, 0)


@pytest.mark.parametrize(("name", "given"), [("receiver", True), (None, False)])
def test_a_late_copy_is_given_only_where_a_queue_may_have_kept_it(
    ground: Ground, launch: Launch, sender: Sender, name: str | None, given: bool
) -> None:
    after = Listening(ground, launch, name)
    sender.send("live")
    after.expect("live")

    sender.put_back(5)
    sender.send("and more")

    after.expect("live", *([5] if given else []), "and more")
    stale = [] if given else [("mesh", "stale", 1)]
    wait_until(lambda: after.told.drops == stale)


def test_a_reordered_start_loses_nothing(ground: Ground, launch: Launch) -> None:
    after = Listening(ground, launch, None)
    config = after.chart._config
    for number in (8, 7, 9):
        payload = MsgpackSerializer().dumps(number)
        fields = "elsewhere", "sender", "e1se", number, "number", payload, time.time()
        publish(config, sealed(config, Envelope(*fields)))

    after.expect(8, 7, 9)
    assert after.told.drops == []
