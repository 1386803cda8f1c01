"""The pauses after a nack: how long, how gently afterwards, and how often they are logged."""

from __future__ import annotations

import time

import pytest

from miros_mesh.link.nack_backoff import NackBackoff


def pause_after(backoff: NackBackoff) -> float:
    """How long it pauses after one more nack."""
    before = time.monotonic()
    backoff.nacked(1)
    return backoff.resume_at - before


def test_each_pause_is_twice_as_long_up_to_a_second() -> None:
    backoff = NackBackoff("broker")

    pauses = [pause_after(backoff) for _ in range(7)]

    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0], abs=0.04)


def test_after_a_confirm_the_next_pause_is_short_again() -> None:
    backoff = NackBackoff("broker")
    for _ in range(4):
        backoff.nacked(1)

    backoff.confirmed()

    assert pause_after(backoff) == pytest.approx(0.05, abs=0.04)


def test_after_the_pause_parcels_still_go_one_by_one() -> None:
    backoff = NackBackoff("broker")
    assert not backoff.pausing
    assert not backoff.one_by_one

    backoff.nacked(1)
    backoff.resume_at = time.monotonic()

    assert not backoff.pausing
    assert backoff.one_by_one


def test_a_full_queue_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    backoff = NackBackoff("broker")

    for _ in range(5):
        backoff.nacked(3)

    assert [record.getMessage() for record in caplog.records] == [
        "publisher waits: broker did not store 3 messages, a queue may be full; they are sent again"
    ]
