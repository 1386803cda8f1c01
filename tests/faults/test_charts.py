"""Charts that are slow, stuck or many."""

from __future__ import annotations

import threading
import time

import pytest
from miros import Event

from faults.conftest import settings
from faults.traffic import SIGNAL, Handled, accounted
from miros_mesh import NetworkedActiveObject
from support.charts_at_work import Heard, Launch, event

SLOW_S = 0.002
STUCK_BURST = 5_000
OF_THE_OTHER = 1_000_000
EACH = 3_000


@pytest.mark.parametrize("burst", [5_000, pytest.param(20_000, marks=pytest.mark.proof)])
def test_slow_chart(burst: int, vhost_url: str, launch: Launch) -> None:
    handled = Handled(pause_s=SLOW_S)
    launch("receiver", settings(vhost_url), handled)
    sender = launch("sender", settings(vhost_url), Heard())
    began = time.monotonic()
    for number in range(burst):
        sender.transmit(event(SIGNAL, number))
    assert time.monotonic() - began < 20
    account = accounted(f"slow chart, 2 ms, burst of {burst:,}", range(burst), handled)
    assert account.perfect, account


def test_stuck_chart_beside_a_healthy_one(vhost_url: str, launch: Launch) -> None:
    freed, stuck, healthy = threading.Event(), Handled(), Handled()

    def hang(chart: NetworkedActiveObject, received: Event) -> None:
        freed.wait(40)
        stuck(chart, received)

    shared = settings(vhost_url)
    launch("stuck", shared, hang)
    launch("healthy", shared, healthy)
    sender = launch("sender", settings(vhost_url, frame_events=5), Heard())
    try:
        for number in range(STUCK_BURST):
            sender.transmit(event(SIGNAL, number))
        beside = accounted("healthy beside a stuck chart", range(STUCK_BURST), healthy)
        assert stuck.numbers == []
    finally:
        freed.set()
    after = accounted("stuck chart, once it is free", range(STUCK_BURST), stuck)
    assert beside.perfect, beside
    assert after.perfect, after


def test_two_senders_and_two_receivers_at_once(vhost_url: str, launch: Launch) -> None:
    receivers = [Handled(), Handled()]
    for number, handled in enumerate(receivers):
        launch(f"receiver{number}", settings(vhost_url), handled)
    senders = [launch(f"sender{n}", settings(vhost_url), Heard()) for n in range(2)]
    sent = [range(first, first + EACH) for first in (0, OF_THE_OTHER)]
    threads = [
        threading.Thread(target=burst, args=pair) for pair in zip(senders, sent, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accounts = [
        accounted("two senders, two receivers", numbers, handled)
        for handled in receivers
        for numbers in sent
    ]
    assert all(account.perfect for account in accounts), accounts


def burst(chart: NetworkedActiveObject, numbers: range) -> None:
    """Transmit as fast as it goes."""
    for number in numbers:
        chart.transmit(event(SIGNAL, number))
