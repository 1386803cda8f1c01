"""miros' signal table while names arrive from the network."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest
from miros import Event, signals

from miros_mesh.statechart import signal_table


@pytest.fixture(autouse=True)
def _guarded() -> Iterator[None]:
    before = dict(vars(signals))
    signal_table.guard()
    yield
    for name in ("items", "append"):
        if name not in before:
            vars(signals).pop(name, None)


def test_an_event_can_be_made_while_other_threads_add_names() -> None:
    for number in range(300):
        signals.append(f"old_{number}")
    newest = signals.old_299
    done = threading.Event()

    def add() -> None:
        for number in range(2000):
            signals.append(f"new_{number}")
        done.set()

    adding = threading.Thread(target=add)
    adding.start()
    while not done.is_set():
        assert Event(signal=newest).signal_name == "old_299"
    adding.join()


def test_a_guarded_table_lists_what_it_held() -> None:
    assert dict(signals.items())["ENTRY_SIGNAL"] == signals.ENTRY_SIGNAL


def test_the_table_is_guarded_once() -> None:
    first = dict(vars(signals))

    signal_table.guard()

    assert vars(signals) == first


def test_names_that_come_at_once_get_numbers_of_their_own() -> None:
    # Given threads that change places within a few instructions
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    start = threading.Barrier(4)

    def name(who: int) -> None:
        start.wait(10)
        for number in range(500):
            Event(signal=f"named_{who}_{number}")

    threads = [threading.Thread(target=name, args=(who,)) for who in range(4)]
    try:
        # When each of them makes events with new names
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(interval)
    # Then no two names have one number
    numbers = list(signals.values())
    assert len(set(numbers)) == len(numbers)


def test_a_name_keeps_the_number_that_it_got() -> None:
    number = signal_table.number("counted_here")
    signal_table.enter(["counted_here", "counted_later"])
    assert signal_table.number("counted_here") == signals.counted_here == number
    assert signals.counted_later == signals["counted_later"]
