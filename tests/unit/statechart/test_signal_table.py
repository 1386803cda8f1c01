"""miros' signal table while names arrive from the network."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from miros import Event, signals

from miros_mesh.statechart import signal_table


@pytest.fixture(autouse=True)
def _guarded() -> Iterator[None]:
    before = vars(signals).get("items")
    signal_table.guard()
    yield
    if before is None:
        vars(signals).pop("items", None)


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
    first = vars(signals)["items"]

    signal_table.guard()

    assert vars(signals)["items"] is first
