"""The age of what another host sent, by two clocks."""

from __future__ import annotations

import threading

from miros_mesh.timing.sender_clocks import SenderClocks

NOW = 1_700_000_000.0


class Hands:
    """Both clocks of a host, turned by the test."""

    def __init__(self) -> None:
        self.wall, self.steady = NOW, 50.0

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    @property
    def clocks(self) -> SenderClocks:
        return SenderClocks(lambda: self.wall, lambda: self.steady)


def test_where_no_clock_is_seen_to_be_ahead_the_age_is_what_both_say() -> None:
    clocks = Hands().clocks
    assert [clocks.age_s("a", NOW), clocks.age_s("a", NOW - 7)] == [0, 7]


def test_a_clock_that_is_seen_to_be_ahead_is_allowed_for_and_no_other() -> None:
    clocks = Hands().clocks
    assert clocks.age_s("ahead", NOW + 20) == 0
    # Not sent now: it was on its way for five seconds, or for as long as the other one says.
    assert clocks.age_s("ahead", NOW + 15) == 5
    assert clocks.age_s("ahead", NOW - 1) == 21
    assert clocks.age_s("other", NOW - 1) == 1


def test_a_clock_that_was_put_right_is_allowed_for_two_minutes_at_most() -> None:
    hands = Hands()
    clocks = hands.clocks
    clocks.age_s("a", NOW + 20)
    ages = []
    for _ in range(13):
        hands.advance(10)
        ages.append(clocks.age_s("a", hands.wall - 1))
    assert ages == [21] * 11 + [1] * 2


def test_nothing_is_left_of_a_sender_that_was_silent() -> None:
    hands = Hands()
    clocks = hands.clocks
    clocks.age_s("a", NOW + 20)
    hands.advance(121)
    assert clocks.age_s("a", hands.wall - 1) == 1


def test_a_clock_that_stays_ahead_is_allowed_for_as_long_as_it_shows() -> None:
    hands = Hands()
    clocks = hands.clocks
    for _ in range(30):
        assert clocks.age_s("a", hands.wall + 20) == 0
        hands.advance(30)
        assert clocks.age_s("a", hands.wall + 17) == 3


def test_threads_that_hear_of_more_clocks_than_are_kept_are_in_no_ones_way() -> None:
    clocks, errors = Hands().clocks, list[BaseException]()

    def hear(first: int) -> None:
        try:
            for number in range(first, first + 4_000):
                clocks.age_s(f"node-{number}", NOW + 1)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=hear, args=(number * 2_000,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert errors == []
    # The newest are known
    clocks.age_s("new", NOW + 1)
    assert clocks.age_s("new", NOW) == 1
