"""The threads of one node's discovery."""

from __future__ import annotations

import threading

from miros_mesh.discovery.threads import LOCAL_THREADS, NETWORK_THREADS, DiscoveryThreads
from support.discovery_field import threads
from support.waiting import wait_until


def names() -> list[str]:
    return sorted(t.name for t in threading.enumerate() if t.name.startswith("mesh-"))


def test_work_runs_on_a_thread_of_the_node_and_its_result_comes_back() -> None:
    results: list[object] = []
    with threads("bob") as team:
        team.local.run(lambda: threading.current_thread().name, results.append)
        wait_until(lambda: results)
    assert results == ["mesh-bob-discovery-local-0"]


def test_an_error_of_the_work_comes_back_as_a_result() -> None:
    results: list[object] = []
    with threads() as team:
        team.local.run(lambda: 1 // 0, results.append)
        wait_until(lambda: results)
    assert isinstance(results[0], ZeroDivisionError)


def test_no_thread_is_started_before_it_is_needed_and_idle_ones_are_used_again() -> None:
    results: list[object] = []
    with threads() as team:
        assert names() == []
        for count in range(1, 6):
            team.network.run(lambda: None, results.append)
            wait_until(lambda count=count: len(results) == count and team.network._idle == 1)
        assert names() == ["mesh-test-discovery-network-0"]


def test_the_number_of_threads_has_a_bound() -> None:
    gate = threading.Event()
    results: list[object] = []
    with threads() as team:
        for _ in range(NETWORK_THREADS * 3):
            team.network.run(lambda: gate.wait(10), results.append)
        assert len(names()) == NETWORK_THREADS
        gate.set()
        wait_until(lambda: len(results) == NETWORK_THREADS * 3)


def test_local_work_does_not_wait_behind_the_network() -> None:
    gate = threading.Event()
    results: list[object] = []
    with threads() as team:
        for _ in range(NETWORK_THREADS * 2):
            team.network.run(lambda: gate.wait(10), lambda _: None)
        team.local.run(lambda: "done", results.append)
        wait_until(lambda: results == ["done"])
        gate.set()


def test_alarms_ring_in_the_order_of_their_times() -> None:
    rung: list[str] = []
    with threads() as team:
        team.timer.after(0.5, lambda: rung.append("third"))
        team.timer.after(0.0, lambda: rung.append("first"))
        team.timer.after(0.1, lambda: rung.append("second"))
        team.timer.after(0.05, lambda: rung.append("never")).cancel()
        wait_until(lambda: len(rung) == 3)
    assert rung == ["first", "second", "third"]


def test_alarms_that_were_cancelled_do_not_pile_up() -> None:
    rung: list[str] = []
    with threads() as team:
        team.timer.after(3600, lambda: rung.append("late"))
        kept = team.timer.after(0.2, lambda: rung.append("kept"))
        for _ in range(1000):
            team.timer.after(1800, lambda: rung.append("never")).cancel()
        assert len(team.timer._alarms) < 100
        wait_until(lambda: rung)
    assert rung == ["kept"]
    assert not kept.cancelled


def test_stopping_waits_for_no_alarm_and_begins_no_work() -> None:
    rung: list[object] = []
    team = DiscoveryThreads("test")
    team.timer.after(3600, lambda: rung.append("late"))
    gate = threading.Event()
    for _ in range(NETWORK_THREADS):
        team.network.run(lambda: gate.wait(10), lambda _: None)
    team.network.run(lambda: rung.append("queued"), rung.append)
    stopping = threading.Thread(target=team.stop)
    stopping.start()
    wait_until(lambda: team.network._stopped)
    gate.set()
    stopping.join()
    team.local.run(lambda: rung.append("after"), rung.append)
    team.timer.after(0, lambda: rung.append("after"))
    assert names() == []
    assert rung == []


def test_a_thread_that_does_not_end_is_said(caplog) -> None:
    team, gate = DiscoveryThreads("test"), threading.Event()
    job = team.network.run(lambda: gate.wait(10), lambda _: None)
    wait_until(lambda: job.started_at)
    team.stop(timeout_s=0.05)
    gate.set()
    assert "mesh-test-discovery-network-0 still runs" in caplog.text


def test_a_callback_that_raises_ends_no_thread(caplog) -> None:
    results: list[object] = []

    def refuse(_: object = None) -> None:
        raise LookupError("it is not taken")

    with threads() as team:
        for _ in range(LOCAL_THREADS + 1):
            team.local.run(lambda: None, refuse)
        team.aside(lambda: None, refuse)
        team.timer.after(0, refuse)
        team.timer.after(0, lambda: results.append("rung"))
        team.local.run(lambda: "done", results.append)
        wait_until(lambda: sorted(map(str, results)) == ["done", "rung"])
    said = "a callback of discovery raised; its result is lost"
    wait_until(lambda: caplog.messages.count(said) == LOCAL_THREADS + 3)
