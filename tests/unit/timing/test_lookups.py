"""Calls that hang hold nobody for longer than a limit, and not beyond a stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from miros_mesh.timing import lookups
from miros_mesh.timing.lookups import Lookups
from support.waiting import wait_until

LIMIT_S = 10.0
LONG_S = 600.0


@pytest.fixture
def dead() -> Iterator[threading.Event]:
    """What a dead resolver waits for, until the test is over."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def made() -> Lookups:
    return Lookups("mesh-test-lookup")


def test_a_call_that_returns(made: Lookups) -> None:
    assert made.result("name", lambda: "address", LIMIT_S) == "address"


def test_a_call_that_raises(made: Lookups) -> None:
    def unknown() -> str:
        raise OSError("no such name")

    with pytest.raises(OSError, match="no such name"):
        made.result("name", unknown, LIMIT_S)


def test_a_call_that_hangs_is_given_up(made: Lookups, dead: threading.Event) -> None:
    with pytest.raises(TimeoutError, match=r"name could not be looked up within 0\.01 s"):
        made.result("name", dead.wait, 0.01)


def test_of_several_one_that_hangs_does_not_hide_the_others(
    made: Lookups, dead: threading.Event
) -> None:
    found = made.results({"dead": dead.wait, "one": lambda: 1, "two": lambda: 2}, 0.2)
    assert (found["one"], found["two"]) == (1, 2)
    assert isinstance(found["dead"], TimeoutError)


def test_stop_ends_every_wait_and_lets_none_begin(made: Lookups, dead: threading.Event) -> None:
    # Given one who waits
    errors: list[Exception] = []

    def wait() -> None:
        try:
            made.result("name", dead.wait, LONG_S)
        except OSError as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: made._under_way)
    # When it stops
    made.stop()
    made.stop()
    # Then nobody waits any more
    waiting.join(LIMIT_S)
    assert len(errors) == 1
    with pytest.raises(TimeoutError, match="not looked up any more"):
        made.result("other", dead.wait, LONG_S)


def test_a_name_that_hangs_is_asked_for_once_however_often_somebody_wants_it(
    made: Lookups, dead: threading.Event
) -> None:
    asked: list[int] = []

    def ask() -> bool:
        asked.append(1)
        return dead.wait()

    for _ in range(20):
        with pytest.raises(TimeoutError):
            made.result("name", ask, 0.01)
    assert len(asked) == 1
    # And when it has an answer at last, the next one gets it
    dead.set()
    assert made.result("name", ask, LIMIT_S) is True
    wait_until(lambda: not made._under_way)


def test_a_dead_resolver_holds_a_bounded_number_of_threads(
    made: Lookups, dead: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "MOST_AT_ONCE", 3)
    found = made.results({f"name{number}": dead.wait for number in range(10)}, 0.1)
    assert sum("others wait" in str(each) for each in found.values()) == 7
    assert sum(t.name == "mesh-test-lookup" for t in threading.enumerate()) == 3


def test_more_names_than_are_asked_for_at_a_time_are_all_answered(made: Lookups) -> None:
    """A hosts file may have a hundred names, and each takes its time."""
    gate = threading.Barrier(lookups.MOST_OF_ONE, timeout=LIMIT_S)
    names = [f"name{number}" for number in range(4 * lookups.MOST_OF_ONE)]

    def answer(name: str) -> str:
        gate.wait()
        return f"address of {name}"

    found = made.results({name: lambda name=name: answer(name) for name in names}, LIMIT_S)

    assert found == {name: f"address of {name}" for name in names}


def test_a_call_for_which_no_thread_can_be_started_fails_and_is_tried_again(made: Lookups) -> None:
    # Given stacks that no address space holds
    before = threading.stack_size(2**47)
    # When a name is asked for
    try:
        with pytest.raises(TimeoutError, match="name is not looked up: can't start new thread"):
            made.result("name", lambda: "address", LIMIT_S)
    finally:
        threading.stack_size(before)
    # Then it is asked for anew once there are threads again
    assert made.result("name", lambda: "address", LIMIT_S) == "address"
