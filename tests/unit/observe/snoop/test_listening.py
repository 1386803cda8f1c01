"""The clock by which nodes are silent."""

from __future__ import annotations

import pytest

from miros_mesh.observe.snoop.listening import BACK_WITHIN_S, ListeningClock


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def real() -> Time:
    return Time()


@pytest.fixture
def clock(real: Time) -> ListeningClock:
    return ListeningClock(real)


def test_it_stands_while_cut_off_and_until_others_could_have_told(
    real: Time, clock: ListeningClock
) -> None:
    real.now += 7
    clock.stand(clock())
    real.now += 600
    assert clock() == 107
    clock.go_on()
    real.now += BACK_WITHIN_S - 0.5
    assert clock() == 107
    real.now += 2.5
    assert clock() == 109


def test_a_loss_that_is_known_late_was_at_the_last_sign_of_life(
    real: Time, clock: ListeningClock
) -> None:
    real.now += 30
    clock.stand(101.0)
    # The other connection, or the next attempt.
    clock.stand(clock())
    assert clock() == 101


def test_one_that_is_lost_again_soon_stands_on(real: Time, clock: ListeningClock) -> None:
    clock.stand(clock())
    clock.go_on()
    real.now += BACK_WITHIN_S / 2
    clock.stand(clock())
    real.now += 600
    assert clock() == 100


def test_one_that_never_stood_goes_as_time_goes(real: Time, clock: ListeningClock) -> None:
    clock.go_on()
    real.now += 1
    assert clock() == 101
