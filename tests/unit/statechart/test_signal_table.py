"""miros' signal table while names arrive from the network."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from miros import Event, signals
from miros.event import SignalSource

from miros_mesh.statechart import signal_table
from support.forked import succeeds_in_a_child


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


def test_names_that_come_at_once_get_numbers_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given that other threads get in between the two steps in which miros adds a name
    pause, start = threading.Event(), threading.Barrier(4)

    def append(table: SignalSource, name: str) -> None:
        number = len(table) + 1
        pause.wait(0.01)
        table[name] = number

    monkeypatch.setattr(type(signals), "append", append)

    def name(who: int) -> None:
        start.wait(10)
        Event(signal=f"named_at_once_{who}")

    # When several threads make events with new names at once
    threads = [threading.Thread(target=name, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    # Then no two names have one number
    numbers = list(signals.values())
    assert len(set(numbers)) == len(numbers)


def test_a_name_keeps_the_number_that_it_got() -> None:
    number = signal_table.number("counted_here")
    signal_table.enter(["counted_here", "counted_later"])
    assert signal_table.number("counted_here") == signals.counted_here == number
    assert signals.counted_later == signals["counted_later"]


def test_a_child_forked_while_a_name_is_added_can_add_names() -> None:
    with signal_table._naming:
        assert succeeds_in_a_child(lambda: signal_table.number("named_in_a_child"))
