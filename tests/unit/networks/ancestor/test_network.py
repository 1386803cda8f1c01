"""A network of the ancestor: one message a token, none of ours taken, and each delivery settled."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from cryptography.fernet import Fernet

from miros_mesh.errors import FrameError, MalformedFrameError, PermissionDeniedError
from miros_mesh.networks.ancestor.network import EXCHANGES, MESH, AncestorNetwork
from miros_mesh.networks.network import COMPLAIN_EVERY_S, UNNUMBERED, Refusal
from miros_mesh.wire.ancestor.events import EventCodec
from miros_mesh.wire.envelope import Envelope
from miros_mesh.wire.freshness import Freshness, Limits
from miros_mesh.wire.keyring import KeyRing
from miros_mesh.wire.serializer import MsgpackSerializer
from support.ports_in_hand import Handed, Shelf
from support.post_office import Notebook
from support.sealed import KEY, envelope

EVENT = ("10.0.0.1", '{"signal_name": "PING", "payload": 1}')


@pytest.fixture
def notes() -> Notebook:
    return Notebook()


@pytest.fixture
def network(notes: Notebook) -> AncestorNetwork[Envelope]:
    return made(notes)


def made(notes: Notebook, home: str = "10.0.0.7") -> AncestorNetwork[Envelope]:
    codec = EventCodec(
        KeyRing([KEY]),
        MsgpackSerializer(),
        {},
        address=lambda: home,
        max_event_bytes=1_000,
        max_bytes=10_000,
    )
    return AncestorNetwork(MESH, codec, notes, Limits())


def delivery(value: object) -> Handed:
    return Handed(Fernet(KEY).encrypt(pickle.dumps(value)))


def test_each_event_is_a_token_of_its_own_behind_all_else(
    network: AncestorNetwork[Envelope],
) -> None:
    shelf = Shelf()
    network.attach(shelf)()
    for _ in range(3):
        network.send("key", envelope(UNNUMBERED, "PING"), persistent=False)

    assert len(shelf.parcels) == 3
    assert {(each.exchange, each.events) for each in shelf.parcels} == {(EXCHANGES[0], 1)}
    assert all(each.expendable and not each.persistent for each in shelf.parcels)
    bodies = [Fernet(KEY).decrypt(each.seal()) for each in shelf.parcels]
    assert {pickle.loads(body)[0] for body in bodies} == {"10.0.0.7"}


def test_an_event_of_theirs_is_left_to_who_handles_it(network: AncestorNetwork[Envelope]) -> None:
    came = delivery(EVENT)
    assert [each.signal for each in network.open(came, Freshness()).messages] == ["PING"]
    assert (came.acks, came.rejects) == (0, 0)


def test_ours_and_a_scouts_word_are_acknowledged(network: AncestorNetwork[Envelope]) -> None:
    shelf = Shelf()
    network.attach(shelf)()
    network.send("key", envelope(UNNUMBERED, "PING"))
    for came in (Handed(shelf.parcels[0].seal()), delivery("0123456789AB")):
        assert network.open(came, Freshness()).messages == []
        assert (came.acks, came.rejects) == (1, 0)


def test_what_is_refused_is_rejected_once_or_left_to_who_asks(
    network: AncestorNetwork[Envelope], notes: Notebook
) -> None:
    first, second, refusals = delivery(1), delivery(1), list[FrameError]()
    network.open(first, Freshness())
    network.open(second, Freshness(), refusals.append)

    assert (first.acks, first.rejects) == (0, 1)
    assert (second.acks, second.rejects) == (0, 0)
    assert [type(each) for each in refusals] == [MalformedFrameError]


def test_what_is_refused_is_said_again_after_a_pause_with_its_number(
    network: AncestorNetwork[Envelope], caplog: pytest.LogCaptureFixture
) -> None:
    now = [1_000.0]
    network._complaints._clock = lambda: now[0]
    for _ in range(3):
        network.open(delivery(1), Freshness())
    now[0] += COMPLAIN_EVERY_S
    network.open(delivery(1), Freshness())
    said = [each.getMessage() for each in caplog.records]
    assert [each.partition(":")[0] for each in said] == [
        "refused on ancestor_mesh, 1 time(s)",
        "refused on ancestor_mesh, 3 time(s)",
    ]


@pytest.mark.parametrize("home", ["10.0.0.7", "rabbit.example.com", "::1"])
def test_what_a_broker_refuses_of_it_is_counted_and_not_read(notes: Notebook, home: str) -> None:
    network, shelf, aside = made(notes, home), Shelf(), list[Refusal[Any]]()
    network.attach(shelf)()
    network.set_aside = aside.append
    network.send("key", envelope(UNNUMBERED, "PING"), persistent=False)
    shelf.parcels[0].refused("shelf", PermissionDeniedError("no"))
    assert notes.drops == {"permission": 1}
    assert aside == []
