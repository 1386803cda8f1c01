"""What one who has the key sends to do harm: bounded and told, and honest senders lose nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from miros import signals
from msgspec.structs import replace

from miros_mesh import MeshConfig
from miros_mesh.networks.inbox import Inbox
from miros_mesh.networks.order.streams import MAX_HOLES
from miros_mesh.statechart.signal_table import MOST_NAMES_OF_A_NODE
from miros_mesh.wire.envelope import Envelope, RepairMessage, RoutedEnvelope
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
from support.kept_letters import kept_letters
from support.waiting import wait_until

NIL = b"\xc0"
GIVEN_UP_S = 1.0


@pytest.fixture(params=["embedded", "rabbitmq"])
def kinds(request: pytest.FixtureRequest) -> Ground:
    """One mesh of each kind whose broker can be looked into from outside."""
    if request.param == "embedded":
        return Ground(MeshConfig)
    url = request.getfixturevalue("vhost_url")
    return Ground(lambda **given: MeshConfig(broker_url=url, mesh_encryption_key=KEY, **given))


class Told(Recorder):
    """Keeps also which gaps there were."""

    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[tuple[str, int]] = []

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        self.gaps.append((sender, missing))


class Scene:
    """An honest sender and a receiver on two nodes, and an insider beside them."""

    def __init__(self, kinds: Ground, launch: Launch) -> None:
        self.told, self.heard = Told(), Heard()
        self.config = kinds.node(
            "receiving", observers=(self.told,), repair_timeout_s=GIVEN_UP_S, heartbeat_interval_s=1
        )
        self.receiver = launch("receiver", self.config, self.heard)
        self.sender = launch("honest", kinds.node("sending"))
        self.incarnation = node_of(self.sender).identity.incarnation
        self.sent = 0

    def speak(self, times: int = 20) -> None:
        """Let the honest sender say its next numbers, and the receiver hear them."""
        for _ in range(times):
            self.sent += 1
            self.sender.transmit(event("number", self.sent))
        wait_until(lambda: self.honest[-1:] == [self.sent])

    @property
    def honest(self) -> list[int]:
        return [number for name, number in self.heard if name == "number"]

    def forge(self, events: Iterable[Envelope]) -> None:
        """Publish a frame of the insider."""
        publish(self.config, seal(self.config, *events))

    def forged(self, sequence: int, signal: str = "forged") -> Envelope:
        """An event in the name of the honest sender."""
        origin = "sending", "honest", self.incarnation, sequence
        return Envelope(*origin, signal, NIL, time.time())

    @property
    def inbox(self) -> Inbox:
        inbox: Inbox = self.receiver._session.inbox  # type: ignore[union-attr]
        return inbox

    def has_all(self) -> bool:
        """Whether the receiver has heard all that is honest, once and in order."""
        return self.honest == list(range(1, self.sent + 1))


@pytest.fixture
def scene(kinds: Ground, launch: Launch) -> Scene:
    return Scene(kinds, launch)


def made_up(sequence: int, signal: str = "forged", node: str = "nowhere") -> Envelope:
    """An event of a sender that there is not."""
    return Envelope(node, "nothing", f"made up {node}", sequence, signal, NIL, time.time())


def test_a_number_that_no_sender_can_have_silences_none(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.speak()

    scene.forge([scene.forged(2**62)])
    (letter,) = wait_until(lambda: kept_letters(scene.config))
    # Nothing waits behind it, which would be given up later
    assert scene.inbox.holes() == {}
    scene.speak()

    assert scene.has_all()
    assert letter.reason == "jump"
    assert scene.told.drops == [("mesh", "jump", 1)]
    assert scene.told.gaps == []
    assert f"forged ({scene.incarnation}/honest/{2**62}) from sending/honest" in caplog.text


def test_a_number_that_a_sender_could_have_silences_none_either(scene: Scene) -> None:
    scene.speak()

    scene.forge([scene.forged(900_000)])
    # It is believed, since the sender may have been out of reach for so long.
    wait_until(lambda: ("forged", None) in scene.heard)
    scene.speak()
    scene.speak()

    assert scene.has_all()
    assert scene.told.drops == []
    # By this the next process of the name tells copies: those numbers are not called handled.
    assert scene.inbox.marks()[scene.incarnation, "honest"] <= scene.sent


def test_a_number_in_a_word_of_the_library_silences_none(scene: Scene) -> None:
    scene.speak()

    scene.forge([scene.forged(2**62, "miros_mesh.beat")])
    wait_until(lambda: scene.told.drops == [("mesh", "jump", 1)])
    scene.speak()

    assert scene.has_all()


def test_numbers_that_are_said_to_be_for_others_silence_none(scene: Scene) -> None:
    scene.speak()

    # Many few, and very many at once
    for number in (*range(100, 5_000, 10), 900_000):
        said = scene.forged(number)
        scene.forge([replace(RoutedEnvelope.of(said), base=scene.sent, routes=(("none", 7),))])
    wait_until(lambda: len(scene.heard) == scene.sent + 491)
    scene.speak()
    scene.speak()

    assert scene.has_all()
    assert scene.told.drops == []
    assert scene.told.gaps == []
    assert scene.inbox.holes() == {}
    # Those at once are not called handled, which the next process of the name would believe
    assert scene.inbox.marks()[scene.incarnation, "honest"] < 5_000


def test_a_first_number_in_the_name_of_a_sender_silences_none(scene: Scene) -> None:
    scene.forge([scene.forged(2**62)])
    wait_until(lambda: ("forged", None) in scene.heard)

    scene.speak()

    assert scene.has_all()
    assert scene.told.drops == []


def test_the_names_that_one_node_may_bring_are_limited_and_others_bring_theirs(
    scene: Scene,
) -> None:
    names = [f"flood_{number}" for number in range(MOST_NAMES_OF_A_NODE + 50)]
    before = len(signals)
    scene.speak()

    scene.forge(made_up(at, name) for at, name in enumerate(names, 1))
    wait_until(lambda: len(scene.told.drops) == 50)
    scene.sender.transmit(event("a name of an honest node"))
    scene.speak()

    assert scene.has_all()
    assert ("a name of an honest node", None) in scene.heard
    assert set(scene.told.drops) == {("mesh", "signal_table_full", 1)}
    assert len(signals) <= before + MOST_NAMES_OF_A_NODE + 2
    # What has had its number costs nothing more
    scene.forge([made_up(len(names) + 1, "flood_0")])
    wait_until(lambda: scene.heard.count(("flood_0", None)) == 2)


def test_holes_beyond_what_is_asked_for_are_given_up_and_told(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.speak()

    scene.forge(made_up(number) for number in range(1, 4 * MAX_HOLES, 2))
    scene.speak()

    assert scene.has_all()
    wait_until(lambda: scene.heard.count(("forged", None)) == 2 * MAX_HOLES)
    assert sum(missing for _, missing in scene.told.gaps) == 2 * MAX_HOLES - 1
    assert "too much waits for events that are missing" in caplog.text


def test_who_asks_for_all_again_and_again_gets_it_twice(kinds: Ground, launch: Launch) -> None:
    scene = Scene(kinds, launch)
    asked = Told()
    talker = launch("talker", kinds.node("asked", observers=(asked,), repair_bytes=1_000_000))
    for _ in range(30):
        talker.transmit(event("large", bytes(30_000)))
    wait_until(lambda: sum(name == "large" for name, _ in scene.heard) == 30)
    incarnation = node_of(talker).identity.incarnation

    for number in range(1, 21):
        stream = incarnation, "talker"
        question = RepairMessage(
            *("insider", "insider", "in5ider", number),
            *(incarnation, "ask", stream, ((1, 1_000),)),
        )
        body = seal(scene.config, question, network="repair", topic=incarnation)
        publish(scene.config, body, network="repair", routing_key=incarnation)
    wait_until(lambda: ("repair", "repair_limit", 1) in asked.drops)
    scene.speak()

    assert scene.has_all()
    assert {reason for _, reason, _ in asked.drops} == {"repair_limit"}
