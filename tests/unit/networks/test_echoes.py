"""The frames of one's own are known again, once each."""

from __future__ import annotations

import os

import pytest

from miros_mesh.networks.echoes import Echoes, Published, mark_of
from miros_mesh.wire.envelope import MAX_SEQUENCE


def frame(number: int) -> bytes:
    return b"content " + number.to_bytes(32, "big")


def test_a_frame_that_comes_back_is_known_once() -> None:
    echoes = Echoes()
    echoes.expect(frame(1), 7)

    assert echoes.take(frame(2)) == 0
    assert [echoes.take(frame(1)) for _ in range(2)] == [7, 0]


def test_the_oldest_frames_are_forgotten() -> None:
    echoes = Echoes(frames=2)
    for number in range(3):
        echoes.expect(frame(number), 1)

    assert [echoes.take(frame(number)) for number in range(3)] == [0, 1, 1]


def test_how_long_ago_what_was_published_is_told() -> None:
    now = [0.0]
    published = Published(clock=lambda: now[0])
    frames = [os.urandom(100) for _ in range(3)]
    for frame in frames[:2]:
        published.note(frame)
        now[0] += 10.0
    marks = [mark_of(frame) for frame in frames]

    assert published.ages(marks) == {marks[0]: 20.0, marks[1]: 10.0}
    # The last time counts.
    published.note(frames[0])
    assert published.ages(marks[:1]) == {marks[0]: 0.0}


def test_the_last_published_are_remembered() -> None:
    published = Published(frames=2)
    frames = [os.urandom(100) for _ in range(3)]
    for frame in frames:
        published.note(frame)

    marks = [mark_of(frame) for frame in frames]
    assert list(published.ages(marks)) == marks[1:]


@pytest.mark.parametrize("end", [b"\0" * 8, b"\xff" * 8])
def test_a_mark_is_a_number_that_a_message_takes(end: bytes) -> None:
    assert 1 <= mark_of(b"frame" + end) <= MAX_SEQUENCE
