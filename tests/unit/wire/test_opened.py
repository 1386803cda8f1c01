"""Frames that several queues of a process bring: opened once, and refused as if each was opened."""

from __future__ import annotations

import time

import pytest

from miros_mesh.address import Hearing
from miros_mesh.errors import (
    OldFrameError,
    UndecryptableFrameError,
    WrongNetworkError,
    WrongTopicError,
)
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import Envelope
from miros_mesh.wire.freshness import Freshness
from miros_mesh.wire.keyring import KeyRing, generate_key
from miros_mesh.wire.opened import Opened, RecentlyOpened

KEY, OTHER_KEY = generate_key(), generate_key()
LIMIT = 100_000
TOPIC = "a.b"
ENVELOPE = Envelope("node-1", "chart_a", "6f1c0d9be2a34c5d", 3, "ping", b"\xc0", 0.0)


class CountingRing(KeyRing):
    """A key ring that counts what it opens."""

    opened = 0

    def open(self, sealed: bytes) -> bytes:
        self.opened += 1
        return super().open(sealed)


class Receiver:
    """A node with so many queues of one network."""

    def __init__(self, queues: int, ring: KeyRing | None = None, network: str = "mesh") -> None:
        self.ring = CountingRing([KEY])
        self.codec = Codec(network, ring or self.ring, Envelope, max_frame_bytes=LIMIT)
        self.queues = [Freshness() for _ in range(queues)]
        self.codec.queues.update(self.queues)

    def receive(self, frame: bytes, queue: int, topic: str = TOPIC) -> list[Envelope]:
        return self.codec.receive(frame, topic, self.queues[queue], again=False).messages


sender = Codec("mesh", KeyRing([KEY]), Envelope, max_frame_bytes=LIMIT)


def sealed() -> bytes:
    return sender.seal([sender.encode(ENVELOPE)], TOPIC)


def test_a_frame_of_three_queues_is_opened_once() -> None:
    receiver, frame = Receiver(3), sealed()

    # Each queue brings bytes of its own.
    assert [receiver.receive(bytes(bytearray(frame)), n) for n in range(3)] == [[ENVELOPE]] * 3
    assert receiver.ring.opened == 1


def test_where_there_is_one_queue_nothing_is_kept() -> None:
    receiver, frame = Receiver(1), sealed()

    assert receiver.receive(frame, 0) == [ENVELOPE]
    assert receiver.codec._recent.find(frame, receiver.ring.current) is None


def test_a_queue_that_has_ended_counts_no_more() -> None:
    receiver = Receiver(2)
    del receiver.queues[1]

    receiver.receive(frame := sealed(), 0)

    assert receiver.codec._recent.find(frame, receiver.ring.current) is None


def test_a_key_that_was_removed_meanwhile_opens_nothing() -> None:
    ring = KeyRing([OTHER_KEY, KEY])
    receiver, frame = Receiver(2, ring), sealed()
    receiver.receive(frame, 0)

    ring.remove(KEY)

    with pytest.raises(UndecryptableFrameError):
        receiver.receive(frame, 1)


def test_a_key_that_was_removed_from_the_ring_behind_opens_nothing() -> None:
    default = KeyRing([OTHER_KEY, KEY])
    receiver, frame = Receiver(2, KeyRing(default=default)), sealed()
    receiver.receive(frame, 0)

    default.remove(KEY)

    with pytest.raises(UndecryptableFrameError):
        receiver.receive(frame, 1)


def test_a_change_of_keys_that_leaves_the_key_costs_one_more_look() -> None:
    receiver, frame = Receiver(2), sealed()
    receiver.receive(frame, 0)

    receiver.ring.add(OTHER_KEY)

    assert receiver.receive(frame, 1) == [ENVELOPE]
    assert receiver.ring.opened == 2


def test_bytes_that_differ_in_one_bit_are_other_bytes() -> None:
    receiver, frame = Receiver(2), sealed()
    receiver.receive(frame, 0)

    for place in range(1, len(frame)):
        other = bytearray(frame)
        other[place] ^= 1
        with pytest.raises(UndecryptableFrameError):
            receiver.receive(bytes(other), 1)


def test_each_queue_is_asked_for_its_topics() -> None:
    receiver, frame = Receiver(2), sealed()
    receiver.receive(frame, 0)

    with pytest.raises(WrongTopicError, match="under another one"):
        receiver.receive(frame, 1, "a.c")
    receiver.queues[1].is_for = Hearing(("a.c",))
    with pytest.raises(WrongTopicError, match="a queue that is not for it"):
        receiver.receive(frame, 1)


def test_each_queue_says_itself_what_is_old() -> None:
    receiver = Receiver(2)
    receiver.queues[0] = Freshness(kept_s=7200.0)
    sender._wall = lambda: time.time() - 3600.0
    try:
        frame = sealed()
    finally:
        sender._wall = time.time

    assert receiver.receive(frame, 0) == [ENVELOPE]
    with pytest.raises(OldFrameError):
        receiver.receive(frame, 1)


def test_a_frame_of_another_network_is_refused_at_each_queue() -> None:
    receiver, frame = Receiver(2, network="other"), sealed()

    for queue in (0, 1):
        with pytest.raises(WrongNetworkError):
            receiver.receive(frame, queue)


def opened(frame: bytes, keys: object = KEY) -> Opened[Envelope]:
    return Opened(frame, keys, None, [ENVELOPE])


def test_of_more_frames_than_that_the_oldest_goes() -> None:
    recent: RecentlyOpened[Envelope] = RecentlyOpened(frames=3)
    frames = [bytes([number]) * 40 for number in range(5)]

    for each in frames:
        recent.keep(opened(each))

    assert [recent.find(each, KEY) is not None for each in frames] == [False] * 2 + [True] * 3


def test_no_more_bytes_are_kept_than_allowed() -> None:
    recent: RecentlyOpened[Envelope] = RecentlyOpened(size_bytes=100)
    frames = [bytes([number]) * 40 for number in range(3)]

    for each in (*frames, *frames):
        recent.keep(opened(each))
    assert [recent.find(each, KEY) is not None for each in frames] == [False, True, True]

    recent.keep(opened(b"large" * 100))
    assert recent._bytes == 0
    assert not recent._frames


def test_a_frame_with_the_same_end_takes_the_place_of_the_one_before() -> None:
    recent: RecentlyOpened[Envelope] = RecentlyOpened()
    one, other = b"one" + b"=" * 16, b"other" + b"=" * 16
    recent.keep(opened(one))
    assert recent.find(other, KEY) is None

    recent.keep(opened(other))

    assert recent.find(one, KEY) is None
    assert recent.find(other, KEY) is not None
    assert recent._bytes == len(other)
