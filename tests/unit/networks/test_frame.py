"""A frame while it is filled: its limits, its end, and its one seal."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.errors import MessageTooLargeError
from miros_mesh.networks.frame import Frame
from support.sealed import Joiner


def frame(
    sealer: Joiner | None = None,
    *,
    max_events: int = 3,
    max_bytes: int = 10,
    persistent: bool = True,
    shared: bool = False,
) -> Frame:
    return Frame(
        sealer or Joiner(),
        "key",
        exchange="miros_mesh.v1.mesh",
        persistent=persistent,
        shared=shared,
        max_events=max_events,
        max_bytes=max_bytes,
    )


def test_a_frame_knows_what_it_holds() -> None:
    filled = frame()

    assert filled.add_all([b"abc"])
    assert filled.add_all([b"de"])

    assert (filled.events, filled.size_bytes) == (2, 5)
    assert (filled.network, filled.exchange, filled.routing_key) == (
        "mesh",
        "miros_mesh.v1.mesh",
        "key",
    )


def test_an_empty_frame_takes_a_message_of_any_size() -> None:
    filled = frame()

    assert filled.add_all([b"x" * 1_000])

    assert not filled.add_all([b""])


@pytest.mark.parametrize("messages", [[b"", b"", b""], [b"12345", b"67890"]])
def test_a_full_frame_takes_no_more(messages: list[bytes]) -> None:
    full = frame()
    assert all(full.add_all([message]) for message in messages)

    assert not full.add_all([b"y"])

    assert full.events == len(messages)


def test_a_closed_frame_takes_no_more() -> None:
    closed = frame()
    closed.add_all([b"a"])

    closed.close()

    assert not closed.add_all([b"b"])
    assert closed.seal() == b"a"


def test_a_frame_is_sealed_once_however_many_peers_ask() -> None:
    sealer = Joiner()
    shared = frame(sealer, shared=True)
    shared.add_all([b"a"])
    shared.add_all([b"b"])

    first, second = shared.seal(), shared.seal()

    assert first == b"a|b"
    assert first is second
    assert sealer.sealed == [[b"a", b"b"]]
    assert not shared.add_all([b"c"])
    assert shared.messages() == [b"a", b"b"]


def test_a_frame_for_one_peer_keeps_its_messages_themselves_and_no_sealed_bytes() -> None:
    sealer, message = Joiner(), b"message"
    alone = frame(sealer)
    alone.add_all([message])

    assert alone.seal() == alone.seal() == b"message"

    # Sealed anew for each publication: what waits for its confirm is there once, as it was sent.
    assert sealer.sealed == [[message], [message]]
    assert alone.messages()[0] is message


def test_a_sealed_frame_still_knows_what_it_held() -> None:
    sealed = frame()
    sealed.add_all([b"abc"])

    sealed.seal()

    assert (sealed.events, sealed.size_bytes) == (1, 3)


@given(st.lists(st.binary(max_size=12), max_size=40), st.integers(1, 5), st.integers(0, 20))
def test_packing_keeps_every_message_in_order_and_every_frame_within_its_limits(
    messages: list[bytes], max_events: int, max_bytes: int
) -> None:
    sealer = Joiner()
    frames: list[Frame] = []

    for message in messages:
        if not (frames and frames[-1].add_all([message])):
            frames.append(frame(sealer, max_events=max_events, max_bytes=max_bytes))
            assert frames[-1].add_all([message])
    for filled in frames:
        filled.seal()

    assert [message for packed in sealer.sealed for message in packed] == messages
    for packed in sealer.sealed:
        size = sum(len(message) for message in packed)
        assert len(packed) == 1 or (len(packed) <= max_events and size <= max_bytes)


def test_what_was_taken_while_another_thread_seals_is_in_the_frame() -> None:
    for _ in range(50):
        sealer = Joiner()
        shared = frame(sealer, max_events=10_000, max_bytes=10_000)
        shared.add_all([b"first"])
        begin = threading.Barrier(2)

        def seal(shared: Frame = shared, begin: threading.Barrier = begin) -> None:
            begin.wait()
            shared.seal()

        sealing = threading.Thread(target=seal)
        sealing.start()
        begin.wait()
        taken = 1
        while shared.add_all([b"more"]):
            taken += 1
        sealing.join()

        assert len(sealer.sealed[0]) == taken == shared.events


def test_a_frame_is_split_into_halves_with_all_its_messages_in_order() -> None:
    sealer = Joiner()
    whole = frame(sealer, max_events=5, max_bytes=100)
    whole.add_all([b"one", b"two", b"three"])
    whole.seal()

    first, second = whole.split()

    assert (first.events, first.size_bytes) == (1, 3)
    assert (second.events, second.size_bytes) == (2, 8)
    assert (first.seal(), second.seal()) == (b"one", b"two|three")
    assert not first.add_all([b"late"])
    assert (whole.events, whole.size_bytes) == (3, 11)
    assert [part.seal() for part in second.split()] == [b"two", b"three"]


@pytest.mark.parametrize("persistent", [True, False])
def test_parts_of_a_frame_are_kept_as_it_is(*, persistent: bool) -> None:
    whole = frame(persistent=persistent)
    whole.add_all([b"a", b"b"])

    assert [part.persistent for part in whole.split()] == [persistent, persistent]


def test_a_frame_of_one_message_is_not_split() -> None:
    single = frame()
    single.add_all([b"one"])

    assert single.split() == ()
    assert not single.add_all([b"two"])


def test_a_refusal_reaches_the_network_with_what_was_in_the_frame() -> None:
    sealer, error = Joiner(), MessageTooLargeError("no")
    refused = frame(sealer)
    refused.add_all([b"one", b"two"])
    refused.seal()

    refused.refused("broker", error)

    assert sealer.refusals == [(refused, "broker", error)]
    assert refused.messages() == [b"one", b"two"]


def test_who_waits_to_hear_of_a_frame_hears_of_no_queue_where_it_needs_one() -> None:
    for needs, said in ((True, "unrouted"), (False, "stored")):
        heard: list[str] = []
        told = Frame(
            Joiner(), "key", exchange="e", max_events=3, max_bytes=10, settled=heard.append
        )
        told.needs_queue = needs

        told.stored("broker", routed=False)
        told.stored("broker", routed=True)

        assert heard == [said, "stored"]


def test_a_frame_that_somebody_waits_to_hear_of_is_not_split() -> None:
    told = Frame(Joiner(), "key", exchange="e", max_events=3, max_bytes=10, settled=lambda _: None)
    told.add_all([b"a", b"b"])

    assert told.split() == ()
