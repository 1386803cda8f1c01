"""The frames of one's own are known again, once each."""

from __future__ import annotations

from miros_mesh.networks.echoes import Echoes


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
