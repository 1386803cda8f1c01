"""How old a frame may be, by clocks that tests turn by hand."""

from __future__ import annotations

import pytest

from miros_mesh.errors import ClockError, OldFrameError
from miros_mesh.wire.envelope import RESEAL_AFTER_S
from miros_mesh.wire.freshness import Freshness, Limits

BEGAN = 1_000_000.0
LIMITS = Limits(window_s=600.0, clock_error_s=30.0)
HOUR_S = 3600.0


class Clocks:
    """The time of day, and the steady clock."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.steady = 77.0

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.steady += seconds

    def freshness(self, kept_s: float = 0.0) -> Freshness:
        return Freshness(LIMITS, kept_s=kept_s, wall=lambda: self.now, steady=lambda: self.steady)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def test_what_was_sealed_since_the_receiver_listens_is_surely_new(clocks: Clocks) -> None:
    freshness = clocks.freshness()
    clocks.pass_time(1.0)
    assert [freshness.admit(BEGAN + late) for late in (0.0, 0.5, 1.0)] == [True] * 3


def test_what_was_sealed_shortly_before_is_in_doubt(clocks: Clocks) -> None:
    freshness = clocks.freshness()
    assert not freshness.admit(BEGAN - 0.001)
    assert not freshness.admit(BEGAN - 30.0 - RESEAL_AFTER_S)


def test_what_was_sealed_before_that_is_old(clocks: Clocks) -> None:
    freshness = clocks.freshness()
    with pytest.raises(OldFrameError, match="node 'afar' was sealed 36 s before"):
        freshness.admit(BEGAN - 36.0, node="afar")


def test_a_queue_that_kept_frames_may_bring_older_ones(clocks: Clocks) -> None:
    freshness = clocks.freshness(kept_s=HOUR_S)
    assert freshness.admit(BEGAN - HOUR_S)
    assert not freshness.admit(BEGAN - HOUR_S - 1)
    with pytest.raises(OldFrameError):
        freshness.admit(BEGAN - HOUR_S - 36)


@pytest.mark.parametrize("ahead_s", [0.0, 29.9])
def test_a_clock_may_be_ahead_by_a_little(clocks: Clocks, ahead_s: float) -> None:
    assert clocks.freshness().admit(BEGAN + ahead_s)


def test_a_clock_that_is_ahead_by_more_is_wrong(clocks: Clocks) -> None:
    freshness = clocks.freshness()
    with pytest.raises(ClockError, match=r"sealed 3,600 s from now .* \(clock_error_s\)"):
        freshness.admit(BEGAN + HOUR_S)
    # And changes nothing for the others.
    assert freshness.admit(BEGAN)


def test_behind_a_slow_chart_a_frame_may_wait_for_any_time(clocks: Clocks) -> None:
    freshness = clocks.freshness()
    clocks.pass_time(100 * HOUR_S)
    assert [freshness.admit(BEGAN + waited) for waited in range(5)] == [True] * 5


def test_what_is_older_than_the_newest_one_by_the_window_is_old(clocks: Clocks) -> None:
    freshness = clocks.freshness()
    clocks.pass_time(HOUR_S)
    freshness.admit(clocks.now)
    assert freshness.admit(clocks.now - 599.0)
    with pytest.raises(OldFrameError, match=r"601 s before one that came earlier.*replay_window_s"):
        freshness.admit(clocks.now - 601.0)
    # A broker may deliver again what it has delivered before all that.
    assert freshness.admit(clocks.now - 601.0, again=True)


def test_a_clock_that_is_put_right_while_we_listen_cuts_nothing_off(clocks: Clocks) -> None:
    freshness = clocks.freshness()
    clocks.pass_time(10.0)
    # It was an hour ahead.
    clocks.now -= HOUR_S
    assert freshness.admit(clocks.now)
    assert freshness.admit(clocks.now - 10.0)
    assert not freshness.admit(clocks.now - 11.0)
