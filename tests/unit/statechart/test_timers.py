"""Timers of a chart: how many there may be, and what cancels them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from miros import Event, return_status, spy_on

from miros_mesh.errors import TimerLimitError
from miros_mesh.statechart.safe_chart import SafeChart
from support.waiting import wait_until

PLACES = 500
SOON_S = 0.001
NEVER_S = 3600.0


@spy_on
def _ringing(chart: Ringing, event: Event) -> int:
    if event.signal_name in {"RING", "STRIKE"}:
        chart.rung.append(event.signal_name)
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


class Ringing(SafeChart):
    def __init__(self) -> None:
        super().__init__("ringing")
        self.rung: list[str] = []


@pytest.fixture
def chart() -> Iterator[Ringing]:
    made = Ringing()
    made.start_at(_ringing)
    yield made
    # Their threads sleep on, and end with the process: miros has no way to wake them.
    made.stop()


def test_a_timer_that_has_rung_leaves_its_place(chart: Ringing) -> None:
    for ringing in range(PLACES + 20):
        chart.post_fifo(Event(signal="RING"), period=SOON_S, times=1)
        wait_until(lambda ringing=ringing: len(chart.rung) > ringing)
    assert chart.rung == ["RING"] * (PLACES + 20)
    assert chart.thread is not None
    assert chart.thread.is_alive()


def test_one_running_timer_too_many_is_refused_by_name(
    chart: Ringing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Five hundred threads that sleep are a burden; what counts them does not look at the threads.
    monkeypatch.setattr(threading.Thread, "start", lambda _: None)
    for number in range(PLACES):
        chart.post_fifo(Event(signal="STRIKE" if number % 5 else "RING"), period=NEVER_S)
    with pytest.raises(
        TimerLimitError, match=r"chart ringing: 500 timers are running.*400 of STRIKE, 100 of RING"
    ):
        chart.post_lifo(Event(signal="RING"), period=NEVER_S)
    # And when some are cancelled there is room again
    chart.cancel_events(Event(signal="RING"))
    chart.post_fifo(Event(signal="RING"), period=NEVER_S)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("post", ["post_fifo", "post_lifo"])
def test_a_timer_is_cancelled_by_an_equal_name_and_by_an_equal_id(
    chart: Ringing, post: str
) -> None:
    # Given names that are equal, and strings of their own
    first, second = "".join(["RI", "NG"]), "".join(["R", "ING"])
    start = getattr(chart, post)
    start(Event(signal=first), period=SOON_S)
    timer = start(Event(signal="STRIKE"), period=SOON_S)
    wait_until(lambda: {"RING", "STRIKE"} <= set(chart.rung))
    # When they are cancelled
    chart.cancel_events(Event(signal=second))
    chart.cancel_event("".join(timer))
    chart.cancel_event("of no timer")
    # Then what is under way may still come, and after that nothing
    wait_until(lambda: len(chart.queue) == 0)
    chart.rung.clear()
    start(Event(signal="RING"), period=SOON_S * 50, times=1)
    wait_until(lambda: len(chart.rung) >= 1)
    wait_until(lambda: not any(each.task_run_event.is_set() for each in chart.posted_events_queue))
    # One of each that its thread was about to post when it was cancelled
    assert len(chart.rung) <= 3


def test_timers_are_started_and_cancelled_by_many_threads(chart: Ringing) -> None:
    def work() -> None:
        for _ in range(50):
            timer = chart.post_fifo(Event(signal="RING"), period=SOON_S, times=1)
            chart.cancel_event(timer)
            chart.cancel_events(Event(signal="STRIKE"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: not any(each.task_run_event.is_set() for each in chart.posted_events_queue))
