"""The library's own signals: in order, never into a full FIFO, and bounded while they wait."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from typing import Any

import pytest

from miros_mesh.charts.notices import MOST_WAITING, NEARLY_FULL, Notices
from miros_mesh.signals import OUTBOX_OVERFLOW, PEER_UP, REQUEST_TIMED_OUT, OutboxOverflow
from support.post_office import LIMIT_S


class Chart:
    """The part of a chart that notices know."""

    name = "busy"

    def __init__(self, waiting: int = 0) -> None:
        self.queue: list[Any] = [None] * waiting
        self.told: list[tuple[str, Any]] = []
        self.causes: defaultdict[str, list[str | None]] = defaultdict(list)

    def post_fifo(self, event: Any) -> None:
        self.queue.append(event)
        self.told.append((event.signal_name, event.payload))
        self.causes[event.signal_name].append(vars(event)["mesh_cause"])

    def handle_all(self) -> None:
        self.queue.clear()


def test_a_signal_goes_into_the_fifo_at_once() -> None:
    chart = Chart()

    Notices(chart).post(PEER_UP, "a peer")

    assert chart.told == [(PEER_UP, "a peer")]


def test_signals_wait_while_the_fifo_is_nearly_full_and_keep_their_order() -> None:
    chart = Chart(waiting=NEARLY_FULL - 1)
    notices = Notices(chart)
    for number in range(3):
        notices.post(PEER_UP, number)
    assert [payload for _, payload in chart.told] == [0]

    chart.handle_all()
    notices.feed()

    assert [payload for _, payload in chart.told] == [0, 1, 2]


def test_overflows_of_one_peer_that_wait_become_one() -> None:
    chart = Chart(waiting=NEARLY_FULL)
    notices = Notices(chart)
    for address, events in (("near", 1), ("near", 2), ("far", 4), ("near", 8)):
        notices.post(OUTBOX_OVERFLOW, OutboxOverflow(address, events))

    chart.handle_all()
    notices.feed()

    assert [(told.address, told.events) for _, told in chart.told] == [
        ("near", 3),
        ("far", 4),
        ("near", 8),
    ]


def test_of_too_many_that_wait_the_oldest_go_and_it_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chart = Chart(waiting=NEARLY_FULL)
    notices = Notices(chart)
    for number in range(MOST_WAITING + 3):
        notices.post(PEER_UP, number)

    chart.handle_all()
    notices.feed()

    assert [payload for _, payload in chart.told] == list(range(3, MOST_WAITING + 3))
    (logged,) = caplog.records
    assert "chart busy is too busy for the signals of its node: 1 lost" in logged.getMessage()


def test_no_lock_is_held_while_a_loss_is_logged() -> None:
    notices = Notices(Chart(waiting=NEARLY_FULL))
    held: list[bool] = []

    class Looking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            held.append(notices._lock.locked())

    logger, handler = logging.getLogger("miros_mesh.charts.notices"), Looking()
    logger.addHandler(handler)
    for number in range(MOST_WAITING + 1):
        notices.post(PEER_UP, number)
    logger.removeHandler(handler)

    assert held == [False]


def test_from_many_threads_each_signal_comes_once_in_the_order_of_its_thread() -> None:
    chart = Chart(waiting=NEARLY_FULL - 40)
    notices = Notices(chart)

    def post(first: int) -> None:
        for number in range(first, first + 30):
            notices.post(PEER_UP, number)

    threads = [threading.Thread(target=post, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    chart.handle_all()
    notices.feed()

    told = [payload for _, payload in chart.told]
    assert len(told) == 90
    for first in (0, 100, 200):
        assert [n for n in told if first <= n < first + 100] == list(range(first, first + 30))


def test_of_what_became_of_requests_none_is_lost_and_each_has_its_cause() -> None:
    chart = Chart(waiting=NEARLY_FULL)
    notices = Notices(chart)
    outcomes = 10 * MOST_WAITING
    for number in range(outcomes):
        notices.post_outcome(REQUEST_TIMED_OUT, number, f"cause-{number}")
    for number in range(2 * MOST_WAITING):
        notices.post(PEER_UP, number)

    while len(chart.told) < outcomes + MOST_WAITING:
        chart.handle_all()
        notices.feed()
        assert len(chart.queue) <= NEARLY_FULL

    told = [payload for signal, payload in chart.told if signal == REQUEST_TIMED_OUT]
    assert told == list(range(outcomes))
    assert chart.causes[REQUEST_TIMED_OUT] == [f"cause-{number}" for number in range(outcomes)]
    assert set(chart.causes[PEER_UP]) == {None}
