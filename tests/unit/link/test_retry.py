"""Retry policies: how often, how long between, and the moment at which they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import tenacity

from miros_mesh.errors import (
    BrokerUnreachableError,
    ConfirmTimeoutError,
    CredentialsRefusedError,
    LinkError,
    MeshError,
    PayloadError,
    TlsError,
)
from miros_mesh.link.retry import connect_policy, reconnect_policy
from support.post_office import LIMIT_S
from support.waiting import wait_until

PASSING = BrokerUnreachableError("nobody there")
LASTING = CredentialsRefusedError("wrong password")


class Door:
    """Something that fails so often, and then opens."""

    def __init__(self, error: Exception, failures: int = 1_000_000) -> None:
        self.calls = 0
        self._error = error
        self._failures = failures

    def __call__(self) -> str:
        self.calls += 1
        if self.calls > self._failures:
            return "open"
        raise self._error


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def waits(policy: tenacity.Retrying, error: Exception, attempts: int) -> list[float]:
    """What a policy would wait after each of so many failures."""
    state = tenacity.RetryCallState(policy, None, (), {})
    state.set_exception((type(error), error, None))
    durations = []
    for attempt in range(1, attempts + 1):
        state.attempt_number = attempt
        durations.append(policy.wait(state))
    return durations


def test_a_first_connection_is_tried_as_often_as_told(stop: threading.Event) -> None:
    door = Door(PASSING)

    with pytest.raises(BrokerUnreachableError):
        connect_policy(stop, 3)(door)

    assert door.calls == 3


def test_a_first_connection_that_succeeds_later_succeeds(stop: threading.Event) -> None:
    assert connect_policy(stop, 3)(Door(PASSING, failures=2)) == "open"


@pytest.mark.parametrize("error", [LASTING, TlsError("no"), PayloadError("no"), ValueError("no")])
def test_a_first_connection_is_not_tried_again_where_a_person_must_act(
    stop: threading.Event, error: Exception
) -> None:
    door = Door(error)

    with pytest.raises(type(error)):
        connect_policy(stop, 5)(door)

    assert door.calls == 1


def test_a_lost_connection_is_tried_for_as_long_as_it_takes(stop: threading.Event) -> None:
    policy = reconnect_policy(stop).copy(sleep=lambda _: None)

    assert policy(Door(PASSING, failures=500)) == "open"
    assert policy(Door(LASTING, failures=500)) == "open"


@pytest.mark.parametrize("error", [PayloadError("no"), ValueError("no")])
def test_an_error_that_is_none_of_the_links_ends_a_reconnect(
    stop: threading.Event, error: Exception
) -> None:
    door = Door(error)

    with pytest.raises(type(error)):
        reconnect_policy(stop)(door)

    assert door.calls == 1


@pytest.mark.parametrize("error", [PASSING, ConfirmTimeoutError("late")])
def test_an_error_that_passes_is_tried_again_soon(stop: threading.Event, error: LinkError) -> None:
    durations = waits(reconnect_policy(stop), error, 20)

    assert durations[0] < 0.5
    assert max(durations) <= 2.0


def test_an_error_that_needs_a_person_is_tried_again_within_seconds(stop: threading.Event) -> None:
    durations = waits(reconnect_policy(stop), LASTING, 50)

    assert min(durations) >= 1.0
    assert max(durations) <= 3.0
    # Nodes that are refused together do not come back together.
    assert len(set(durations)) > 40


@pytest.mark.parametrize(
    "make",
    [lambda stop, failed: connect_policy(stop, 3, failed), reconnect_policy],
    ids=["first", "again"],
)
def test_each_failure_that_is_tried_again_is_told(
    stop: threading.Event, make: Callable[..., tenacity.Retrying]
) -> None:
    told: list[LinkError] = []

    assert make(stop, told.append).copy(sleep=lambda _: None)(Door(PASSING, failures=2)) == "open"

    assert told == [PASSING, PASSING]


def test_a_failure_that_ends_the_attempts_is_raised_and_not_told(stop: threading.Event) -> None:
    told: list[LinkError] = []

    with pytest.raises(CredentialsRefusedError):
        connect_policy(stop, 3, told.append)(Door(LASTING))

    assert told == []


@pytest.mark.parametrize(
    "make", [lambda stop: connect_policy(stop, 1_000), reconnect_policy], ids=["first", "again"]
)
@pytest.mark.parametrize("error", [PASSING, LASTING], ids=["passing", "lasting"])
def test_stop_ends_every_policy_at_once(
    stop: threading.Event, make: Callable[[threading.Event], tenacity.Retrying], error: MeshError
) -> None:
    # Given a policy that waits between two attempts
    door, ended = Door(error), list[BaseException]()

    def knock() -> None:
        try:
            make(stop)(door)
        except MeshError as given_up:
            ended.append(given_up)

    knocking = threading.Thread(target=knock)
    knocking.start()
    wait_until(lambda: door.calls)

    # When the node stops
    stop.set()
    stopped_at = time.monotonic()
    knocking.join(LIMIT_S)

    # Then it gives up now, with the error that it met
    assert time.monotonic() - stopped_at < 0.5
    assert ended == [error]


@pytest.mark.parametrize(
    "make",
    [lambda stop, failed: connect_policy(stop, 1_000, failed), reconnect_policy],
    ids=["first", "again"],
)
def test_no_attempt_follows_a_pause_in_which_stop_was_set(
    stop: threading.Event, make: Callable[..., tenacity.Retrying]
) -> None:
    door = Door(PASSING)

    with pytest.raises(BrokerUnreachableError) as raised:
        make(stop, lambda _: stop.set())(door)

    assert (door.calls, raised.value) == (1, PASSING)


def test_after_stop_there_is_one_attempt_and_no_second(stop: threading.Event) -> None:
    stop.set()
    door = Door(PASSING)

    with pytest.raises(BrokerUnreachableError):
        reconnect_policy(stop)(door)

    assert door.calls == 1
