"""Nodes with keys of their own: who has the key of the mesh alone cannot speak in their names."""

from __future__ import annotations

import time
from typing import Any

import pytest

from miros_mesh import CHART_UP, DEFAULT_ROUTING_KEY, MeshConfig
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.dead_letters.letter import Letter
from miros_mesh.errors import SealedLetterError
from miros_mesh.networks.network import exchange_of
from miros_mesh.networks.snoop.records import SnoopNetwork
from miros_mesh.wire.envelope import (
    DeadLetter,
    DeathNote,
    Envelope,
    MarkNote,
    NodeRoll,
    NodeStatus,
    Origin,
    RepairMessage,
    RollEntry,
    SnoopRecord,
)
from miros_mesh.wire.signing import Signer, generate_identity
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


@pytest.fixture(params=["embedded", "rabbitmq"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """A mesh on a broker of each kind, to which others can publish."""
    if request.param == "embedded":
        return Ground(MeshConfig)
    url = request.getfixturevalue("vhost_url")
    return Ground(lambda **s: MeshConfig(broker_url=url, mesh_encryption_key=KEY, **s))


class Town:
    """Nodes and their keys, and the list by which they know each other."""

    def __init__(self, ground: Ground, *names: str) -> None:
        self._ground = ground
        self.identities = {name: generate_identity() for name in names}
        self.allowed: dict[str, dict[str, Any]] = {
            name: {"public_keys": [self.signer(name).public_key]} for name in names
        }

    def signer(self, name: str, *, speaks_as: str | None = None) -> Signer:
        return Signer(speaks_as or name, self.identities[name])

    def node(self, name: str, **settings: Any) -> MeshConfig:
        return self._ground.node(
            name, node_identity=self.identities[name], allowed_nodes=self.allowed, **settings
        )

    def stranger(self, name: str, **settings: Any) -> MeshConfig:
        """A node that has the key of the mesh and nothing else."""
        return self._ground.node(name, **settings)


@pytest.fixture
def town(ground: Ground) -> Town:
    return Town(ground, "house", "street", "operator")


def letters_of(config: MeshConfig, count: int) -> list[Letter]:
    found: list[Letter] = []

    def enough() -> bool:
        with DeadLetters(config) as box:
            found[:] = box.list()
        return len(found) == count

    wait_until(enough)
    return found


def test_a_listed_node_is_heard_and_no_other(town: Town, launch: Launch) -> None:
    # Given a chart with a list, a node on the list, and two that have the mesh's key alone
    told, door = Recorder(), Heard()
    launch("door", town.node("house", observers=(told,)), door)
    launch("guest", town.stranger("nameless")).transmit(event("unsigned"))
    own_key = town.stranger("unlisted", node_identity=generate_identity())
    launch("visitor", own_key).transmit(event("unlisted"))
    wait_until(lambda: {drop[1] for drop in told.drops} >= {"unsigned", "unknown_node"})
    bell = launch("bell", town.node("street"))
    window = Heard()
    launch("window", town.node("house", observers=(told,)), window)

    # When the listed one speaks
    bell.transmit(event("ring", 1))

    # Then it alone is heard; the others' frames are dead letters
    wait_until(lambda: door == [("ring", 1)] and window == [("ring", 1)])
    assert {each.reason for each in letters_of(town.node("operator"), 2)} == {
        "unsigned",
        "unknown_node",
    }


def test_who_has_no_list_hears_all_nodes(town: Town, launch: Launch) -> None:
    heard = Heard()
    launch("plain", town.stranger("plain"), heard)
    launch("bell", town.node("street")).transmit(event("signed"))
    launch("guest", town.stranger("nameless")).transmit(event("unsigned"))
    wait_until(lambda: sorted(heard) == [("signed", None), ("unsigned", None)])


def test_charts_of_one_node_hear_each_other(town: Town, launch: Launch) -> None:
    door, config = Heard(), town.node("house")
    launch("door", config, door)
    launch("bell", config).transmit(event("ring"))
    wait_until(lambda: door == [("ring", None)])


def forged(network: str, victim: Signer, to: str) -> tuple[Origin, str]:
    """A message in the name of a node, and the topic of the network."""
    origin = "street", "bell", "0123456789ab" + victim.mark, 1
    now = time.time()
    return {
        "mesh": (Envelope(*origin, "ring", b"\xc0", now), DEFAULT_ROUTING_KEY),
        "repair": (RepairMessage(*origin, to, "gone", (origin[2], "bell"), ((1, 9),)), to),
        "roll": (NodeRoll(*origin, now, 5.0, True, (RollEntry("b", "t", "alive"),)), "roll"),
        "deaths": (DeathNote(*origin, now, ()), "house"),
        "marks": (MarkNote(*origin, now, ()), "house"),
    }[network]


@pytest.mark.parametrize("network", ["mesh", "repair", "roll", "deaths", "marks"])
def test_a_thief_with_the_mesh_key_speaks_in_no_name(
    town: Town, launch: Launch, network: str
) -> None:
    # Given a chart, and who has the mesh's key, a key of another node, and a fresh one
    told, door = Recorder(), Heard()
    config = town.node("house", observers=(told,), tell_charts=True)
    chart = launch("door", config, door)
    node = node_of(chart)
    victim = town.signer("street")
    message, topic = forged(network, victim, node.identity.incarnation)
    signers = {
        "unsigned": None,
        "unknown_node": Signer("thief", generate_identity()),
        "bad_signature": town.signer("operator", speaks_as="street"),
        "wrong_node": town.signer("operator"),
    }
    if network in ("deaths", "marks"):
        # There only the node itself is heard.
        signers = {"unsigned": None, "unknown_node": town.signer("operator")}

    # When each of them is used to speak in the name of a node
    for signer in signers.values():
        body = seal(config, message, network=network, topic=topic, signer=signer)
        publish(config, body, network=network, routing_key=topic)

    # Then each is refused with its reason, and nothing of it was heard
    wait_until(lambda: len([d for d in told.drops if d[1] in signers]) == len(signers))
    assert {(d[0], d[1]) for d in told.drops if d[1] in signers} == {
        (network, reason) for reason in signers
    }
    launch("bell", town.node("street")).transmit(event("last"))
    wait_until(lambda: door == [("last", None)])


@pytest.mark.parametrize("network", ["snoop_trace", "snoop_spy", "pulse"])
def test_a_thief_with_the_mesh_key_forges_no_snoop_record(
    town: Town, launch: Launch, network: str
) -> None:
    # Given somebody who watches, by a list, what a listed chart does
    told, seen = Recorder(), list[Origin]()
    config = town.node("house", observers=(told,))
    node = node_of(launch("door", config))
    watched = {"snoop_trace": node.trace, "snoop_spy": node.spy, "pulse": node.statuses}[network]
    node.watch(watched, "test", seen.extend)
    bell = launch("bell", town.node("street"))
    bell.enable_snoop_trace_no_color()
    bell.enable_snoop_spy_no_color()

    def is_seen() -> bool:
        bell.snoop_scribble("look")
        bell.post_fifo(event("ring"))
        return any(each.node == "street" for each in seen)

    wait_until(is_seen)
    origin = "street", "thief", "0123456789ab" + town.signer("street").mark, 1
    record: Origin = SnoopRecord(*origin, "spy", time.time(), "forged")
    if network == "pulse":
        record = NodeStatus(*origin, time.time(), True, 0, (), ())
    topic = watched.routing_key if isinstance(watched, SnoopNetwork) else "pulse"

    # When records in its name are forged
    for signer in (None, town.signer("operator"), Signer("street", generate_identity())):
        body = seal(config, record, network=network, topic=topic, signer=signer)
        publish(config, body, network=network, routing_key=topic)

    # Then none is taken
    wait_until(lambda: sum(d[0] == network for d in told.drops) == 3)
    assert {d[1] for d in told.drops if d[0] == network} == {
        "unsigned",
        "wrong_node",
        "bad_signature",
    }
    assert not any(each.chart == "thief" for each in seen)


def test_a_node_sends_only_what_it_may(town: Town, launch: Launch) -> None:
    # Given a node that may send one signal, under one topic
    town.allowed["street"] |= {"topics": ["town.bell"], "signals": ["ring"]}
    told, door = Recorder(), Heard()
    launch("door", town.node("house", observers=(told,)), door, rx_routing_key="town.#")
    street = town.node("street")
    bell = launch("bell", street, tx_routing_key="town.bell")
    horn = launch("horn", street, tx_routing_key="town.horn")

    # When it sends others too
    horn.transmit(event("ring", "topic"))
    wait_until(lambda: ("mesh", "not_permitted", 1) in told.drops)
    bell.transmit(event("honk", "signal"))
    wait_until(lambda: told.drops.count(("mesh", "not_permitted", 1)) == 2)
    bell.transmit(event("ring", "allowed"))

    # Then they are refused, and the next one comes
    wait_until(lambda: door == [("ring", "allowed")])


def test_a_key_is_changed_without_a_loss(town: Town, launch: Launch) -> None:
    # Given a node whose next key is listed beside the one that it has
    old = town.node("street")
    town.identities["street"] = generate_identity()
    town.allowed["street"]["public_keys"].append(town.signer("street").public_key)
    door = Heard()
    launch("door", town.node("house"), door)
    bell = launch("bell", old)
    bell.transmit(event("ring", "old"))
    wait_until(lambda: door == [("ring", "old")])

    # When it starts with the next one
    bell.stop()
    launch("bell", town.node("street")).transmit(event("ring", "new"))

    # Then both were heard, until the old one is not listed any more
    wait_until(lambda: door == [("ring", "old"), ("ring", "new")])


def test_an_old_key_is_refused_once_it_is_not_listed(town: Town, launch: Launch) -> None:
    old = town.node("street")
    town.identities["street"] = generate_identity()
    town.allowed["street"]["public_keys"] = [town.signer("street").public_key]
    told = Recorder()
    launch("door", town.node("house", observers=(told,)))
    launch("bell", old).transmit(event("ring"))
    wait_until(lambda: ("mesh", "bad_signature", 1) in told.drops)


def test_a_chart_of_a_listed_node_is_told_to_be_up(town: Town, launch: Launch) -> None:
    told: list[str] = []
    house = town.node("house", tell_charts=True, heartbeat_interval_s=1.0)
    launch("door", house, lambda _, e: told.append(e.signal_name))
    launch("bell", town.node("street", heartbeat_interval_s=1.0))
    wait_until(lambda: CHART_UP in told)


def test_a_node_that_starts_again_knows_its_own_notes(town: Town, launch: Launch) -> None:
    told, door = Recorder(), Heard()
    chart = launch("door", town.node("house"), door)
    bell = launch("bell", town.node("street"))
    bell.transmit(event("ring", 1))
    wait_until(lambda: len(door) == 1)
    chart.stop()
    bell.transmit(event("ring", 2))
    launch("door", town.node("house", observers=(told,)), door)
    wait_until(lambda: door.payloads == [1, 2])
    assert not [d for d in told.drops if d[0] in ("deaths", "marks", "mesh")]


@pytest.mark.parametrize("by", ["operator", "street", "stranger"])
def test_dead_letters_are_put_back_by_who_may(town: Town, launch: Launch, by: str) -> None:
    # Given an event that was refused, and an operator who may put it back
    town.allowed["operator"]["may_put_back"] = True
    told, repaired, door = Recorder(), list[bool](), Heard()

    def handle(chart: Any, knock: Any) -> None:
        if not repaired:
            raise ZeroDivisionError
        door(chart, knock)

    house = town.node("house", observers=(told,))
    launch("door", house, handle, on_handler_error="dead_letter")
    launch("bell", town.node("street")).transmit(event("knock", 1))
    (letter,) = letters_of(town.node("operator"), 1)
    assert (letter.sender_node, letter.reason) == ("street", "handler")
    repaired.append(True)

    # When it is put back
    config = town.stranger("operator") if by == "stranger" else town.node(by)
    with DeadLetters(config) as box:
        (outcome,) = box.retry_all()
        assert outcome.error is None

    # Then the chart takes it from who may, and from no other
    if by == "operator":
        wait_until(lambda: door == [("knock", 1)])
    else:
        reason = "wrong_node" if by == "street" else "unsigned"
        wait_until(lambda: ("mesh", reason, 1) in told.drops)
        assert door == []


def test_a_forged_dead_letter_is_shown_as_sealed_and_not_put_back(
    town: Town, launch: Launch
) -> None:
    # Given a letter that a thief with the mesh key has written, in the name of a node
    launch("door", town.node("house"))
    origin = "house", "door", "0123456789ab" + town.signer("house").mark, 1
    knock = Envelope("street", "bell", "0ther", 1, "knock", b"\xc0", time.time())
    fields = "handler", "", exchange_of("mesh"), DEFAULT_ROUTING_KEY, "", 1, 1, "", knock
    letter = DeadLetter(*origin, time.time(), *fields)
    config = town.node("operator")
    body = seal(config, letter, network="letters", topic="handler")
    publish(config, body, network="letters", routing_key="handler")

    # When the operator looks at it, who has a list
    letters_of(config, 1)
    with DeadLetters(config) as box:
        (shown,) = box.list()
        (outcome,) = box.retry_all()

    # Then it tells nothing, and goes nowhere; without a list it would
    assert shown.signal == ""
    assert isinstance(outcome.error, SealedLetterError)
    with DeadLetters(town.stranger("reader")) as box:
        assert [each.signal for each in box.list()] == ["knock"]


def test_a_frame_that_is_not_signed_is_not_put_back(town: Town, launch: Launch) -> None:
    # Given a frame of a thief, and an operator who puts everything back
    town.allowed["operator"]["may_put_back"] = True
    told, door = Recorder(), Heard()
    launch("door", town.node("house", observers=(told,)), door)
    launch("guest", town.stranger("street")).transmit(event("unsigned"))
    (letter,) = letters_of(town.node("operator"), 1)
    assert letter.reason == "unsigned"

    # When it is to be put back
    with DeadLetters(town.node("operator")) as box, pytest.raises(SealedLetterError):
        box.retry(letter)

    # Then the operator's name is not given to it
    assert letters_of(town.node("operator"), 1) == [letter]
    assert door == []
