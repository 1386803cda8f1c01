"""miros' signal table while names arrive from the network."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

import pytest
from miros import Event, signals
from miros.event import SignalSource

from miros_mesh.statechart import signal_table
from support.forked import succeeds_in_a_child


@pytest.fixture(autouse=True)
def _guarded() -> None:
    # For good: without it, names that come at once in later tests could share a number.
    signal_table.guard()


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


def test_an_event_costs_the_same_with_many_names_as_with_few() -> None:
    def cost_s(name: str) -> float:
        number = signals[name]
        began = time.process_time()
        for _ in range(300):
            Event(signal=name)
            Event(signal=number)
            signals.is_inner_signal(number)
        return time.process_time() - began

    def is_the_same() -> None:
        signal_table.number("of_a_chart")
        few = min(cost_s("of_a_chart") for _ in range(5))
        for number in range(8_000):
            # As strangers bring them, since a program's own are looked through for a number's name.
            signal_table._foreign.add(f"flood_{number}")
            signals.append(f"flood_{number}")
        many = min(cost_s("of_a_chart") for _ in range(5))
        # miros itself takes a hundred times as long.
        assert many < 10 * few

    assert succeeds_in_a_child(is_the_same)


def test_the_table_answers_as_that_of_miros_does() -> None:
    signal_table.number("asked_for")
    asked: list[object] = [
        *("ENTRY_SIGNAL", "asked_for", "no such name", 0, 1, 8, 10, 11, 1.0, True, -1, None)
    ]

    for each in [*asked, signals.asked_for, 10**9, [], ("a",)]:
        assert signals.is_inner_signal(each) == SignalSource.is_inner_signal(signals, each), each
        assert (each in signals.values()) == (each in list(OrderedDict.values(signals))), each
    assert sorted(signals.values()) == sorted(OrderedDict.values(signals))
    assert len(signals.values()) == len(signals)
    assert signals.name_for_signal(signals.asked_for) == "asked_for"


def test_a_node_brings_so_many_names_and_another_one_brings_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signal_table, "MOST_NAMES_OF_A_NODE", 2)

    brought = [signal_table.bring(f"brought_{number}", "one") for number in range(3)]

    assert brought == [True, True, False]
    assert "brought_2" not in signals
    assert signal_table.bring("brought_2", "other")
    # Known by now, whoever sends it
    assert signal_table.bring("brought_2", "one")


def test_names_that_others_bring_stand_last_where_miros_looks_for_one() -> None:
    signal_table.bring("brought_early", "some node")
    signal_table.number("named_later")

    names = [name for name, _ in signals.items()]

    assert names.index("named_later") < names.index("brought_early")
    assert Event(signal=signals.brought_early).signal_name == "brought_early"


def test_a_number_leads_to_its_name_also_behind_names_that_others_brought() -> None:
    signal_table.bring("brought_between", "any node")
    signal_table.number("named_behind")

    for name in ("brought_between", "named_behind"):
        assert signals.name_for_signal(signals[name]) == name
