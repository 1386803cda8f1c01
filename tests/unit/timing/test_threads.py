"""A thread and its owner."""

from __future__ import annotations

import threading

from miros_mesh.timing.threads import OwnedThread

LIMIT_S = 5.0


def test_it_starts_once_however_often_it_is_asked() -> None:
    starts: list[None] = []
    thread = OwnedThread("mesh-test", lambda: starts.append(None))

    thread.start()
    assert thread.join(LIMIT_S)
    thread.start()

    assert starts == [None]
    assert not thread.alive


def test_stop_wakes_it_and_waits_for_its_end() -> None:
    wake = threading.Event()

    def run() -> None:
        while not thread.stopping.is_set():
            wake.wait(LIMIT_S)

    thread = OwnedThread("mesh-test", run, wake.set)
    thread.start()
    assert thread.alive

    assert thread.stop(LIMIT_S)
    assert not thread.alive


def test_it_does_not_wait_for_itself() -> None:
    ended: list[bool] = []
    thread = OwnedThread("mesh-test", lambda: ended.append(thread.stop(LIMIT_S)))

    thread.start()
    assert thread.join(LIMIT_S)

    assert ended == [False]


def test_one_that_was_never_started_has_ended() -> None:
    thread = OwnedThread("mesh-test", lambda: None)

    assert thread.stop(LIMIT_S)
    assert thread.name == "mesh-test"


def test_one_that_does_not_end_in_time_is_told() -> None:
    release = threading.Event()
    thread = OwnedThread("mesh-test", lambda: release.wait(LIMIT_S))
    thread.start()

    assert not thread.stop(0.01)

    release.set()
    assert thread.join(LIMIT_S)
